"""How far each partition has been read: the truth about offsets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memory.errors import BadBatch
from memory.sqlite import Connection
from streams.document import Batch, Partition


def next_offset(tx: Connection, partition: Partition) -> int | None:
    """The offset to read next; None for a partition that was never seen."""
    row = _row(tx, partition)
    return None if row is None else row[1]


def _row(tx: Connection, partition: Partition) -> tuple[int, int] | None:
    row: tuple[int, int] | None = tx.execute(
        "SELECT id, next_offset FROM streams WHERE topic = ? AND number = ? AND incarnation = ?",
        (partition.topic, partition.number, partition.incarnation),
    ).fetchone()
    return row


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands in the store before a batch.

    Attributes:
        stream: the partition's number in the store.
        first_new: the lowest offset that the store does not have.
        end: the lowest offset that lies beyond the batch.
    """

    stream: int
    first_new: int
    end: int


def move_on(tx: Connection, batch: Batch) -> dict[Partition, Position]:
    """Note how far the batch takes each partition (never back), and return where each stood before.

    Raises:
        BadBatch: something in the batch lies at or beyond its partition's next offset, or has none.
    """
    positions = {}
    for partition, end in batch.next_offsets.items():
        row = _row(tx, partition)
        if row is None:
            stream = tx.execute(
                "INSERT INTO streams(topic, number, incarnation, next_offset) VALUES (?, ?, ?, ?)",
                (partition.topic, partition.number, partition.incarnation, end),
            ).lastrowid
            positions[partition] = Position(int(stream or 0), 0, end)
        else:
            positions[partition] = Position(row[0], row[1], end)
            tx.execute("UPDATE streams SET next_offset = max(next_offset, ?) WHERE id = ?", (end, row[0]))
    return positions


def position_of(positions: Mapping[Partition, Position], partition: Partition, offset: int) -> Position:
    """The position of what lies at this offset.

    Raises:
        BadBatch: the batch does not cover it.
    """
    position = positions.get(partition)
    if position is None or offset >= position.end:
        raise BadBatch(
            f"A batch holds offset {offset} of {partition.topic}-{partition.number}, but says to read on at "
            f"{'nothing' if position is None else position.end}. This is a fault of Riverkeep: nothing was stored."
        )
    return position


def partitions(tx: Connection, streams: Iterable[int]) -> dict[int, Partition]:
    """The partitions behind these stream numbers."""
    wanted = set(streams)
    rows = tx.execute("SELECT id, topic, number, incarnation FROM streams")
    return {row[0]: Partition(*row[1:]) for row in rows if row[0] in wanted}
