"""When a round under way saves itself. Pure."""

from dataclasses import dataclass
from typing import Final

MOST_SHARE: Final = 0.01
"""Of a round's time, that saving may take."""
BYTES_PER_SECOND: Final = 200e6
"""How fast a save is taken to be written before the first one has told."""


@dataclass(frozen=True, slots=True)
class SaveTimes:
    """When a round saves itself: as often as it is asked to, but not so often that it costs more than a hundredth.

    Attributes:
        every: seconds; 0 for after each step, whatever that costs; None for never.
        since: when it was saved last, or its training began; seconds of any clock.
        took: seconds that the last save took; before the first what it is expected to take.
    """

    every: float | None
    since: float
    took: float = 0.0

    @classmethod
    def begun(cls, every: float | None, now: float, size: float) -> "SaveTimes":
        """Return when a round saves itself first, whose training begins now and whose saves have `size` bytes."""
        return cls(every, now, size / BYTES_PER_SECOND)

    def due(self, now: float) -> bool:
        """Tell whether it is time to save."""
        if not self.every:
            return self.every is not None
        return now - self.since >= max(self.every, self.took / MOST_SHARE)

    def saved(self, began: float, now: float) -> "SaveTimes":
        """Return when it saves itself next, after a save that lasted from `began` to `now`."""
        return SaveTimes(self.every, now, now - began)
