"""Names of fields that hold dots: the exact name first, then objects, and quotes where both are there."""

import orjson
import pytest
from pydantic import ValidationError

from streams.decoding.decode import Decoder
from streams.decoding.fields import MISSING, Field
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition
from streams.topic_settings import TopicFormat

NAMED = ("text_field", "key_field", "label_field", "source_field", "time_field")


@pytest.mark.parametrize(
    ("name", "record", "found"),
    [
        ("log.message", {"log.message": "flat"}, "flat"),
        ("log.message", {"log": {"message": "deep"}}, "deep"),
        ("log.message", {"log": {"message": "deep"}, "log.message": "flat"}, "flat"),
        ("log.message", {"log": {"message": "deep"}, "log.message": None}, None),
        ('"log.message"', {"log": {"message": "deep"}}, MISSING),
        ("'log.message'", {"log.message": "flat", "log": {"message": "deep"}}, "flat"),
        ('log."message"', {"log.message": "flat", "log": {"message": "deep"}}, "deep"),
        ("a.b.c", {"a": {"b.c": 1}}, 1),
        ("a.b.c", {"a.b": {"c": 2}}, 2),
        ("a.b.c", {"a.b": {"x": 0}, "a": {"b": {"c": 3}}}, 3),
        ("a.b.c", {"a": {"b": {"c": 3}}, "a.b": {"c": 2}}, 2),
        ('a."b.c".d', {"a": {"b.c": {"d": 4}, "b": {"c": {"d": 5}}}}, 4),
        (r'"a\"b".c', {'a"b': {"c": 6}}, 6),
        ("it's", {"it's": 7}, 7),
        ('"quoted"', {'"quoted"': 8, "quoted": 9}, 8),
        ('"quoted"', {"quoted": 9}, 9),
        ("a..b", {"a..b": 10}, 10),
        (".a", {"": {"a": 11}}, 11),
        ("@timestamp", {"@timestamp": 12}, 12),
        ("a.b", {"a": [1]}, MISSING),
        ("a.b", ["a"], MISSING),
    ],
)
def test_the_exact_name_comes_first_and_quotes_part_names(name: str, record: object, found: object) -> None:
    """Whatever a producer calls its fields, each can be named."""
    assert Field(name).find(record) is found or Field(name).find(record) == found


@pytest.mark.parametrize("field", NAMED)
@pytest.mark.parametrize("name", ['"log.message', "'a'b.c", 'a."b', '"a"b'])
def test_a_quote_that_is_not_closed_is_a_mistake_in_the_settings(field: str, name: str) -> None:
    """It is told where the name is written, not by a thousand dead letters."""
    with pytest.raises(ValidationError, match="a part in quotes ends with the same quote"):
        TopicFormat.model_validate({field: name})


@pytest.mark.parametrize("quoted", [True, False])
def test_every_field_may_have_dots_in_its_name(quoted: bool) -> None:
    """All five of them."""
    names = {field: f"{field}.of.log" for field in NAMED}
    given = {field: f'"{name}"' if quoted else name for field, name in names.items()}
    decoder = Decoder(
        TopicFormat.model_validate(given), "t", needs=RecordNeeds(frozenset({"b"})), max_record_bytes=1000
    )
    values = dict(zip(names.values(), ("A text.", "u-1", "b", "wire", "2024-05-06"), strict=True))
    found = decoder.decode(orjson.dumps(values), None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, Document)
    assert (found.text, found.key, found.label, found.source, found.event_time) == (
        *("A text.", "u-1", "b", "wire"),
        1714953600.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("user.id", b'{"user.id": "u-1", "text": ', ("u-1",)),
        ("user.id", b'{"user": {"id": "u-2"}, "text": ', ("u-2",)),
        ("user.id", b'{"user.id": "u-1", "text": 5}', ("u-1",)),
        ('"user.id"', b'{"user.id": "u-1", "id": "other", "text": ', ("u-1",)),
        ("a.b.c", b'{"a": {"b.c": "u-3"}, "text": ', ("u-3",)),
        ("user", b'{"user": "' + b"k" * 300_000 + b'", "text": ', ("k" * 300_000,)),
        ("user", b'{"user": 4711.0, "text": ', ("4711",)),
        ("user", b'{"user": 18446744073709551617, "text": ', ("18446744073709551617",)),
        ("user", b'{"user": 4711.5, "text": ', ()),
    ],
)
def test_a_dead_record_is_found_by_its_key_whatever_the_fields_name(
    name: str, value: bytes, keys: tuple[str, ...]
) -> None:
    """Where its bytes are no JSON too: a person's dead letters are to be erased."""
    decoder = Decoder(TopicFormat(key_field=name), "t", max_record_bytes=1 << 20)
    assert decoder.keys_in(value) == keys
