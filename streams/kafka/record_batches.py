"""Kafka's record batches, read where kafka-python would read them: bounded, and several times cheaper.

kafka-python makes two objects for each record, decompresses without a limit, and raises out of `poll` at a
batch that it cannot read, after which it is stuck there. Its `Fetcher` takes the class that reads a fetched
partition from an attribute; `chunked_records` makes one for it that hands over whole `Chunk`s, within limits, and
with what could not be read told instead of raised. Nothing else of kafka-python is replaced.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.structs import TopicPartition

from streams.chunk import NO_TIMESTAMP, Chunk, Oversized, Row, UnreadableBatch
from streams.kafka.decompress import NAMES, CannotDecompress, decompress

CODEC_MASK = 0x07


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may become, and how much makes a chunk.

    Attributes:
        batch_bytes: of one batch, decompressed.
        record_bytes: of one record's key and value; of a longer one `kept_bytes` are kept.
        chunk_rows: a chunk holds at most so many records.
        chunk_bytes: a chunk that holds more than this takes no further batch.
    """

    batch_bytes: int
    record_bytes: int
    kept_bytes: int
    chunk_rows: int
    chunk_bytes: int


class Unreadable(Exception):
    """A batch cannot be read as records."""


def read_records(
    data: bytes,
    count: int,
    *,
    base_offset: int,
    base_time: int,
    limits: Limits,
    from_offset: int,
    headers: dict[int, bytes] | None = None,
) -> list[Row]:
    """The records of a decompressed batch (record format 2) from `from_offset` on.

    Args:
        data: the batch behind its header.
        count: how many records it holds.
        base_offset: the offset of its first record.
        base_time: what the records' times are counted from, milliseconds since 1970.
        limits: how long a record may be.
        from_offset: records before it are left out.
        headers: takes the bytes of the headers of those records that have any, by offset.

    Raises:
        Unreadable: the bytes are not `count` records.
    """
    rows: list[Row] = []
    position = 0
    try:
        for _ in range(count):
            time, index, key, value, headers_at, position = _read_record(data, position, limits)
            offset = base_offset + index
            if offset >= from_offset:
                # One byte is the number of headers where there are none.
                if headers is not None and position - headers_at > 1:
                    headers[offset] = data[headers_at:position]
                rows.append((offset, base_time + time, key, value))
    except IndexError:
        raise Unreadable("the last record is cut off") from None
    if position != len(data):
        raise Unreadable(f"{len(data) - position} bytes are left after the last record")
    return rows


# A plain tuple, as `Row` is: one is made for each record.
_Record = tuple[int, int, bytes | None, bytes | Oversized | None, int, int]
"""Time and offset beyond those of the batch, key, value, and the positions where the headers begin and end."""


def _read_record(data: bytes, position: int, limits: Limits) -> _Record:
    """The record that begins at a position."""
    length, position = _read_varint(data, position)
    end = position + (length >> 1)
    # One byte of attributes comes first, which format 2 leaves unused in a record.
    time, position = _read_varint(data, position + 1)
    index, position = _read_varint(data, position)
    key, position = _read_key(data, position)
    allowed = limits.record_bytes - len(key or b"")
    value, position = _read_value(data, position, allowed, limits.kept_bytes)
    # A slice beyond the end is short and raises nothing: only the record's own length tells that it is cut off.
    if not position < end <= len(data):
        raise Unreadable("a record's fields do not fit its length")
    # Zigzag undone: times may lie before the batch's first, offsets do not.
    return (time >> 1) ^ -(time & 1), index >> 1, key, value, position, end


def _read_key(data: bytes, position: int) -> tuple[bytes | None, int]:
    """The key whose length stands at a position, and the position after it."""
    length, start = _read_varint(data, position)
    # Lengths are zigzag numbers: an even one is twice the length, an odd one is negative and says null.
    if length & 1:
        return None, start
    end = start + (length >> 1)
    return data[start:end], end


def _read_value(data: bytes, position: int, allowed: int, kept: int) -> tuple[bytes | Oversized | None, int]:
    """The value whose length stands at a position, its first `kept` bytes if it is too long; the position after it."""
    length, start = _read_varint(data, position)
    if length & 1:
        return None, start
    size = length >> 1
    end = start + size
    # Cut before it is copied: it may be as large as the whole batch.
    return (Oversized(data[start : start + kept], size) if size > allowed else data[start:end]), end


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned number at a position (zigzag is the caller's), and the position after it."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    number, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = data[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position + 1
        shift += 7
        if shift > 63:
            raise Unreadable("a number is longer than 64 bits")


class _BoundedLegacyBatch(LegacyRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """A batch in a record format from before Kafka 0.11, decompressed within the limit."""

    __slots__ = ("limit",)
    limit: int

    def _decompress(self, key_offset: int) -> bytes:
        position = start = key_offset
        # A compressed message wraps others: its value is their compressed bytes, its key is null (length -1).
        for _ in ("key", "value"):
            (size,) = struct.unpack_from(">i", self._buffer, position)
            start = position + 4
            position = start + max(0, size)
        return decompress(self.compression_type, bytes(self._buffer[start:position]), self.limit)


def read_batch(
    batch: Any, limits: Limits, from_offset: int, headers: dict[int, bytes] | None = None
) -> tuple[list[Row], int]:
    """The records of one of kafka-python's batches from `from_offset` on, and the bytes of all; see `read_records`.

    Raises:
        Unreadable: the batch is malformed.
        CannotDecompress: it is damaged or becomes more than is allowed.
    """
    if batch.magic < 2:
        return _read_legacy(batch, limits, from_offset), batch.size_in_bytes
    data = bytes(memoryview(batch._buffer)[DefaultRecordBatch.HEADER_STRUCT.size :])  # noqa: SLF001 - no public way
    if codec := batch.attributes & CODEC_MASK:
        data = decompress(codec, data, limits.batch_bytes)
    rows = read_records(
        data,
        batch.records_count,
        base_offset=batch.base_offset,
        base_time=batch.first_timestamp,
        limits=limits,
        from_offset=from_offset,
        headers=headers,
    )
    if batch.timestamp_type == DefaultRecordBatch.LOG_APPEND_TIME:
        # The broker set one time for all; the records still bear their producer's.
        rows = [(offset, batch.max_timestamp, key, value) for offset, _, key, value in rows]
    return rows, len(data)


def _read_legacy(batch: Any, limits: Limits, from_offset: int) -> list[Row]:
    bounded = _BoundedLegacyBatch(batch._buffer, batch.magic)  # noqa: SLF001 - no public way
    bounded.limit = limits.batch_bytes
    rows: list[Row] = []
    for record in bounded:
        value: bytes | Oversized | None = None if record.value is None else bytes(record.value)
        if isinstance(value, bytes) and len(value) > limits.record_bytes:
            value = Oversized(value[: limits.kept_bytes], len(value))
        if record.offset >= from_offset:
            time = NO_TIMESTAMP if record.timestamp is None else record.timestamp
            rows.append((record.offset, time, record.key and bytes(record.key), value))
    return rows


def chunked_records(limits: Limits) -> type[Any]:
    """The class that a `Fetcher` is to read fetched partitions with; its "records" are chunks."""
    return type("ChunkedRecords", (_ChunkedRecords,), {"limits": limits})


class _ChunkedRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """A fetched partition. Each `take(1)` gives one chunk, or none at the end; nothing is raised."""

    limits: Limits

    def _maybe_skip_record(self, _chunk: Chunk) -> bool:
        return False  # a chunk begins where it should

    def _unpack_records(self, tp: TopicPartition, records: Any, *_deserializers: Any) -> Iterator[Chunk]:
        limits = self.limits
        chunk = Chunk(tp, self.fetch_offset, self.fetch_offset)
        # Nothing behind a damaged batch is read before that one is read again or given up: offsets go up only.
        while chunk.damaged is None and (batch := self._next_batch(records, chunk)) is not None:
            headers: dict[int, bytes] = {}
            rows, size = self._read(batch, chunk, headers)
            for start in range(0, len(rows), limits.chunk_rows):
                piece = rows[start : start + limits.chunk_rows]
                too_many = len(chunk.rows) + len(piece) > limits.chunk_rows
                if chunk.rows and (too_many or chunk.size > limits.chunk_bytes):
                    self.next_fetch_offset = chunk.next_offset
                    yield chunk
                    chunk = Chunk(tp, chunk.next_offset, chunk.next_offset)
                chunk.rows += piece
                chunk.packed.append((NAMES.get(batch.compression_type, "none"), len(piece)))
                if headers:
                    chunk.headers |= {row[0]: headers[row[0]] for row in piece if row[0] in headers}
                chunk.next_offset = piece[-1][0] + 1
            chunk.size += size
            if chunk.damaged is None:
                # A batch keeps its last offset when compaction removes the record: without it the batch would be
                # fetched for ever.
                chunk.next_offset = max(chunk.next_offset, _last_offset(batch) + 1)
        self.next_fetch_offset = chunk.next_offset
        # Before the last chunk is handed over, so that the next fetch travels while that chunk is stored.
        self.drain()
        if chunk.next_offset > chunk.first or chunk.damaged:
            yield chunk

    def _next_batch(self, records: Any, chunk: Chunk) -> Any | None:
        try:
            return records.next_batch()
        except (KafkaError, struct.error) as error:
            # Without a header nobody knows where the next batch begins: this offset alone can be named.
            offset = chunk.next_offset
            chunk.damaged = UnreadableBatch(offset, offset, f"the batch's header is damaged: {error}", b"", 0)
            return None

    def _read(self, batch: Any, chunk: Chunk, headers: dict[int, bytes]) -> tuple[list[Row], int]:
        self.bytes_read += batch.size_in_bytes
        try:
            # The wire may be at fault, so it is fetched again. What fails behind a good checksum would fail again.
            if not batch.validate_crc():
                chunk.damaged = self._bad(batch, chunk, "the batch does not match its checksum")
                return [], 0
            if batch.magic >= 2:
                self.leader_epoch = batch.leader_epoch
                if self._is_skipped(batch):
                    return [], 0
            return read_batch(batch, self.limits, chunk.next_offset, headers)
        except (CannotDecompress, Unreadable, KafkaError, ValueError, struct.error) as error:
            chunk.bad.append(self._bad(batch, chunk, f"the batch cannot be read: {error}"))
            return [], 0

    def _is_skipped(self, batch: Any) -> bool:
        """Whether a batch holds no records for us: a transaction's marker, or what it aborted."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                # The marker ends the transaction: later batches of the same producer count.
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _bad(self, batch: Any, chunk: Chunk, detail: str) -> UnreadableBatch:
        # Not the batch's own first offset: reading may have begun within it.
        first = chunk.next_offset
        beginning = bytes(memoryview(batch._buffer)[: self.limits.kept_bytes])  # noqa: SLF001 - no public way
        return UnreadableBatch(first, max(first, _last_offset(batch)), detail, beginning, batch.size_in_bytes)


def _last_offset(batch: Any) -> int:
    # Before format 2 a batch bears the offset of its last record.
    return int(batch.last_offset if batch.magic >= 2 else batch.base_offset)
