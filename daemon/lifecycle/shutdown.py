"""The end of the service: one deadline that all its steps share."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

HURRIED = "a second signal: not waiting any longer"
REPEAT_SECONDS = 1.0
"""`timeout` and some supervisors send a signal to the process and again to its group: that is one word, not two."""


class StoppedEarly(Exception):
    """The service was told to end before it had begun."""


class Shutdown:
    """How long the end may take, once it has begun. Its methods only set attributes: a signal handler may call them.

    Args:
        grace_seconds: from the begin of the end until everything is closed.
        round_grace_seconds: the part of it in which a round may still finish by itself.
    """

    def __init__(
        self, *, grace_seconds: float, round_grace_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace = grace_seconds
        self._round_grace = min(round_grace_seconds, grace_seconds)
        self._clock = clock
        self._began: float | None = None
        self._hurry = False

    @property
    def begun(self) -> bool:
        """Whether the service is ending."""
        return self._began is not None

    def begin(self) -> None:
        """Begin the end; a second time, but not within a second of the first, ends it at once."""
        if self._began is None:
            self._began = self._clock()
        elif self._clock() - self._began >= REPEAT_SECONDS:
            self._hurry = True

    @property
    def hurried(self) -> bool:
        """Whether somebody who asked a second time cut the grace time short."""
        return self._hurry

    def seconds_left(self) -> float:
        """Until the deadline; the whole grace time while nothing ends."""
        if self._hurry:
            return 0.0
        if self._began is None:
            return self._grace
        return max(0.0, self._began + self._grace - self._clock())

    def round_must_end(self) -> bool:
        """Whether a round in progress has had its time to finish."""
        if self._began is None:
            return False
        return self._hurry or self._clock() >= self._began + self._round_grace


class Deadline:
    """What those who wait at the end go by; it logs what a signal's handler must not."""

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self._hurry_logged = False

    def seconds_left(self) -> float:
        """Until the end must be over; asked again and again."""
        if self._shutdown.hurried and not self._hurry_logged:
            self._hurry_logged = True
            log.warning("service_hurries", reason=HURRIED)
        return self._shutdown.seconds_left()

    def why_left(self) -> str:
        """Why a part that still runs is waited for no longer."""
        return HURRIED if self._shutdown.hurried else "it did not end within the grace time"
