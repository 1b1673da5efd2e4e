"""What a round says while it runs: one JSON object a line, to standard output and to `progress.jsonl`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import orjson

# Often enough for a progress bar, too seldom to slow a step or fill a disk.
INTERVAL_S = 0.5
# A slow phase still says that it lives, well within any limit on silence.
HEARTBEAT_S = 10.0


class Progress:
    """Writes progress events. Never document text: only counts, names and figures.

    Events: `phase` (name), `step` (at most one each half second), `alive` (when nothing else was said for a
    while), and what the job adds. Each carries `seconds` since the start.

    Args:
        path: the file to write, made anew.
        echo: where each line is also printed; None for nowhere.
        clock: monotonic seconds.
    """

    def __init__(self, path: Path, echo: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.phase_seconds: dict[str, float] = {}
        self._file = path.open("wb")
        self._echo = echo
        self._began = self._said = clock()
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def say(self, event: str, **fields: object) -> None:
        """Write one event now."""
        self._said = self.clock()
        line = orjson.dumps({"event": event, **fields, "seconds": round(self._said - self._began, 3)})
        self._file.write(line + b"\n")
        self._file.flush()
        if self._echo is not None:
            self._echo.write(line.decode() + "\n")
            self._echo.flush()

    def due(self) -> bool:
        """Tell whether enough time has passed to say something again."""
        return self.clock() - self._said >= INTERVAL_S

    def alive(self) -> None:
        """Say that work goes on, if nothing has been said for a while; called from inside long loops."""
        if self.clock() - self._said >= HEARTBEAT_S:
            self.say("alive", phase=self._phase)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase and measure how long it takes; phases of the same name add up."""
        self._phase = name
        began = self.clock()
        self.say("phase", name=name)
        try:
            yield
        finally:
            took = self.clock() - began
            self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + took
