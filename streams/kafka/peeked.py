"""How records that were only looked at would be read: decoded as the service decodes them, one by one."""

from collections.abc import Iterator
from dataclasses import dataclass

from kafka import TopicPartition

from streams.chunk import NO_TIMESTAMP, Chunk, Oversized, Row
from streams.decoding.decode import Decoder
from streams.document import DeadLetter, Document, Header, Partition, RecordForm
from streams.kafka.peek import PeekedPart
from streams.reading import PartitionRead, PartitionReader
from streams.record_headers import parse


@dataclass(frozen=True, slots=True)
class PeekedRecord:
    """A record, and what it would become.

    Attributes:
        time: the record's own, unix seconds.
        value: its bytes, of one that is too long the beginning; None for a tombstone.
        value_bytes: how many it has.
        codec: the compression that its producer sent it in.
        outcome: the document, or the dead letter; None where it would wait.
        waits: for what; empty where it would not.
    """

    number: int
    offset: int
    time: float | None
    key: bytes | None
    value: bytes | None
    value_bytes: int
    headers: tuple[Header, ...]
    codec: str
    form: RecordForm
    outcome: Document | DeadLetter | None
    waits: str


def as_read(topic: str, part: PeekedPart, decoder: Decoder, *, kept_bytes: int, now: float) -> Iterator[PeekedRecord]:
    """The records of a part in the order of their offsets, batches that cannot be read among them.

    Args:
        decoder: of the topic.
        kept_bytes: of what is no document.
        now: unix seconds.
    """
    reader = PartitionReader(Partition(topic, part.number), decoder, 0, kept_bytes)
    yield from sorted(
        (*_records(topic, part, reader, now), *_unreadable(topic, part, reader, now)), key=lambda each: each.offset
    )


def _records(topic: str, part: PeekedPart, reader: PartitionReader, now: float) -> Iterator[PeekedRecord]:
    for row in part.rows:
        chunk = Chunk(TopicPartition(topic, part.number), row[0], row[0] + 1, [row])
        if row[0] in part.headers:
            chunk.headers = {row[0]: part.headers[row[0]]}
        yield _read(chunk, part, reader, now)


def _unreadable(topic: str, part: PeekedPart, reader: PartitionReader, now: float) -> Iterator[PeekedRecord]:
    for bad in part.bad:
        chunk = Chunk(TopicPartition(topic, part.number), bad.first, bad.last + 1, bad=[bad])
        yield _read(chunk, part, reader, now)


def _read(chunk: Chunk, part: PeekedPart, reader: PartitionReader, now: float) -> PeekedRecord:
    read = PartitionRead(reader.partition, chunk.first)
    reader.read(chunk, read, now)
    outcomes: list[Document | DeadLetter] = [*read.documents, *read.dead_letters]
    outcome = outcomes[0] if outcomes else None
    forms = [*read.arrived.documents, *read.arrived.dead_letters]
    offset, time, key, value = chunk.rows[0] if chunk.rows else _without_row(chunk.first)
    letter = outcome if isinstance(outcome, DeadLetter) else None
    size = len(value or b"") if letter is None else letter.value_bytes
    return PeekedRecord(
        number=part.number,
        offset=offset,
        time=None if time == NO_TIMESTAMP else time / 1000,
        key=key,
        value=value.beginning if isinstance(value, Oversized) else value,
        value_bytes=size,
        headers=tuple(parse(chunk.headers.get(offset, b"\0"))),
        codec=part.codecs.get(offset, "none"),
        form=forms[0] if forms else RecordForm.FRAMED,
        outcome=outcome,
        waits=reader.waits,
    )


def _without_row(offset: int) -> Row:
    return offset, NO_TIMESTAMP, None, None
