"""Chunks become documents, dead letters and gaps, with nothing passed over in silence."""

from kafka.structs import TopicPartition

from streams.chunk import Chunk, Oversized, Row, UnreadableBatch
from streams.decoding.decode import Decoder
from streams.document import GapReason, Partition, Reason
from streams.reading import TIMES_READ, BatchBuilder, PartitionRead, PartitionReader
from streams.topic_settings import TopicFormat

TP = TopicPartition("t", 0)
HERE = Partition("t", 0, "id")


def reader(position: int = 0) -> PartitionReader:
    """A reader of plain text that keeps 4 bytes of dead letters."""
    decoder = Decoder(TopicFormat(format="text"), "t", max_record_bytes=1000)
    return PartitionReader(HERE, decoder, position, kept_bytes=4)


def chunk(*rows: Row, first: int = 0, following: int = 10) -> Chunk:
    """A chunk of these records."""
    return Chunk(TP, first, following, list(rows), size=100)


def test_records_become_documents_with_their_times() -> None:
    """The broker's milliseconds become seconds; no timestamp is none."""
    part = PartitionRead(HERE, 0)
    assert reader().read(chunk((3, 1500, b"k", b"one"), (5, -1, None, b"two")), part, 99.0) is None
    assert [(d.offset, d.text, d.key, d.event_time) for d in part.documents] == [
        (3, "one", "k", 1.5),
        (5, "two", None, None),
    ]
    assert (part.next_offset, part.records, part.size) == (10, 2, 100)


def test_what_is_no_document_becomes_a_dead_letter() -> None:
    """With its reason, its key, as much of it as is kept, and how long it was."""
    part = PartitionRead(HERE, 0)
    rows = ((1, 0, b"a key", b"\xff\xff\xff\xff\xff"), (2, 0, None, None), (3, 0, b"k", Oversized(b"start", 5000)))
    reader().read(chunk(*rows), part, 99.0)
    assert not part.documents
    told = [(d.offset, d.reason, d.key, d.value, d.value_bytes) for d in part.dead_letters]
    assert told == [
        (1, Reason.NOT_UTF8, b"a ke", b"\xff" * 4, 5),
        (2, Reason.TOMBSTONE, None, b"", 0),
        (3, Reason.TOO_LARGE, b"k", b"star", 5000),
    ]


def test_a_dead_letter_bears_the_keys_of_the_whole_record() -> None:
    """Also those that are cut off with the rest of it: by them it is found again."""
    format_ = TopicFormat(key_field="user")
    mine = PartitionReader(HERE, Decoder(format_, "t", max_record_bytes=1000), 0, kept_bytes=4)
    part = PartitionRead(HERE, 0)
    rows = ((1, 0, b"k", b'{"text": 5, "user": "u-1"}'), (2, 0, b"a key", Oversized(b'{"user": "u-2", "te', 5000)))
    mine.read(chunk(*rows), part, 99.0)
    assert [(letter.value, letter.named_keys) for letter in part.dead_letters] == [
        (b'{"te', ("u-1",)),
        (b'{"us', ("u-2", "a key")),
    ]


def test_a_bad_batch_is_a_dead_letter_and_a_gap() -> None:
    """Its offsets are accounted for and reading goes on behind it."""
    part = PartitionRead(HERE, 0)
    bad = chunk(following=8)
    bad.bad.append(UnreadableBatch(5, 7, "no gzip", b"abcdef", 400))
    assert reader(5).read(bad, part, 99.0) is None
    (letter,) = part.dead_letters
    assert (letter.offset, letter.reason, letter.value_bytes) == (5, Reason.UNDECODABLE_BATCH, 400)
    (gap,) = part.gaps
    assert (gap.first, gap.last, gap.reason) == (5, 7, GapReason.UNDECODABLE_BATCH)
    assert part.next_offset == 8


def test_a_damaged_batch_is_read_again_before_it_is_given_up() -> None:
    """The wire may have been at fault; after three times it counts as damaged where it lies."""
    mine = reader(5)
    for _ in range(TIMES_READ - 1):
        part = PartitionRead(HERE, 5)
        assert mine.read(with_damage(), part, 99.0) == 5
        assert (part.dead_letters, part.gaps, part.next_offset) == ([], [], 5)
    part = PartitionRead(HERE, 5)
    assert mine.read(with_damage(), part, 99.0) == 8
    assert len(part.dead_letters) == len(part.gaps) == 1
    assert mine.position == part.next_offset == 8


def with_damage() -> Chunk:
    """A chunk that ends at a batch that does not match its checksum."""
    found = chunk(first=5, following=5)
    found.damaged = UnreadableBatch(5, 7, "checksum", b"", 400)
    return found


def test_parts_are_gathered_until_there_is_enough() -> None:
    """By records or by bytes; what moved to another replica is dropped before it is handed over."""
    builder = BatchBuilder(records=3, size=1000)
    assert builder.build() is None
    other = Partition("t", 1, "id")
    reader().read(chunk((0, 0, None, b"a"), (1, 0, None, b"b"), following=2), builder.part(HERE, 0), 9.0)
    before = builder.full
    builder.part(other, 0).records = 1
    assert (before, builder.full) == (False, True)
    builder.drop(other)
    batch = builder.build()
    assert batch is not None
    assert [document.text for document in batch.documents] == ["a", "b"]
    assert batch.next_offsets == {HERE: 2}
    builder.part(HERE, 2).size = 1000
    assert builder.full
