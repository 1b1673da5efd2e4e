"""A record's own headers, whatever they are called and hold."""

from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.structs import TopicPartition

from streams.chunk import Chunk
from streams.decoding.decode import Decoder
from streams.document import DeadLetter, Header, Partition, Reason
from streams.kafka.publisher import headers
from streams.kafka.record_batches import Limits, read_records
from streams.reading import PartitionRead, PartitionReader
from streams.record_headers import bound_headers, parse
from streams.topic_settings import TopicFormat

LIMITS = Limits(batch_bytes=1 << 20, record_bytes=1 << 20, kept_bytes=1 << 20, chunk_rows=100, chunk_bytes=1 << 20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=200)), max_size=5)


def as_read(*records: list[Header]) -> dict[int, bytes]:
    """The headers' bytes as a batch of records holds them, by offset."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for offset, own in enumerate(records):
        builder.append(offset, 0, b"k", b"v", own)
    data = bytes(builder.build())[DefaultRecordBatchBuilder.HEADER_STRUCT.size :]
    found: dict[int, bytes] = {}
    read_records(data, len(records), base_offset=0, base_time=0, limits=LIMITS, from_offset=0, headers=found)
    return found


@given(st.lists(HEADERS, min_size=1, max_size=3))
def test_headers_come_back_as_they_were_sent(records: list[list[Header]]) -> None:
    """Names more than once, null values, binary ones; nothing is held of records without any."""
    found = as_read(*records)
    assert found.keys() == {offset for offset, own in enumerate(records) if own}
    assert {offset: list(parse(data)) for offset, data in found.items()} == {
        offset: own for offset, own in enumerate(records) if own
    }


@given(st.binary(max_size=60))
def test_damaged_headers_are_read_as_far_as_they_go(data: bytes) -> None:
    """Nothing is raised, and no more comes than there is."""
    for name, value in parse(data):
        assert isinstance(name, str)
        assert value is None or len(value) <= len(data)


def test_a_name_that_is_no_utf8_is_shown_with_escapes() -> None:
    """A producer takes none of those, and the dead letter has to reach its topic."""
    assert list(parse(b"\x02\x02\xff\x02v")) == [(r"\xff", b"v")]


def test_what_does_not_fit_is_counted() -> None:
    """Each header is whole or gone, and behind one that is gone none is kept: their order may mean something."""
    own: list[Header] = [("a", b"12"), ("b", b"x" * 50), ("c", b"")]
    assert bound_headers(own, 10) == ((("a", b"12"),), 2)
    letter = DeadLetter(Partition("t", 0), 1, Reason.NOT_JSON, "at 1", None, b"{", 1, 5.0, (), (own[0],), 2)
    told = headers(letter, "group")
    assert told[0] == ("a", b"12")
    assert dict(told)["riverkeep.headers.dropped"] == b"2"


def test_a_dead_letter_bears_its_records_headers() -> None:
    """Also one that was too long to be read; as much of them as is kept of the record."""
    data = as_read([("trace", b"1" * 30), ("trace", None)])[0]
    reader = PartitionReader(Partition("t", 0), Decoder(TopicFormat(), "t", max_record_bytes=1000), 0, 40)
    part = PartitionRead(Partition("t", 0), 0)
    chunk = Chunk(TopicPartition("t", 0), 0, 2, [(0, 0, None, b"{"), (1, 0, None, b"{")], headers={0: data})
    reader.read(chunk, part, 99.0)
    with_headers, without = part.dead_letters
    assert (with_headers.headers, with_headers.headers_dropped) == ((("trace", b"1" * 30), ("trace", None)), 0)
    assert without.headers == ()
