"""Work of unknown length that the parts have to wait for, and for which none of them counts as stuck."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Patience:
    """Shared by the parts that such work keeps waiting, and by whoever does it: one at a time.

    Without a bound: how long the work takes grows with the store, and a restart would only begin it anew.

    Args:
        clock: seconds, of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lasts = False
        self._ended = float("-inf")

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While this lasts no part is stuck; afterwards each has its whole time to turn again."""
        self._lasts = True
        try:
            yield
        finally:
            # In this order: a look between the two would take the whole time for a silence without excuse.
            self._ended = self._clock()
            self._lasts = False

    def silence(self, since: float) -> float:
        """For how many seconds a part that last turned at `since` has been silent without an excuse."""
        return 0.0 if self._lasts else self._clock() - max(since, self._ended)
