"""The erasures that tombstones in the stream ask for, carried out many at a time."""

import time
from collections.abc import Callable

from daemon.lifecycle.supervised_threads import Part, State

LOOK_EVERY_SECONDS = 5.0
SCRUB_EVERY_SECONDS = 3_600.0
"""The whole file is rewritten at most so often, during which all writers wait; what is deleted is overwritten."""


class TombstoneDesk:
    """Carries out what waits, every few seconds. `run` is the target of a part.

    Args:
        wait: whether an erasure waits.
        apply: carries out all that wait; True: and rewrites the file.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(
        self,
        wait: Callable[[], bool],
        apply: Callable[[bool], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wait = wait
        self._apply = apply
        self._monotonic = monotonic
        self._scrubbed_at = float("-inf")

    def run(self, part: Part) -> None:
        """The loop."""
        part.says(State.RUNNING)
        while not part.stop.is_set():
            part.beat()
            self.look()
            part.stop.wait(LOOK_EVERY_SECONDS)

    def look(self) -> bool:
        """Carry out what waits; whether anything did."""
        if not self._wait():
            return False
        scrub = self._monotonic() - self._scrubbed_at >= SCRUB_EVERY_SECONDS
        self._apply(scrub)
        if scrub:
            # Only once it is done: one that broke off is made good at the next look, not in an hour.
            self._scrubbed_at = self._monotonic()
        return True
