"""The parts of the service: each in its thread, begun again when it breaks, never silently dead."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog

from daemon.errors import DaemonError
from daemon.lifecycle.excused_silence import Patience
from memory.errors import StoreError
from streams.backoff import Backoff

log = structlog.get_logger(__name__)

Stop = threading.Event
JOIN_SLICE_SECONDS = 0.2


class State(StrEnum):
    """How a part is: values are metric labels. One that waits is whole, but not ready before something else comes."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    BROKEN = "broken"
    STUCK = "stuck"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """How one part is.

    Attributes:
        detail: one sentence for a person; empty when all is well.
        failures: how often in a row it broke.
        vital: whether the service is to be started anew where this part is stuck, though answers stop for that.
    """

    name: str
    state: State
    detail: str = ""
    failures: int = 0
    vital: bool = True

    @property
    def ok(self) -> bool:
        """Whether readiness may say yes on this part's account."""
        return self.state is State.RUNNING

    @property
    def begins(self) -> bool:
        """Whether it has not run yet, and nothing went wrong so far: no trouble, only a matter of time."""
        return self.state is State.STARTING and not self.failures


class Part:
    """One long-lived loop in a thread of its own.

    `target(part)` runs until `part.stop` is set and calls `part.beat()` at least every `stuck_seconds`.
    When it returns or raises before that, it is called again after a wait; what it raised is logged and
    shown until then. `part.says(state, detail)` lets the loop report itself broken while it goes on trying.

    Args:
        patience: while it is asked for, silence is no sign of being stuck.
    """

    def __init__(
        self,
        name: str,
        target: Callable[["Part"], None],
        *,
        backoff: Backoff,
        stuck_seconds: float | None = None,
        vital: bool = True,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.stop = Stop()
        self._target = target
        self._backoff = backoff
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._beat = clock()
        self._patience = patience or Patience(clock)
        self._turning = False
        self._broke = ""
        self._health = Health(name, State.STARTING, "not started yet", vital=vital)
        # A daemon thread: one that hangs is left behind at the end, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; called once."""
        self._thread.start()

    def beat(self) -> None:
        """Say that the loop turns. Called by the loop."""
        self._beat = self._clock()

    def says(self, state: State, detail: str = "") -> None:
        """Report how the part is. Called by the loop."""
        if state is State.RUNNING:
            self._broke = ""
        elif state in (State.WAITING, State.STARTING) and self._broke:
            # What it waits for, or that it begins, hides why it had to be begun again, until it runs.
            detail = f"{self._broke} (begun again, {detail})"
        failures = 0 if state is State.RUNNING else self._health.failures
        self._health = replace(self._health, state=state, detail=detail, failures=failures)

    def health(self) -> Health:
        """How the part is now; a loop that has not turned for too long is stuck, whatever it said last."""
        silent = self._patience.silence(self._beat)
        health = self._health
        # Between two calls of its target it waits on purpose, and is not stuck.
        if self._turning and self._stuck_seconds is not None and silent > self._stuck_seconds:
            return replace(health, state=State.STUCK, detail=f"its loop has not turned for {silent:.0f} s")
        if self.stop.is_set() and health.state is State.RUNNING:
            return replace(health, state=State.STOPPED, detail="it is ending")
        return health

    def join(self, seconds_left: Callable[[], float]) -> bool:
        """Wait for the thread's end until no time is left; False when it still runs then."""
        while self._thread.is_alive() and (remaining := seconds_left()) > 0:
            # In slices: a second signal may shorten the time while this waits.
            self._thread.join(min(remaining, JOIN_SLICE_SECONDS))
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self.stop.is_set():
            began = self._clock()
            self.beat()
            detail = self._call()
            if self.stop.is_set():
                break
            failures = self._backoff.failures_after(failures, self._clock() - began)
            wait = self._backoff.wait(failures)
            self._broke = detail
            self._health = replace(self._health, state=State.BROKEN, detail=detail, failures=failures)
            log.error("part_broken", part=self.name, detail=detail, failures=failures, again_in_seconds=wait)
            self.stop.wait(wait)
        self.says(State.STOPPED)

    def _call(self) -> str:
        self._turning = True
        try:
            self._target(self)
        except (DaemonError, StoreError) as error:  # what is said on purpose needs no traceback
            return str(error)
        except (Exception, SystemExit) as error:  # the top of a long-lived loop: whatever broke, it is begun anew
            log.exception("part_raised", part=self.name)
            return f"{type(error).__name__}: {error}"
        finally:
            self._turning = False
        return "it ended by itself"


class Supervisor:
    """The parts together; a context manager that starts them in order and ends them in reverse.

    On exit every part is told to stop, and waited for while `seconds_left()` is above zero: one deadline that
    all share.

    Args:
        last: parts of these names are told only when the others have ended, or when no more than `last_seconds` of
            the time are left.
        why_left: why a part that still runs is waited for no longer, for the log.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        seconds_left: Callable[[], float],
        last: Collection[str] = (),
        last_seconds: float = 0.0,
        why_left: Callable[[], str] = lambda: "it did not end within the grace time",
    ) -> None:
        self._parts = tuple(parts)
        self._seconds_left = seconds_left
        self._last = frozenset(last)
        self._last_seconds = last_seconds
        self._why_left = why_left
        self._reported: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        for part in self._parts:
            part.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        first = [part for part in reversed(self._parts) if part.name not in self._last]
        for part in first:
            part.stop.set()
        for part in first:
            part.join(lambda: self._seconds_left() - self._last_seconds)
        # The last ones too, though one of the first may still hang: all share one deadline.
        for part in self._parts:
            part.stop.set()
        for part in reversed(self._parts):
            if not part.join(self._seconds_left):
                log.error("part_left_running", part=part.name, detail=self._why_left())

    def healths(self) -> tuple[Health, ...]:
        """How each part is now."""
        return tuple(part.health() for part in self._parts)

    def watch(self) -> bool:
        """Log all stacks once for each part that has become stuck; True when no vital one is."""
        stuck = {health.name: health for health in self.healths() if health.state is State.STUCK}
        if stuck.keys() - self._reported:
            log.critical("part_stuck", parts=sorted(stuck), stacks=all_stacks())
        # As it is now, so that one that turned again and stuck again is logged again.
        self._reported = frozenset(stuck)
        return not any(health.vital for health in stuck.values())


class Watchers:
    """All supervisors of the service as one; each joins when it is made, while others may be asking already."""

    def __init__(self) -> None:
        self._supervisors: tuple[Supervisor, ...] = ()

    def join(self, supervisor: Supervisor) -> None:
        """Count this one in from now on."""
        # A new tuple: who goes over the old one in another thread is not disturbed.
        self._supervisors = (*self._supervisors, supervisor)

    def healths(self) -> tuple[Health, ...]:
        """How each part is now, of every supervisor."""
        return tuple(health for supervisor in self._supervisors for health in supervisor.healths())

    def watch(self) -> bool:
        """See `Supervisor.watch`: True when no vital part of any is stuck."""
        return all(supervisor.watch() for supervisor in self._supervisors)


def all_stacks() -> dict[str, str]:
    """The stack of every thread by its name, for the log of a stuck loop."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - the only way to see other threads' stacks
    return {
        names.get(ident, str(ident)): "".join(traceback.format_stack(frame)[-12:]) for ident, frame in frames.items()
    }
