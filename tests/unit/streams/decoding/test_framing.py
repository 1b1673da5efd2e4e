"""What a schema registry's client wrote is told as that, whatever stands in it."""

import pytest

from streams.decoding import framing
from streams.decoding.decode import Decoder
from streams.document import Partition, Reason
from streams.topic_settings import TopicFormat

HEAD = b"\0\0\0\x01\x02"


@pytest.mark.parametrize(
    "body",
    [b'{"text": "a"}', b"\x0cuser-1", b"\0\x0a\x04text", b"\xff\xfe", b"x"],
    ids=["json", "avro", "pb", "no", "1"],
)
@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_framed_value_is_told_with_its_schema(body: bytes, format_: str) -> None:
    """Of every serializer, in both formats; a person learns what to look up and what to do."""
    decoder = Decoder(TopicFormat.model_validate({"format": format_}), "t", max_record_bytes=1000)
    found = decoder.decode(HEAD + body, None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, tuple)
    assert found[0] is Reason.SCHEMA_FRAMED
    assert "schema 258" in found[1]


@pytest.mark.parametrize("value", [b"\0", b"\0abcd", b"a\0bcdef", b'{"text": "a\x00bcd"}'])
def test_a_nul_byte_elsewhere_is_no_frame(value: bytes) -> None:
    """Only a zero at the beginning, four bytes, and something behind them."""
    assert framing.schema_id(value) is None


@pytest.mark.parametrize("format_", ["json", "text"])
@pytest.mark.parametrize("compression", [0, 5])
def test_a_value_of_glue_is_told_as_that(format_: str, compression: int) -> None:
    """It is neither damage nor a NUL byte."""
    decoder = Decoder(TopicFormat.model_validate({"format": format_}), "t", max_record_bytes=1000)
    value = bytes([3, compression]) + bytes(range(16)) + b"\x0cuser-1"
    found = decoder.decode(value, None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, tuple)
    assert found[0] is Reason.SCHEMA_FRAMED
    assert "AWS Glue" in found[1]
    assert "00010203-0405-0607-0809-0a0b0c0d0e0f" in found[1]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (HEAD + b'"user-1"', '"user-1"'),
        (HEAD + b"user-1", "user-1"),
        (HEAD + b"\x0cuser-1", "user-1"),
        (HEAD + b"\0\x0a\x06user-1", "user-1"),
        (HEAD + b"\x80\x03" + b"k" * 192, "k" * 192),
    ],
)
def test_the_text_of_a_framed_key_is_found(data: bytes, text: str) -> None:
    """As JSON, as it is, as Avro's and as Protobuf's only field."""
    assert text in list(framing.payloads(data))
