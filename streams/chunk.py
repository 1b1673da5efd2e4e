"""Records of one partition as they were fetched, before anything is decoded."""

from dataclasses import dataclass, field

from kafka.structs import TopicPartition

NO_TIMESTAMP = -1


@dataclass(frozen=True, slots=True)
class Oversized:
    """Stands for a value that is longer than allowed: its beginning, and how long it was."""

    beginning: bytes
    value_bytes: int

    def __len__(self) -> int:
        return self.value_bytes


Row = tuple[int, int, bytes | None, bytes | Oversized | None]
"""A record: offset, timestamp in milliseconds (-1: none), key, value."""


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """A batch that cannot be read: its offsets (inclusive), why, its beginning and how long it was."""

    first: int
    last: int
    detail: str
    beginning: bytes
    batch_bytes: int


@dataclass(slots=True)
class Chunk:
    """Some consecutive records of one partition.

    Attributes:
        first: the offset that was to come first; the first record's may be higher (markers, compaction).
        next_offset: the offset that comes after the chunk.
        bad: batches among them that cannot be read.
        headers: by offset, of the records that have any: the bytes behind their values.
        packed: the compression in which so many records, in their order, were sent: see `Arrived.packed`.
        damaged: the batch at `next_offset`, when it does not match its checksum: reading it again may help.
        size: bytes of all records, decompressed.
    """

    partition: TopicPartition
    first: int
    next_offset: int
    rows: list[Row] = field(default_factory=list)
    bad: list[UnreadableBatch] = field(default_factory=list)
    headers: dict[int, bytes] = field(default_factory=dict)
    packed: list[tuple[str, int]] = field(default_factory=list)
    damaged: UnreadableBatch | None = None
    size: int = 0
