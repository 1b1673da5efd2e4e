"""Text that a round was given: which of it is kept, and which was erased since. Changes nothing."""

from collections.abc import Collection
from dataclasses import dataclass

from memory.database.sqlite import Connection
from memory.people.tracing import slice_of
from memory.samples.reading import FoundSample, read_places

HELD_OUT = "slice"
TO_TRAIN = ("fresh", "replay")


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The held-out documents that a round was given, by their samples' ids; empty past the retention of lineage.

    Attributes:
        kept: whose text is kept.
        erased: whose text was erased by its key since, and when, unix seconds.
        left: whose text has left memory otherwise.
    """

    kept: frozenset[int]
    erased: dict[int, float]
    left: frozenset[int]

    @property
    def is_known(self) -> bool:
        """Whether it is known which there were."""
        return bool(self.kept or self.erased or self.left)


def of_round(tx: Connection, number: int) -> ScoredText:
    """The held-out documents that a round was given."""
    rows = tx.execute(
        "SELECT u.sample, s.id IS NOT NULL, f.at FROM round_samples u LEFT JOIN samples s ON s.id = u.sample "
        "LEFT JOIN forgotten f ON f.key_hash = u.key_hash WHERE u.round = ? AND u.part = ?",
        (number, HELD_OUT),
    ).fetchall()
    gone = [(sample, at) for sample, is_kept, at in rows if not is_kept]
    return ScoredText(
        kept=frozenset(sample for sample, is_kept, _ in rows if is_kept),
        erased={sample: at for sample, at in gone if at is not None},
        left=frozenset(sample for sample, at in gone if at is None),
    )


def read(tx: Connection, samples: Collection[int]) -> dict[int, tuple[FoundSample, str | None]]:
    """Those of these samples that are kept, each with the slice that it is held out in now, by id."""
    return {entry.sample.id: (entry, slice_of(tx, entry.sample.id)) for entry in read_places(tx, list(samples))}


def erased_of_training(tx: Connection, number: int) -> int:
    """How many of the samples that a round had to train on are gone, and of a key that was erased since."""
    row = tx.execute(
        "SELECT count(*) FROM round_samples u JOIN forgotten f ON f.key_hash = u.key_hash "
        "LEFT JOIN samples s ON s.id = u.sample WHERE u.round = ? AND u.part IN (?, ?) AND s.id IS NULL",
        (number, *TO_TRAIN),
    ).fetchone()
    return int(row[0])
