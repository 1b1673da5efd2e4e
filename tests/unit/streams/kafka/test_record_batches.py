"""Kafka's record batches are read as kafka-python reads them, within limits, and damage is told."""

import struct
from collections.abc import Iterable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from streams.chunk import Chunk, Oversized
from streams.kafka.record_batches import Limits, Unreadable, chunked_records, read_records

TP = TopicPartition("articles", 0)
LIMITS = Limits(batch_bytes=1 << 20, record_bytes=1000, kept_bytes=16, chunk_rows=100, chunk_bytes=1 << 16)
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)

Record = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes]]]


def batch(records: Iterable[Record], *, offset: int = 0, codec: int = NONE, magic: int = 2, **options: object) -> bytes:
    """The bytes of a batch, as a producer and a broker make them."""
    builder = MemoryRecordsBuilder(magic, codec, 1 << 24, offset=0, **options)
    for time, key, value, headers in records:
        builder.append(time, key, value, headers if magic == 2 else None)
    builder.close()
    data = bytearray(builder.buffer())
    if magic == 2:
        struct.pack_into(">q", data, 0, offset)
    return bytes(data)


def values(number: int, start: int = 0) -> list[Record]:
    """So many records."""
    return [(1000 + n, b"k%d" % n, b"value %d" % n, []) for n in range(start, start + number)]


def chunks(data: bytes, from_offset: int = 0, limits: Limits = LIMITS, **options: object) -> list[Chunk]:
    """All chunks of a fetched partition, taken the way kafka-python takes them."""
    fetched = chunked_records(limits)(from_offset, TP, MemoryRecords(data), **options)
    found: list[Chunk] = []
    while fetched:
        taken = fetched.take(1)
        found += taken
        assert fetched.next_fetch_offset == (found[-1].next_offset if found else from_offset)
    return found


def damaged(data: bytes, place: int) -> bytes:
    """The same bytes with one bit flipped."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def resealed(data: bytes) -> bytes:
    """A batch with its checksum made to match."""
    sealed = bytearray(data)
    place = DefaultRecordBatch.ATTRIBUTES_OFFSET
    struct.pack_into(">I", sealed, DefaultRecordBatch.CRC_OFFSET, calc_crc32c(memoryview(sealed)[place:]))
    return bytes(sealed)


RECORD = st.tuples(
    st.integers(0, 1 << 42),
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2),
)


@given(st.lists(RECORD, min_size=1, max_size=20), st.sampled_from([NONE, GZIP, SNAPPY, LZ4, ZSTD]), st.integers(0, 25))
def test_records_are_those_that_kafka_python_reads(records: list[Record], codec: int, skip: int) -> None:
    """Offset, time, key and value are the same for every record, from any offset on."""
    data = batch(records, offset=0, codec=codec)
    theirs = Fetcher.PartitionRecords(skip, TP, MemoryRecords(data)).take()
    wanted = [(r.offset, r.timestamp, r.key, r.value) for r in theirs]
    assert [row for chunk in chunks(data, skip) for row in chunk.rows] == wanted


def test_old_record_formats_are_read() -> None:
    """Topics from before Kafka 0.11 may hold formats 0 and 1, compressed or not."""
    for magic in (0, 1):
        for codec in (NONE, GZIP):
            (chunk,) = chunks(batch(values(3), magic=magic, codec=codec))
            assert [row[3] for row in chunk.rows] == [b"value 0", b"value 1", b"value 2"]
            assert chunk.next_offset == 3
    bomb = batch([(1, None, bytes(LIMITS.batch_bytes * 2), [])], magic=1, codec=GZIP)
    (chunk,) = chunks(bomb)
    assert "becomes more than" in chunk.bad[0].detail


def test_chunks_hold_no_more_than_their_limits() -> None:
    """Small batches are gathered, large ones are split, and what comes next is always right."""
    data = b"".join(batch(values(30, start), offset=start) for start in range(0, 300, 30))
    found = chunks(data)
    assert [len(chunk.rows) for chunk in found] == [90, 90, 90, 30]
    assert [(chunk.first, chunk.next_offset) for chunk in found] == [(0, 90), (90, 180), (180, 270), (270, 300)]
    split = chunks(batch(values(250)))
    assert [(chunk.first, chunk.next_offset) for chunk in split] == [(0, 100), (100, 200), (200, 250)]


def test_chunks_are_cut_by_their_bytes_too() -> None:
    """Few large records make a chunk as well."""
    large = Limits(batch_bytes=1 << 20, record_bytes=1 << 20, kept_bytes=16, chunk_rows=100, chunk_bytes=1000)
    data = b"".join(batch([(1, None, b"x" * 900, [])], offset=n) for n in range(5))
    assert [len(chunk.rows) for chunk in chunks(data, limits=large)] == [2, 2, 1]


def test_the_partition_is_drained_with_its_last_chunk() -> None:
    """So that kafka-python sends the next fetch while the last chunk is being stored."""
    fetched = chunked_records(LIMITS)(0, TP, MemoryRecords(batch(values(3))))
    assert fetched
    fetched.take(1)
    assert not fetched


def test_a_record_that_is_too_long_is_told_of_in_its_place() -> None:
    """Its beginning is kept, its length told; its neighbours come."""
    records = [*values(1), (5, b"key", b"y" * 1001, []), *values(1)]
    (chunk,) = chunks(batch(records, codec=GZIP))
    assert [row[3] for row in chunk.rows] == [b"value 0", Oversized(b"y" * 16, 1001), b"value 0"]
    assert chunk.rows[1][2] == b"key"


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_bomb_is_a_bad_batch_and_the_next_one_comes(codec: int) -> None:
    """A batch that would become too much is told with its offsets; reading goes on behind it."""
    bomb = batch([(1, None, bytes(LIMITS.batch_bytes + 1), []), (2, None, b"x", [])], offset=5, codec=codec)
    (chunk,) = chunks(batch(values(5)) + bomb + batch(values(1), offset=7), 0)
    assert [row[0] for row in chunk.rows] == [0, 1, 2, 3, 4, 7]
    (bad,) = chunk.bad
    assert (bad.first, bad.last) == (5, 6)
    assert "becomes more than" in bad.detail
    assert len(bad.beginning) == 16
    assert chunk.next_offset == 8


def test_a_batch_of_rubbish_is_told_with_its_offsets() -> None:
    """A checksum that matches what is no gzip: the producer's fault, and reading again would not help."""
    good = batch(values(4), codec=GZIP)
    rubbish = resealed(good[:61] + b"rubbish" + good[68:])
    (chunk,) = chunks(rubbish, 1)
    assert not chunk.rows
    assert (chunk.bad[0].first, chunk.bad[0].last, chunk.next_offset) == (1, 3, 4)


def test_an_unknown_codec_is_told() -> None:
    """A codec of the future stops nothing."""
    future = bytearray(batch(values(2)))
    future[22] |= 7
    (chunk,) = chunks(resealed(bytes(future)))
    assert "codec 7 is unknown" in chunk.bad[0].detail


def test_a_flipped_bit_ends_the_chunk_before_its_batch() -> None:
    """What does not match its checksum may read well next time: the chunk stops in front of it and says so."""
    data = batch(values(3)) + damaged(batch(values(3), offset=3), 70) + batch(values(3), offset=6)
    (chunk,) = chunks(data)
    assert chunk.next_offset == 3
    assert chunk.damaged is not None
    assert (chunk.damaged.first, chunk.damaged.last) == (3, 5)


def test_a_header_too_short_is_damage() -> None:
    """A length that is smaller than any batch is no reason to stop."""
    (chunk,) = chunks(struct.pack(">qi", 0, 3) + b"abc")
    assert chunk.damaged is not None
    assert not chunk.rows


@given(st.integers(0, 160), st.binary(min_size=1, max_size=4))
def test_no_damage_raises(place: int, rubbish: bytes) -> None:
    """Whatever bytes a sealed batch holds, reading ends, and no offset is passed over in silence."""
    good = batch(values(5))
    place = max(23, min(place, len(good) - len(rubbish)))
    found = chunks(resealed(good[:place] + rubbish + good[place + len(rubbish) :]))
    for chunk in found:
        assert chunk.rows or chunk.bad or chunk.damaged or chunk.next_offset > chunk.first


def test_aborted_transactions_and_markers_are_passed_over() -> None:
    """What a transaction aborted never comes; its offsets and the markers' are no records."""
    options = {"transactional": True, "producer_epoch": 0, "base_sequence": 0}
    data = b"".join(
        (
            batch(values(2), offset=0, producer_id=7, **options),
            batch(values(2), offset=2, producer_id=8, **options),
            marker(4, 7, commit=False),
            marker(5, 8, commit=True),
            batch(values(1), offset=6),
        )
    )

    class Aborted:
        producer_id = 7
        first_offset = 0

    (chunk,) = chunks(data, isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=[Aborted()])
    assert [row[0] for row in chunk.rows] == [2, 3, 6]
    assert chunk.next_offset == 7
    assert not chunk.bad


def marker(offset: int, producer_id: int, *, commit: bool) -> bytes:
    """A transaction's end, as the broker writes it."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    options = {"transactional": True, "producer_epoch": 0, "base_sequence": 0}
    data = bytearray(batch([(1, key, b"\0" * 6, [])], offset=offset, producer_id=producer_id, **options))
    data[22] |= DefaultRecordBatch.CONTROL_MASK
    return resealed(bytes(data))


def test_a_count_that_does_not_fit_is_unreadable() -> None:
    """More records than there are, or fewer, is damage, not an end."""
    body = batch(values(2))[61:]
    read = partial(read_records, base_offset=0, base_time=0, limits=LIMITS, from_offset=0)
    with pytest.raises(Unreadable, match="cut off"):
        read(body, 3)
    with pytest.raises(Unreadable, match="left after"):
        read(body, 1)
    with pytest.raises(Unreadable, match="64 bits"):
        read(b"\xff" * 30, 1)
