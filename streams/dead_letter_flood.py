"""How many dead letters are too many, and how they reach their topic."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from streams.document import FILTERED, DeadLetter, Partition, Reason
from streams.settings import BudgetSettings

HARMLESS = FILTERED | {Reason.TOMBSTONE}
"""No sign of anything gone wrong; tombstones are normal in compacted topics."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Recent:
    """Records and dead letters of a partition, each weighing half as much after each window."""

    records: float = 0.0
    dead: float = 0.0
    at: float = 0.0


class DeadLetterBudget:
    """Tells a flood of dead letters from the normal few, for each partition by itself. Pure: time is an argument."""

    def __init__(self, settings: BudgetSettings) -> None:
        self._settings = settings
        self._recent: dict[Partition, _Recent] = {}

    def judge(self, partition: Partition, records: int, letters: Sequence[DeadLetter], now: float) -> Reason | None:
        """Count records that came and judge the partition: the most frequent reason of a flood's, or None.

        Args:
            partition: where they came from.
            records: how many came, dead ones included.
            letters: what became of some of them; harmless ones do not count.
            now: seconds, of any clock that never goes back.
        """
        harmful = Counter(letter.reason for letter in letters if letter.reason not in HARMLESS)
        if not self._is_flood(partition, records, harmful.total(), now):
            return None
        return harmful.most_common(1)[0][0] if harmful else None

    def forgive(self, partition: Partition) -> None:
        """Start anew with a partition."""
        self._recent.pop(partition, None)

    def _is_flood(self, partition: Partition, records: int, dead: int, now: float) -> bool:
        recent = self._recent.setdefault(partition, _Recent(at=now))
        fade = 0.5 ** (max(0.0, now - recent.at) / self._settings.window_seconds)
        recent.records = recent.records * fade + records
        recent.dead = recent.dead * fade + dead
        recent.at = now
        # Beside the share: else the first bad record of a quiet partition would be a flood.
        enough = recent.dead >= self._settings.min_dead_letters
        return enough and recent.dead > self._settings.max_share * recent.records
