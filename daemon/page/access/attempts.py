"""How often one address may guess the token: a few times at once, then ever more slowly."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FREE: Final = 5
"""Wrong tokens of one address that cost it nothing: people mistype."""
LONGEST_WAIT_S: Final = 60.0
FORGOTTEN_AFTER_S: Final = 900.0
MOST_ADDRESSES: Final = 1024


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Attempts:
    """Wrong tokens by the address that they came from. Used on the event loop alone.

    Args:
        clock: seconds, of any clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Whole seconds until this address may try again; 0: now."""
        failures = self._failures.get(address)
        if failures is None or failures.count < FREE:
            return 0
        wait = min(LONGEST_WAIT_S, 2.0 ** min(failures.count - FREE + 1, 10))
        return max(0, math.ceil(failures.last + wait - self._clock()))

    def failed(self, address: str) -> None:
        """It sent a wrong token."""
        now = self._clock()
        failures = self._failures.pop(address, None)
        if failures is None or now - failures.last > FORGOTTEN_AFTER_S:
            failures = _Failures(0, now)
        # Last in the order: the one that was quiet for the longest is let go of first.
        self._failures[address] = _Failures(failures.count + 1, now)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """It sent the right one."""
        self._failures.pop(address, None)
