"""Bytes become documents or reasons; never an exception, never another text."""

import gzip
import json

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streams.decoding.decode import Decoder
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.settings import FilterSettings
from streams.topic_settings import TopicFormat

PARTITION = Partition("articles", 0, "id")
LIMIT = 1 << 20


def decoder(labels: frozenset[str] | None = None, **fields: object) -> Decoder:
    """A decoder of records with these fields."""
    return Decoder(
        TopicFormat.model_validate(fields),
        "articles",
        needs=RecordNeeds(labels),
        filters=FilterSettings(max_repetition=1),
        max_record_bytes=LIMIT,
    )


def decoded(
    value: bytes | None, key: bytes | None = None, /, *, labels: frozenset[str] | None = None, **fields: object
) -> Document | Rejection:
    """What becomes of a record."""
    return decoder(labels, **fields).decode(value, key, 12.5, PARTITION, 7, 99.0)


def reason(value: bytes | None, *, labels: frozenset[str] | None = None, **fields: object) -> Reason:
    """Why a record is no document."""
    found = decoded(value, labels=labels, **fields)
    assert not isinstance(found, Document), found
    assert found[1]
    return found[0]


def test_a_json_record_becomes_a_document() -> None:
    """Text, key, time and place come through; the topic is the source."""
    found = decoded(b'{"text": "Hello, world"}', b"user-1")
    assert found == Document("Hello, world", "articles", "user-1", None, 12.5, 99.0, PARTITION, 7)


def test_plain_text_is_the_text_itself() -> None:
    """A text record is taken as it is, quotes and all."""
    found = decoded('{"text": "naïve"}'.encode(), format="text")
    assert isinstance(found, Document)
    assert found.text == '{"text": "naïve"}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Reason.TOMBSTONE),
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"[1]", Reason.NOT_AN_OBJECT),
        (b'"text"', Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.MISSING_FIELD),
        (b'{"text": null}', Reason.MISSING_FIELD),
        (b'{"text": 5}', Reason.WRONG_TYPE),
        (b'{"text": ["a"]}', Reason.WRONG_TYPE),
        (b'{"text": ""}', Reason.EMPTY_TEXT),
        (b'{"text": " \\n\\t "}', Reason.EMPTY_TEXT),
        (b'{"text": "\xff\xfe"}', Reason.NOT_UTF8),
        (b'{"text": "\xed\xa0\x80"}', Reason.LONE_SURROGATE),
        (b'{"text": "\\ud800"}', Reason.LONE_SURROGATE),
        (b'{"text": "\\udc00 x"}', Reason.LONE_SURROGATE),
        (b'{"text": "a\\u0000b"}', Reason.NUL_BYTE),
        (b'{"text": "a\x00b"}', Reason.NUL_BYTE),
        (b'{"text": "a", "n": NaN}', Reason.BAD_NUMBER),
        (b'{"text": "a", "n": -Infinity}', Reason.BAD_NUMBER),
        (b'{"text": "a", "n": Infinity}', Reason.BAD_NUMBER),
        (b'{"text": "a", "n": 1e999}', Reason.BAD_NUMBER),
        (b'{"text": "a", "n": ' + b"9" * 10_000 + b"}", Reason.BAD_NUMBER),
        (b"[" * 100_000, Reason.TOO_DEEP),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.TOO_DEEP),
        (b'{"text": "' + b"a" * LIMIT + b'"}', Reason.TOO_LARGE),
    ],
    ids=lambda value: str(value)[:24],
)
def test_each_kind_of_bad_json_has_its_reason(value: bytes | None, expected: Reason) -> None:
    """What is wrong with a record is told apart."""
    assert reason(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Reason.TOMBSTONE),
        (b"", Reason.EMPTY_TEXT),
        (b"   ", Reason.EMPTY_TEXT),
        (b"caf\xe9", Reason.NOT_UTF8),
        (b"\xed\xb0\x80", Reason.LONE_SURROGATE),
        (b"a\x00b", Reason.NUL_BYTE),
        (b"a" * (LIMIT + 1), Reason.TOO_LARGE),
    ],
    ids=lambda value: str(value)[:24],
)
def test_each_kind_of_bad_text_has_its_reason(value: bytes | None, expected: Reason) -> None:
    """What is wrong with a plain text is told apart."""
    assert reason(value, format="text") is expected


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (gzip.compress(b'{"text": "a"}', mtime=0), "begins as gzip does"),
        (zstandard.ZstdCompressor().compress(b'{"text": "a"}'), "begins as Zstandard does"),
        ('{"text": "a"}'.encode("utf-16"), "begins as UTF-16 does"),
    ],
)
def test_what_a_producer_packed_or_encoded_is_told_as_that(value: bytes, told: str, kind: str) -> None:
    """With what the producer has to change."""
    found = decoded(value, format=kind)
    assert not isinstance(found, Document)
    assert found[0] is Reason.NOT_UTF8
    assert told in found[1]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Files from Windows begin with one, before JSON and before text."""
    for value, fields in ((b'\xef\xbb\xbf{"text": "a b"}', {}), (b"\xef\xbb\xbfa b", {"format": "text"})):
        found = decoded(value, labels=None, **fields)
        assert isinstance(found, Document)
        assert found.text == "a b"


def test_fields_are_found_by_their_paths() -> None:
    """A dot reaches into an object; every field can be named."""
    value = orjson.dumps(
        {"body": {"text": "T"}, "who": {"id": 17}, "kind": "spam", "from": "wire", "at": "2024-05-06T07:08:09Z"}
    )
    found = decoded(
        value,
        b"ignored",
        labels=frozenset({"spam"}),
        text_field="body.text",
        key_field="who.id",
        label_field="kind",
        source_field="from",
        time_field="at",
    )
    assert found == Document("T", "wire", "17", "spam", 1714979289.0, 99.0, PARTITION, 7)


def test_absent_fields_fall_back() -> None:
    """Where the named fields are absent or null, the record's own key and time and the topic's name stand."""
    found = decoded(
        b'{"text": "T", "who": null}', b"k", key_field="who", source_field="s", time_field="t", label_field="l"
    )
    assert found == Document("T", "articles", "k", None, 12.5, 99.0, PARTITION, 7)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1790-01-08", -5679590400.0),
        ("2024-05-06T07:08:09+02:00", 1714972089.0),
        (1714979289, 1714979289.0),
        (1714979289.5, 1714979289.5),
        (1714979289500, 1714979289.5),
        (-5680195200, -5680195200.0),
    ],
)
def test_times_are_iso_or_unix(value: object, seconds: float) -> None:
    """Seconds, milliseconds and ISO 8601 are told apart; a time without a zone is UTC."""
    found = decoded(orjson.dumps({"text": "T", "at": value}), time_field="at")
    assert isinstance(found, Document)
    assert found.event_time == seconds


@pytest.mark.parametrize("value", ["yesterday", "", True, [1], {}, 1e300, "9999999-01-01"])
def test_what_is_no_time_is_a_bad_time(value: object) -> None:
    """A time that cannot be read makes a dead letter, not a guess."""
    assert reason(orjson.dumps({"text": "T", "at": value}), time_field="at") is Reason.BAD_TIME


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_field", 1.5),
        ("key_field", True),
        ("key_field", ["k"]),
        ("source_field", 5),
        ("source_field", ""),
        ("source_field", "s" * 200),
        ("label_field", 1.5),
        ("label_field", ""),
    ],
)
def test_fields_of_the_wrong_type_are_refused(field: str, value: object) -> None:
    """A key, source or label that is none makes a dead letter."""
    assert reason(orjson.dumps({"text": "T", "f": value}), labels=None, **{field: "f"}) is Reason.WRONG_TYPE


def test_labels_are_those_there_are() -> None:
    """An unknown label and a missing one are dead letters when labels are given; else any is taken, or none."""
    labels = frozenset({"good", "bad", "1", "true"})
    assert reason(b'{"text": "T", "l": "odd"}', labels=labels, label_field="l") is Reason.UNKNOWN_LABEL
    assert reason(b'{"text": "T"}', labels=labels, label_field="l") is Reason.MISSING_FIELD
    assert reason(b'{"text": "T"}', labels=labels) is Reason.MISSING_FIELD
    for value, label in ((b'"good"', "good"), (b"1", "1"), (b"true", "true")):
        found = decoded(b'{"text": "T", "l": ' + value + b"}", labels=labels, label_field="l")
        assert isinstance(found, Document)
        assert found.label == label
    free = decoded(b'{"text": "T", "l": "odd"}', label_field="l")
    assert isinstance(free, Document)
    assert free.label == "odd"


@pytest.mark.parametrize(
    ("key", "told"), [(None, None), (b"", None), (b"\xff\x00", "0xff00"), (b"a\x00", "0x6100"), ("ü".encode(), "ü")]
)
def test_binary_keys_become_hex(key: bytes | None, told: str | None) -> None:
    """A key that is no text still tells whose text it is."""
    found = decoded(b'{"text": "T"}', key)
    assert isinstance(found, Document)
    assert found.key == told


KEEPABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: not text.isspace() and not text.startswith("\ufeff")
)


@given(KEEPABLE)
def test_no_text_is_lost_or_changed(text: str) -> None:
    """What a producer wrote is what the document holds, by any JSON writer and, but for line ends, as plain text."""
    for value in (orjson.dumps({"text": text}), json.dumps({"text": text}).encode()):
        found = decoded(value)
        assert isinstance(found, Document)
        assert found.text == text
    plain = decoded(text.encode(), format="text")
    assert isinstance(plain, Document)
    assert plain.text == text.replace("\r\n", "\n").replace("\r", "\n")


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {"key_field": "k", "label_field": "l.m", "source_field": "s", "time_field": "t"}


def is_answer(found: object) -> bool:
    """Whether it is a document, or a reason with particulars."""
    match found:
        case Document():
            return True
        case Reason(), str(detail):
            return bool(detail)
        case _:
            return False


@given(st.binary() | st.none(), st.binary() | st.none())
def test_arbitrary_bytes_never_raise(value: bytes | None, key: bytes | None) -> None:
    """Whatever the bytes, there is a document or a reason with particulars."""
    for fields in ({}, FIELDS, {"format": "text"}):
        found = decoded(value, key, labels=None, **fields)
        assert is_answer(found)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["text", "k", "l", "s", "t"], JSON_LIKE)))
def test_arbitrary_objects_never_raise(record: dict[str, object]) -> None:
    """Whatever stands in the fields, NaN included, there is a document or a reason."""
    found = decoded(json.dumps(record).encode(), None, labels=frozenset({"a"}), **FIELDS)
    assert is_answer(found)


def test_particulars_hold_no_text() -> None:
    """Reasons go to logs and to another topic: they quote nothing."""
    for value in (b'{"text": "secret", ', b'{"text": {"secret": 1}}', b'{"text": "s", "secret": NaN}', b'"secret"'):
        found = decoded(value)
        assert "secret" not in found[1]


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (b'{"user": "u-1", "text": 5}', ("u-1",)),
        (b'{"text": "", "user": 17}', ("17",)),
        (b'\xef\xbb\xbf{"user": "u-1"}', ("u-1",)),
        (b'{"user" :\n"u-1", "text": NaN}', ("u-1",)),
        (b'{"user": "J\\u00fcrgen \\"J\\"", "text": "\xff"}', ('Jürgen "J"',)),
        (b'{"by": {"user": "a"}, "user": -5, "text": "cut o', ("a", "-5")),
        (b'{"user": "u-1"' + b', "a": [' * 2000, ("u-1",)),
        (b'{"text": "\\"user\\": \\"nobody\\"", ', ()),
        (b'{"user": "\\ud800", ', ()),
        (b'{"user": "", "user": true}', ()),
        (b'{"user": ["u-1"]}', ()),
        (b'["user", "u-1"]', ()),
        (b"", ()),
    ],
)
def test_the_keys_that_a_dead_record_names_are_found(value: bytes, keys: tuple[str, ...]) -> None:
    """Also where its bytes are no JSON or were cut; what stands in another field's text is none."""
    assert decoder(key_field="user").keys_in(value) == keys


def test_keys_are_found_by_the_fields_path_and_spelling() -> None:
    """A dotted field, a name with other letters than ASCII; without a field there are none."""
    assert decoder(key_field="by.id").keys_in(b'{"by": {"id": "a"}, "id": "b"}') == ("a",)
    assert decoder(key_field="n\u00e4me").keys_in('{"näme": "a", '.encode()) == ("a",)
    assert decoder(key_field="n\u00e4me").keys_in(b'{"n\\u00e4me": "a", ') == ("a",)
    assert decoder().keys_in(b'{"user": "a"}') == ()


def test_a_record_full_of_keys_names_a_bounded_number() -> None:
    """What arrives decides how much is kept of it in no field."""
    assert len(decoder(key_field="user").keys_in(b"".join(b'"user":%d,' % n for n in range(1000)))) == 100


@given(st.one_of(st.binary(), st.text(alphabet='"\\user:{}, 1').map(str.encode)))
def test_looking_for_keys_never_raises(value: bytes) -> None:
    """Whatever the bytes are."""
    assert all(decoder(key_field="user").keys_in(value))


def test_an_unknown_label_is_named_with_those_there_are() -> None:
    """Bounded and printable, whatever the label is and however many there are."""
    labels = frozenset(f"label-{number:02}" for number in range(12))
    decoder = Decoder(TopicFormat(label_field="l"), "news", needs=RecordNeeds(labels), max_record_bytes=1_000)
    value = orjson.dumps({"text": "The river rose in the night.", "l": "\x1b" + "x" * 100})
    found = decoder.decode(value, None, None, Partition("news", 0), 0, 0.0)
    assert isinstance(found, tuple)
    assert f"'\\x1b{'x' * 39}...', none of the 12 labels: 'label-00', 'label-01'" in found[1]
    assert found[1].endswith("'label-09' and 2 more")
