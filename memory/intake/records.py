"""What becomes of a batch, and what the quarantine holds: plain, frozen data."""

from dataclasses import dataclass

from streams.document import DeadLetter, Gap


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch's documents and dead letters, in numbers of them.

    Attributes:
        fresh, replay, holdout: stored in that role.
        surplus: held-out text beyond what its slice keeps, or replay text beyond its budgets: not kept.
        duplicates: content seen before.
        near_duplicates: training text too close to held-out text. (Held-out text too close to what was trained on is
            dropped when the next round begins.)
        forgotten: text of a key that was erased.
        withdrawn: text that a tombstone in the same batch erased.
        redelivered: documents, dead letters and gaps at offsets that the store had already.
        dead_letters: counted, and kept but for tombstones, which hold nothing.
        dead_letters_evicted: older ones, neither in their topic nor filtered text, that made room for them.
    """

    fresh: int = 0
    replay: int = 0
    holdout: int = 0
    surplus: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    forgotten: int = 0
    redelivered: int = 0
    dead_letters: int = 0
    dead_letters_evicted: int = 0
    gaps: int = 0
    withdrawn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDeadLetter(DeadLetter):
    """A dead letter as it lies in the quarantine."""

    id: int
    published: bool


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A gap as it was noted, at `recorded_at` (unix seconds)."""

    id: int
    gap: Gap
    recorded_at: float
