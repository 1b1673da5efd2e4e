"""What a round says while it runs: one JSON object a line, to standard output and to `progress.jsonl`."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import orjson

from learner.devices import peaks
from learner.devices.device import Device

# Often enough for a progress bar, too seldom to slow a step or fill a disk.
INTERVAL_S = 0.5
# How much of how much a phase has done: as often as a person looks.
WORK_INTERVAL_S = 1.0
# A slow phase still says that it lives, well within any limit on silence.
HEARTBEAT_S = 10.0


@dataclass(slots=True)
class Work:
    """What a phase has to do.

    Attributes:
        of: how much, in `unit`.
        began: when, by the progress's clock.
        most_seconds: when it ends at the latest; None for no limit.
        done: how much of it.
    """

    unit: str
    of: int
    began: float
    most_seconds: float | None = None
    done: int = 0

    def figures(self, now: float) -> dict[str, object]:
        """How much of how much is done, and in how many seconds the rest is, at the speed so far."""
        left = None
        if self.done:
            elapsed = now - self.began
            left = elapsed / self.done * max(0, self.of - self.done)
            if self.most_seconds is not None:
                left = min(left, max(0.0, self.most_seconds - elapsed))
            left = round(left, 1)
        return {"unit": self.unit, "done": min(self.done, self.of), "of": self.of, "seconds_left": left}


class Progress:
    """Writes progress events. Never document text: only counts, names and figures.

    Events: `phase` (name), `work` (of a phase: `done` of so many `unit`, and `seconds_left`; at most one a second),
    `step` (at most one each half second), `alive` (when nothing else was said for a while), and what the job adds. Each
    carries `seconds` since the start.

    Args:
        path: the file to write, made anew.
        echo: where each line is also printed; None for nowhere.
        clock: monotonic seconds.
        goes_on: what an earlier learner said stays in the file, and this one's follows it.
    """

    def __init__(
        self,
        path: Path,
        echo: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        goes_on: bool = False,
    ) -> None:
        self.clock = clock
        self.phase_seconds: dict[str, float] = {}
        self.phase_peak_bytes: dict[str, int] = {}
        self._file = path.open("ab" if goes_on else "wb")
        if self._file.tell():
            # A learner that was killed may have left half a line.
            self._file.write(b"\n")
        self._echo = echo
        self._began = self._said = self._step_said = clock()
        self._phase = ""
        self._work: Work | None = None
        self._device: Device | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def say(self, event: str, **fields: object) -> None:
        """Write one event now."""
        self._said = self.clock()
        if event == "step":
            self._step_said = self._said
            fields |= self._figures()
        line = orjson.dumps({"event": event, **fields, "seconds": round(self._said - self._began, 3)})
        self._file.write(line + b"\n")
        self._file.flush()
        if self._echo is not None:
            self._echo.write(line.decode() + "\n")
            self._echo.flush()

    def due(self) -> bool:
        """Tell whether enough time has passed to tell of a step again."""
        return self.clock() - self._step_said >= INTERVAL_S

    def advance(self, unit: str, amount: int) -> None:
        """Count work that was done, where it is what the phase consists of; called from inside long loops."""
        if self._work is None or self._work.unit != unit:
            self.alive()
            return
        self._work.done += amount
        if self.clock() - self._said >= WORK_INTERVAL_S:
            self.say("work", phase=self._phase, **self._figures())

    def count_earlier(self, amount: int, seconds: float) -> None:
        """Count what an earlier learner had done of the phase that runs, and the time that it took."""
        if self._work is not None:
            self._work.done += amount
            self._work.began -= seconds

    def alive(self) -> None:
        """Say that work goes on, if nothing has been said for a while; called from inside long loops."""
        if self.clock() - self._said >= HEARTBEAT_S:
            self.say("alive", phase=self._phase)

    def watch(self, device: Device) -> None:
        """Tell peaks of this device's memory from now on; those of phases before it was known are main memory's."""
        self._device = device
        if device.where.type != "cpu":
            self.phase_peak_bytes.clear()

    def _forget_peak(self) -> None:
        # So that the peak is this phase's own, not what those before it left: an optimizer and what it is called by
        # refer to each other, and stay until they are looked for.
        peaks.collect_garbage()
        peaks.give_back_free_memory()
        if self._device is None:
            peaks.forget_peak()
        else:
            self._device.forget_peak()

    def _peak_bytes(self) -> int:
        return peaks.peak_bytes() if self._device is None else self._device.memory_bytes()

    def _figures(self) -> dict[str, object]:
        return {} if self._work is None else self._work.figures(self.clock())

    @contextmanager
    def phase(self, name: str, unit: str = "", of: int = 0, *, most_seconds: float | None = None) -> Iterator[None]:
        """Announce a phase and measure how long it takes and how much memory; phases of one name add up their times.

        Args:
            name: what is done.
            unit: what it is counted in by `advance`; empty where nothing can be counted.
            of: how much there is to do.
            most_seconds: when it ends at the latest.
        """
        self._phase = name
        began = self.clock()
        self._work = Work(unit, of, began, most_seconds) if of else None
        self.say("phase", name=name, **self._figures())
        self._forget_peak()
        try:
            yield
        finally:
            self._work = None
            took = self.clock() - began
            self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + took
            self.phase_peak_bytes[name] = max(self.phase_peak_bytes.get(name, 0), self._peak_bytes())


def silent_progress() -> Progress:
    """Return one that nobody hears: of a rank that is not the first."""
    return Progress(Path(os.devnull))
