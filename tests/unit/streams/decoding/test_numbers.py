"""Whole numbers as other tools write them: taken where it is sure which one is meant, else told what they are."""

import orjson
import pytest

from streams.decoding.decode import Decoder
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.topic_settings import TopicFormat


def decoded(written: str, field: str, labels: frozenset[str] | None = None) -> Document | Rejection:
    """What becomes of a record with a field `f` that is written so."""
    decoder = Decoder(
        TopicFormat.model_validate({field: "f"}), "t", needs=RecordNeeds(labels), max_record_bytes=1 << 20
    )
    value = b'{"text": "The river rose.", "f": %s}' % written.encode()
    return decoder.decode(value, None, None, Partition("t", 0), 0, 0.0)


def document(found: Document | Rejection) -> Document:
    """The document that there is."""
    assert isinstance(found, Document), found
    return found


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("4711", "4711"),
        ("4711.0", "4711"),
        ("4.711e3", "4711"),
        ("1e3", "1000"),
        ("-0.0", "0"),
        ("9007199254740991.0", "9007199254740991"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709551616"),
        ("18446744073709551617", "18446744073709551617"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1" * 400, "1" * 400),
        ('"4711.0"', "4711.0"),
    ],
)
def test_a_whole_number_is_a_key_however_it_is_written(written: str, key: str) -> None:
    """To its last digit: two persons' numbers never become one."""
    assert document(decoded(written, "key_field")).key == key


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("4711.5", "a number with a fraction"),
        ("9007199254740993.0", "its last digits are lost"),
        ("1.8446744073709552e19", "its last digits are lost"),
        ("true", "a boolean"),
        ("[4711]", "an array"),
    ],
)
def test_what_names_nobody_for_sure_is_told(written: str, told: str) -> None:
    """The reason says what stands there."""
    found = decoded(written, "key_field")
    assert isinstance(found, tuple)
    assert found[0] is Reason.WRONG_TYPE
    assert told in found[1]


@pytest.mark.parametrize(
    ("written", "labels", "label"),
    [
        ("1.0", {"0", "1"}, "1"),
        ("1.0", {"0.0", "1.0"}, "1.0"),
        ("1e0", {"0", "1"}, "1"),
        ('"1.0"', {"0", "1"}, "1"),
        ('"1.0"', {"1.0", "1"}, "1.0"),
        ("0.5", {"0.5", "1"}, "0.5"),
        ("true", {"true", "false"}, "true"),
        ("true", {"True", "False"}, "True"),
        ("18446744073709551617", {"18446744073709551617"}, "18446744073709551617"),
        ("1.0", None, "1"),
    ],
)
def test_a_label_is_known_however_its_number_is_written(written: str, labels: set[str] | None, label: str) -> None:
    """As data frames write whole numbers where a column has gaps."""
    assert document(decoded(written, "label_field", frozenset(labels) if labels else None)).label == label


def test_an_unknown_label_is_shown_as_it_is_likeliest_meant() -> None:
    """With those that there are."""
    found = decoded("2.0", "label_field", frozenset({"0", "1"}))
    assert isinstance(found, tuple)
    assert found == (Reason.UNKNOWN_LABEL, "field f is '2', none of the 2 labels: '0', '1'")


@pytest.mark.parametrize("written", ["1" * 400, "-" + "9" * 4000])
def test_a_long_number_beside_the_text_costs_no_record(written: str) -> None:
    """What is not read need not fit into anything."""
    decoder = Decoder(TopicFormat(), "t", max_record_bytes=1 << 20)
    value = b'{"n": %s, "text": "The river rose \\u00fc."}' % written.encode()
    assert document(decoder.decode(value, None, None, Partition("t", 0), 0, 0.0)).text == "The river rose ü."


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"n": %s, "text": "a \\ud800"}' % (b"1" * 400), Reason.LONE_SURROGATE),
        (b'{"n": %s, "m": NaN, "text": "a"}' % (b"1" * 400), Reason.BAD_NUMBER),
        (b'{"n": %s, "m": 1e999, "text": "a"}' % (b"1" * 400), Reason.BAD_NUMBER),
        (b'{"n": %s, "text": "a"}' % (b"1" * 4301), Reason.BAD_NUMBER),
        (b'{"n": %s, "text": "a"' % (b"1" * 400), Reason.NOT_JSON),
        (b'{"n": %s, "text": "\xff"}' % (b"1" * 400), Reason.NOT_UTF8),
        (b'{"n": %s, "a": %s' % (b"1" * 400, b"[" * 100_000), Reason.TOO_DEEP),
    ],
)
def test_a_long_number_hides_nothing_else_that_is_wrong(record: bytes, reason: Reason) -> None:
    """The slow way is no laxer than the fast one."""
    decoder = Decoder(TopicFormat(), "t", max_record_bytes=1 << 20)
    found = decoder.decode(record, None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, tuple)
    assert found[0] is reason, found
    assert orjson.dumps(found[1])
