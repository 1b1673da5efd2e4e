"""What was fetched from a partition becomes documents, dead letters and gaps; the parts become a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streams.chunk import Chunk, Oversized, Row, UnreadableBatch
from streams.decoding import times
from streams.decoding.decode import Decoder
from streams.document import (
    Arrived,
    Batch,
    DeadLetter,
    Document,
    Erasure,
    Gap,
    GapReason,
    Partition,
    Reason,
    RecordForm,
    Rejection,
    key_text,
)
from streams.errors import RegistryAway
from streams.record_headers import bound_headers, parse

LATEST_MS = times.LATEST * 1000
NO_JSON = frozenset({Reason.NOT_JSON, Reason.NOT_UTF8, Reason.NUL_BYTE, Reason.LONE_SURROGATE, Reason.BAD_NUMBER})
SCHEMA_HEADER = "__value_schema_id"
IN_A_HEADER = (
    f"a schema registry's client names the value's schema in the header {SCHEMA_HEADER}, which is not read here: have "
    "its producer write it in front of the value (its prefix serializer of schema ids), or plain JSON"
)
TIMES_READ = 3
"""How often a batch that does not match its checksum is read before it counts as damaged where it lies."""


@dataclass(slots=True)
class PartitionRead:
    """What came from one partition.

    Attributes:
        size: bytes of the records.
        arrived: how much that is, and written as what.
    """

    partition: Partition
    next_offset: int
    documents: list[Document] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    erasures: list[Erasure] = field(default_factory=list)
    records: int = 0
    size: int = 0
    arrived: Arrived = field(default_factory=Arrived)


@dataclass(slots=True)
class PartitionReader:
    """Reads the chunks of one partition.

    Attributes:
        position: the offset that comes next.
        kept_bytes: how much of a dead letter's record is kept.
        erases: whether a tombstone erases its key's text.
        waits: why the record at `position` cannot be read now; empty where it can.
    """

    partition: Partition
    decoder: Decoder
    position: int
    kept_bytes: int
    damaged_offset: int = -1
    damaged_times: int = 0
    erases: bool = False
    waits: str = ""

    def read(self, chunk: Chunk, part: PartitionRead, now: float) -> int | None:
        """Add a chunk to a part.

        Args:
            chunk: consecutive records.
            part: what came from this partition so far.
            now: unix seconds.

        Returns:
            The offset to read from instead of going on, where there is a damaged batch, or a record that waits; None:
            go on.
        """
        self.waits = ""
        known = len(part.documents)
        stopped = self._decode(chunk, part, now)
        rows = chunk.rows if stopped is None else [row for row in chunk.rows if row[0] < stopped]
        self._note_arrived(part, part.documents[known:], rows, chunk.packed)
        for bad in chunk.bad:
            # Those behind the record that waits come again with it.
            if stopped is None or bad.first < stopped:
                self._give_up(bad, part, now)
        if stopped is not None:
            part.next_offset = self.position = stopped
            return stopped
        part.records += len(chunk.rows)
        part.size += chunk.size
        self.position = chunk.next_offset
        offset = None
        if chunk.damaged:
            offset = self._retry_or_give_up(chunk.damaged, part, now)
            self.position = offset
        part.next_offset = self.position
        return offset

    def _decode(self, chunk: Chunk, part: PartitionRead, now: float) -> int | None:
        """Add the records; the offset of the one that waits ends it."""
        decode, partition, keep = self.decoder.decode, self.partition, part.documents.append
        usual = times.SECONDS_BELOW
        for offset, time, key, value in chunk.rows:
            if isinstance(value, Oversized):
                detail = f"{value.value_bytes} bytes are more than max_record_bytes"
                size = value.value_bytes
                why = Reason.TOO_LARGE, detail
                part.arrived.dead_letters[self.decoder.form_of_refused(value.beginning)] += 1
                self._bury(part, offset, why, key, value.beginning, size, now, chunk.headers.get(offset))
                continue
            # Nearly all are milliseconds, and for each record a call costs more than a comparison.
            seconds = time / 1000 if usual <= time < LATEST_MS else times.of_record(time)
            try:
                decoded = decode(value, key, seconds, partition, offset, now)
            except RegistryAway as away:
                self.waits = str(away)
                return offset
            if isinstance(decoded, Document):
                keep(decoded)
            else:
                size = len(value or b"")
                if value is None and self.erases and (whose := key_text(key)):
                    part.erasures.append(Erasure(partition, offset, whose))
                headers = chunk.headers.get(offset)
                why = _explain_by_headers(decoded, headers) if headers else decoded
                part.arrived.dead_letters[self.decoder.form_of_refused(value or b"")] += 1
                self._bury(part, offset, why, key, value or b"", size, now, headers)
        return None

    def _note_arrived(
        self, part: PartitionRead, documents: Sequence[Document], rows: Sequence[Row], packed: Iterable[tuple[str, int]]
    ) -> None:
        """Count what was read; dead letters are counted as they are buried."""
        arrived, usual = part.arrived, self.decoder.usual_form
        arrived.value_bytes += sum([len(row[3] or b"") for row in rows])
        left = len(rows)
        for codec, number in packed:
            arrived.packed[codec] += min(number, left)
            left -= min(number, left)
        framed = {}
        if self.decoder.reads_framed:
            # No other value of a document begins with a zero.
            values = [(row[0], row[3]) for row in rows if isinstance(row[3], bytes) and row[3][:1] == b"\0"]
            framed = {offset: self.decoder.form_of_framed(value) or RecordForm.FRAMED for offset, value in values}
        if framed:
            arrived.documents.update(framed[each.offset] for each in documents if each.offset in framed)
            documents = [each for each in documents if each.offset not in framed]
        chats = sum([each.turns is not None for each in documents]) if usual is RecordForm.JSON_TEXT else 0
        for form, number in ((usual, len(documents) - chats), (RecordForm.JSON_MESSAGES, chats)):
            if number:
                arrived.documents[form] += number

    def _bury(  # noqa: PLR0917  # one call for each dead letter, with all its parts
        self,
        part: PartitionRead,
        offset: int,
        why: tuple[Reason, str],
        key: bytes | None,
        value: bytes,
        size: int,
        now: float,
        headers: bytes | None = None,
    ) -> None:
        kept_key, kept_value = key and key[: self.kept_bytes], value[: self.kept_bytes]
        # Of the whole value: an erasure must find the letter by keys that are cut off with the rest, too.
        named_keys = self.decoder.keys_in(value)
        if kept_key != key and (whole := key_text(key)):
            named_keys = (*named_keys, whole)
        own_headers, dropped = bound_headers(parse(headers), self.kept_bytes) if headers else ((), 0)
        letter = DeadLetter(
            self.partition, offset, *why, kept_key, kept_value, size, now, named_keys, own_headers, dropped
        )
        part.dead_letters.append(letter)

    def _give_up(self, bad: UnreadableBatch, part: PartitionRead, now: float) -> None:
        why = Reason.UNDECODABLE_BATCH, f"offsets {bad.first} to {bad.last}: {bad.detail}"
        part.arrived.dead_letters[RecordForm.OTHER] += 1
        self._bury(part, bad.first, why, None, bad.beginning, bad.batch_bytes, now)
        part.gaps.append(Gap(self.partition, bad.first, bad.last, GapReason.UNDECODABLE_BATCH))
        # A letter needs its record: the budget for dead letters looks at their share.
        part.records += 1

    def _retry_or_give_up(self, bad: UnreadableBatch, part: PartitionRead, now: float) -> int:
        """Where to read on: the same batch again, in case the wire was at fault, or after it."""
        self.damaged_times = self.damaged_times + 1 if self.damaged_offset == bad.first else 1
        self.damaged_offset = bad.first
        if self.damaged_times < TIMES_READ:
            return bad.first
        self._give_up(bad, part, now)
        return bad.last + 1


def _explain_by_headers(rejection: Rejection, headers: bytes) -> Rejection:
    """Why a value is no JSON, where a schema registry's client says in a header what it is."""
    if rejection[0] in NO_JSON and any(name == SCHEMA_HEADER for name, _ in parse(headers)):
        return Reason.SCHEMA_FRAMED, IN_A_HEADER
    return rejection


class BatchBuilder:
    """Gathers parts until there are enough for a transaction."""

    def __init__(self, *, records: int, size: int) -> None:
        self._parts: dict[Partition, PartitionRead] = {}
        self._records = records
        self._size = size

    def part(self, partition: Partition, next_offset: int) -> PartitionRead:
        """The partition's part, a new one at first."""
        if partition not in self._parts:
            self._parts[partition] = PartitionRead(partition, next_offset)
        return self._parts[partition]

    def drop(self, partition: Partition) -> None:
        """Forget what came from a partition: it went to another replica before this was handed over."""
        self._parts.pop(partition, None)

    def parts(self) -> tuple[PartitionRead, ...]:
        """What there is."""
        return tuple(self._parts.values())

    @property
    def full(self) -> bool:
        """Whether there is enough for a transaction."""
        parts = self._parts.values()
        return sum(p.records for p in parts) >= self._records or sum(p.size for p in parts) >= self._size

    def build(self) -> Batch | None:
        """Everything as one batch; None when nothing came."""
        parts = self._parts.values()
        if not parts:
            return None
        return Batch(
            documents=tuple(document for part in parts for document in part.documents),
            dead_letters=tuple(letter for part in parts for letter in part.dead_letters),
            gaps=tuple(gap for part in parts for gap in part.gaps),
            next_offsets={part.partition: part.next_offset for part in parts},
            erasures=tuple(erasure for part in parts for erasure in part.erasures),
            arrived={part.partition: part.arrived for part in parts},
        )
