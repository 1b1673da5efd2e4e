"""How much came and written as what: each record once, by what it is and not by what it claims."""

import struct
from typing import Any

import pytest
from kafka.structs import TopicPartition

from streams.chunk import Chunk, Oversized, Row, UnreadableBatch
from streams.decoding.decode import Decoder
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.document import Partition, RecordForm
from streams.errors import RegistryAway
from streams.reading import BatchBuilder, PartitionRead, PartitionReader
from streams.topic_settings import TopicFormat

HERE = Partition("t", 0)
CHAT = b'{"messages": [{"role": "user", "content": "how deep"}, {"role": "assistant", "content": "so deep"}]}'


def framed(number: int, body: bytes) -> bytes:
    """As a registry's client writes it."""
    return struct.pack(">bI", 0, number) + body


class Registry:
    """Two schemas, and one that does not come."""

    def read(self, value: bytes) -> Any:
        """A text; of a schema beyond the second nothing now."""
        if value[4] > 2:
            raise RegistryAway("it is away")
        return {"text": "a text behind a schema"}

    def kind_of(self, number: int) -> str:
        """By number."""
        return {1: "AVRO", 2: "PROTOBUF"}.get(number, "")


def read(
    *values: bytes | Oversized | None, form: str = "json", needs: RecordNeeds = TEXT_ALONE, **options: Any
) -> PartitionRead:
    """A partition of these values, as it was read."""
    registry = options.pop("registry", None)
    decoder = Decoder(TopicFormat(format=form), "t", max_record_bytes=1000, needs=needs, registry=registry)
    reader, part = PartitionReader(HERE, decoder, 0, kept_bytes=40), PartitionRead(HERE, 0)
    rows: list[Row] = [(at, 0, b"key", value) for at, value in enumerate(values)]
    reader.read(Chunk(TopicPartition("t", 0), 0, len(rows), rows, **options), part, 9.0)
    assert part.arrived.documents.total() == len(part.documents)
    assert part.arrived.dead_letters.total() == len(part.dead_letters)
    return part


@pytest.mark.parametrize(
    ("value", "form", "needs", "found"),
    [
        (b'{"text": "the river rises"}', "json", TEXT_ALONE, RecordForm.JSON_TEXT),
        (CHAT, "json", TEXT_ALONE, RecordForm.JSON_MESSAGES),
        (b'{"input": "how deep", "target": "so deep"}', "json", RecordNeeds(pairs=True), RecordForm.JSON_PAIR),
        (b"the river rises", "text", TEXT_ALONE, RecordForm.TEXT),
    ],
)
def test_documents_are_counted_by_how_they_were_written(
    value: bytes, form: str, needs: RecordNeeds, found: RecordForm
) -> None:
    """A chat is told from a text, a pair from both."""
    assert read(value, value, form=form, needs=needs).arrived.documents == {found: 2}


@pytest.mark.parametrize(
    ("value", "form", "found"),
    [
        (b'{"body": "no text"}', "json", RecordForm.JSON),
        (b'\xef\xbb\xbf {"body": "no text"}', "json", RecordForm.JSON),
        (b"the river rises", "json", RecordForm.OTHER),
        (b"\x1f\x8b\x08rest", "json", RecordForm.COMPRESSED),
        ("der Fluß".encode("utf-16"), "text", RecordForm.OTHER_ENCODING),
        (framed(7, b"rest"), "json", RecordForm.FRAMED),
        (b"\x03\x00" + bytes(range(1, 18)), "json", RecordForm.GLUE),
        (b"\xfe\xfe", "text", RecordForm.OTHER),
        (b" ", "text", RecordForm.TEXT),
        (None, "json", RecordForm.NO_VALUE),
        (Oversized(b'{"text": "too lo', 5000), "json", RecordForm.JSON),
    ],
)
def test_of_what_is_no_document_its_beginning_tells(
    value: bytes | Oversized | None, form: str, found: RecordForm
) -> None:
    """Packed, in another encoding, framed, without a value, or something else."""
    assert read(value, form=form).arrived.dead_letters == {found: 1}


def test_what_a_schema_frames_is_counted_by_its_kind() -> None:
    """Beside plain JSON in the same topic; a record that waits, and what follows, is not counted before it is read."""
    part = read(
        framed(1, b"a body"), b'{"text": "plain"}', framed(2, b"a body"), framed(3, b"late"), b"{", registry=Registry()
    )
    assert part.arrived.documents == {RecordForm.AVRO: 1, RecordForm.JSON_TEXT: 1, RecordForm.PROTOBUF: 1}
    assert part.arrived.value_bytes == 11 + 17 + 11
    assert not part.dead_letters


def test_bytes_are_those_of_the_values_and_the_compression_the_producers() -> None:
    """Of a record that is too long as many as it had; a batch that cannot be read is one dead letter."""
    bad = UnreadableBatch(2, 5, "cut off", b"\0\0\0\0\0\0\0\0", 900)
    part = read(b'{"text": "plain"}', Oversized(b"{", 5000), packed=[("zstd", 1), ("none", 1)], bad=[bad])
    assert part.arrived.value_bytes == 17 + 5000
    assert part.arrived.packed == {"zstd": 1, "none": 1}
    assert part.arrived.dead_letters == {RecordForm.JSON: 1, RecordForm.OTHER: 1}


def test_a_batch_tells_it_of_each_partition() -> None:
    """And nothing of one that went to another replica before."""
    builder = BatchBuilder(records=10, size=1000)
    builder.part(HERE, 0).arrived.value_bytes = 7
    builder.part(Partition("t", 1), 0).arrived.value_bytes = 9
    builder.drop(HERE)
    batch = builder.build()
    assert batch is not None
    assert {partition.number: arrived.value_bytes for partition, arrived in batch.arrived.items()} == {1: 9}
