"""By which API key corrections came: who one says to be can be made up, the key that one has cannot."""

from collections.abc import Iterable, Mapping

from memory.database.sqlite import Connection, as_json
from memory.samples.offsets import Position, position_of
from streams.document import CORRECTIONS, Opinion, Partition


def note(tx: Connection, opinions: Iterable[Opinion], positions: Mapping[Partition, Position], first: int) -> None:
    """Note of those samples that corrections of a batch became by which key they came.

    Args:
        tx: that stored them.
        opinions: of the batch.
        positions: of its partitions.
        first: the lowest number that a sample of the batch may have.
    """
    givers = {opinion.offset: opinion.giver for opinion in opinions if opinion.corrected}
    if not givers:
        return
    stream = position_of(positions, CORRECTIONS, max(givers)).stream
    stored = tx.execute("SELECT id, offset FROM samples WHERE id >= ? AND stream = ?", (first, stream))
    tx.executemany(
        "INSERT INTO corrections(sample, giver) VALUES (?, ?)",
        [(sample, givers[offset]) for sample, offset in stored.fetchall() if offset in givers],
    )


def givers(tx: Connection, samples: Iterable[int]) -> dict[int, str]:
    """Of these samples those that are corrections, each with the name of its API key; empty where keys have none."""
    rows = tx.execute(
        "SELECT sample, giver FROM corrections WHERE sample IN (SELECT value FROM json_each(?))", (as_json(samples),)
    )
    return dict(rows.fetchall())
