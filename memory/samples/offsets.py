"""How far each partition has been read: the truth about offsets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memory.database import sqlite
from memory.database.sqlite import Connection
from memory.errors import MisplacedText
from streams.document import Batch, Partition

MOST_STREAMS = 100_000
"""Partitions (and files, each of which is one) whose next offset stays known, 200 bytes each."""
GONE = Partition("(forgotten)", -1)
"""Stands for a partition that was beyond the bound where lineage still names it."""


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


def latest_incarnation(tx: Connection, topic: str, number: int) -> str | None:
    """The incarnation under which a topic's partition was read last; None for one that was never seen."""
    row = tx.execute(
        "SELECT incarnation FROM streams WHERE topic = ? AND number = ? ORDER BY moved_at DESC, id DESC LIMIT 1",
        (topic, number),
    ).fetchone()
    return None if row is None else str(row[0])


def knows(tx: Connection, topic: str) -> bool:
    """Whether any partition of a topic was ever seen."""
    return tx.execute("SELECT 1 FROM streams WHERE topic = ? LIMIT 1", (topic,)).fetchone() is not None


def offsets_of(tx: Connection, topic: str, number: int) -> dict[str, int]:
    """The offset to read next of each incarnation of a topic's partition that was seen."""
    rows = tx.execute("SELECT incarnation, next_offset FROM streams WHERE topic = ? AND number = ?", (topic, number))
    return dict(rows.fetchall())


@dataclass(frozen=True, slots=True)
class TopicPosition:
    """How far a topic's partition has been read.

    Attributes:
        next_offset: the offset to read next, of the incarnation that was read last.
        moved_at: when that changed last, unix seconds.
        gap_offsets: offsets that never came, of those gaps that are kept.
    """

    topic: str
    number: int
    next_offset: int
    moved_at: float
    gap_offsets: int


def topic_positions(tx: Connection, limit: int) -> list[TopicPosition]:
    """How far partitions of topics have been read, in the order of their names; of files and feedback nothing."""
    rows = tx.execute(
        "SELECT topic, number, next_offset, moved_at FROM streams AS one WHERE topic NOT GLOB 'file:*' "
        "AND topic NOT GLOB 'stdin:*' AND topic NOT GLOB '(*' AND id = (SELECT id FROM streams WHERE topic = one.topic "
        "AND number = one.number ORDER BY moved_at DESC, id DESC LIMIT 1) ORDER BY topic, number LIMIT ?",
        (limit,),
    ).fetchall()
    missing = tx.execute(
        "SELECT topic, number, sum(last - first + 1) FROM gaps JOIN streams ON streams.id = gaps.stream "
        "GROUP BY topic, number"
    ).fetchall()
    gaps = {(topic, number): int(offsets) for topic, number, offsets in missing}
    return [
        TopicPosition(topic, number, next_offset, moved_at, gaps.get((topic, number), 0))
        for topic, number, next_offset, moved_at in rows
    ]


def numbers_of(tx: Connection, topics: Iterable[str]) -> dict[int, str]:
    """The number of each partition of these topics that was seen, with its topic."""
    return {
        number: topic
        for topic in topics
        for (number,) in tx.execute("SELECT id FROM streams WHERE topic = ?", (topic,)).fetchall()
    }


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


def _last_move(tx: Connection, partition: Partition) -> float:
    """When the partition moved last, of whatever incarnation: what comes is later, also by a clock set back."""
    row = tx.execute(
        "SELECT max(moved_at) FROM streams WHERE topic = ? AND number = ?", (partition.topic, partition.number)
    ).fetchone()
    return float(row[0] or 0.0)


def move_on(tx: Connection, batch: Batch, now: float) -> dict[Partition, Position]:
    """Note how far the batch takes each partition (never back), and return where each stood before.

    Args:
        now: unix seconds.

    Raises:
        MisplacedText: something in the batch lies at or beyond its partition's next offset, or has none.
    """
    positions = {}
    for partition, end in batch.next_offsets.items():
        row = _row(tx, partition)
        moved_at = max(now, _last_move(tx, partition))
        if row is None:
            stream = tx.execute(
                "INSERT INTO streams(topic, number, incarnation, next_offset, moved_at) VALUES (?, ?, ?, ?, ?)",
                (partition.topic, partition.number, partition.incarnation, end, moved_at),
            ).lastrowid
            # Of a new stream nothing is stored: every offset is new.
            positions[partition] = Position(int(stream or 0), 0, end)
        else:
            positions[partition] = Position(row[0], row[1], end)
            tx.execute(
                # Never back: what was delivered again may end below what is stored.
                "UPDATE streams SET next_offset = max(next_offset, ?), moved_at = ? WHERE id = ?",
                (end, moved_at, row[0]),
            )
    # Only a new stream can bring them over the bound, and counting them is not for every batch.
    if any(position.first_new == 0 for position in positions.values()):
        _forget_oldest(tx, [position.stream for position in positions.values()])
    return positions


def _forget_oldest(tx: Connection, in_use: Iterable[int]) -> None:
    """Keep streams within their bound, a tenth at a time: files go first, and of a kind what was read longest ago.

    What text, dead letters or gaps come from stays, and so does the latest: its number must not be given again.
    """
    count = int(tx.execute("SELECT count(*) FROM streams").fetchone()[0])
    if count <= MOST_STREAMS * 1.1:
        return
    tx.execute(
        "DELETE FROM streams WHERE id IN (SELECT id FROM streams WHERE id < (SELECT max(id) FROM streams) "
        "AND id NOT IN (SELECT value FROM json_each(?)) AND id NOT IN (SELECT stream FROM gaps) "
        "AND NOT EXISTS (SELECT 1 FROM samples WHERE stream = streams.id) "
        "AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE stream = streams.id) "
        "ORDER BY topic LIKE 'file:%' OR topic LIKE 'stdin:%' DESC, moved_at LIMIT ?)",
        (sqlite.as_json(in_use), count - MOST_STREAMS),
    )


def position_of(positions: Mapping[Partition, Position], partition: Partition, offset: int) -> Position:
    """The position of what lies at this offset.

    Raises:
        MisplacedText: the batch does not cover it.
    """
    position = positions.get(partition)
    if position is None or offset >= position.end:
        raise MisplacedText(
            f"A batch holds offset {offset} of {partition.topic}-{partition.number}, but says to read on at "
            f"{'nothing' if position is None else position.end}. This is a fault of Riverkeep: nothing was stored."
        )
    return position


def partitions(tx: Connection, streams: Iterable[int]) -> dict[int, Partition]:
    """The partitions behind these stream numbers."""
    numbers = set(streams)
    rows = tx.execute(
        "SELECT id, topic, number, incarnation FROM streams WHERE id IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(numbers),),
    )
    return dict.fromkeys(numbers, GONE) | {row[0]: Partition(*row[1:]) for row in rows}
