"""Protobuf values behind a schema registry's bytes: which message it is, and what its fields are."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from streams.decoding.decode import Decoder
from streams.decoding.fields import MISSING, Field
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.registry import protobuf_messages
from streams.registry.client import SchemaRegistry
from streams.registry_settings import SchemaRegistrySettings
from streams.topic_settings import TopicFormat
from tests.fake_registry import FakeRegistry, fake_registry, framed
from tests.protobuf_files import message_class

POST = """
syntax = "proto3";
package com.example;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "confluent/meta.proto";
message Unused {}
message Post {
  enum Kind { option allow_alias = true; HAM = 0; SPAM = 1; JUNK = 1; }
  message Author { int64 id = 1; string name = 2; }
  string text = 1 [(confluent.field_meta) = { doc: "what was said", params: [{ key: "a", value: "b" }] }];
  int64 user = 2;
  google.protobuf.Timestamp at = 3;
  Kind kind = 4;
  Author author = 5;
  repeated string tags = 6;
  map<string, string> texts = 7;
  map<bool, Author> authors = 8;
  oneof of { string one = 9; int32 other = 10; }
  optional string maybe = 11;
  bytes raw = 12;
  uint64 big = 13;
  google.protobuf.Struct free = 14;
  google.protobuf.Any any = 15;
  google.protobuf.StringValue wrapped = 16;
  google.protobuf.Int64Value number = 17;
  google.protobuf.Duration took = 18;
  google.protobuf.FieldMask mask = 19;
  google.type.Date day = 20;
  double score = 21;
  bool good = 22;
  repeated Author several = 23;
  string source = 24;
  int64 unix = 25;
  Post next = 26;
}
"""
TYPES = (
    "google/protobuf/any.proto google/protobuf/duration.proto google/protobuf/field_mask.proto "
    "google/protobuf/struct.proto google/protobuf/timestamp.proto google/protobuf/wrappers.proto"
)
OWN = POST.replace('import "google/type/date.proto";', "").replace("google.type.Date day = 20;", "")
OWN = OWN.replace('import "confluent/meta.proto";', "").replace(OWN[OWN.index(" [(conf") : OWN.index("];") + 1], "")
MADE = message_class(OWN, "com.example.Post")
"""Without the files that protoc does not carry itself: for those who write, their options mean nothing."""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """One that listens and has the schema of posts."""
    with fake_registry() as one:
        one.add_source(1, POST)
        yield one


def client(registry: FakeRegistry) -> SchemaRegistry:
    """What reads by its schemas."""
    return SchemaRegistry(SchemaRegistrySettings(url=registry.url))


def decoded(
    registry: FakeRegistry, value: bytes, labels: frozenset[str] | None = None, **fields: Any
) -> Document | Rejection:
    """The value as a document, or why not."""
    with client(registry) as reads:
        format_ = TopicFormat.model_validate(fields)
        decoder = Decoder(format_, "t", needs=RecordNeeds(labels), max_record_bytes=1 << 20, registry=reads)
        return decoder.decode(value, b"own", 5e8, Partition("t", 0), 0, 0.0)


def post(**fields: Any) -> bytes:
    """A framed post, the second message of its schema."""
    return framed(1, b"\x02\x02" + MADE(**fields).SerializeToString())


def record(registry: FakeRegistry, value: bytes) -> Any:
    """What a framed value holds."""
    with client(registry) as reads:
        return reads.read(value)


def message(source: str, name: str, index: bytes = b"\0", **fields: Any) -> bytes:
    """A framed message of a schema that imports nothing."""
    return framed(9, index + message_class(source, name)(**fields).SerializeToString())


def test_a_message_is_a_document_like_any_other(registry: FakeRegistry) -> None:
    """Its fields obey the same rules: whole numbers are keys, a Timestamp is a time, an enum's name is a label."""
    value = MADE(text="from Protobuf", user=2**53 + 1, kind="SPAM", source="app")
    value.at.FromJsonString("2024-04-03T02:28:33.123456789Z")
    fields: Any = {"key_field": "user", "time_field": "at", "label_field": "kind", "source_field": "source"}
    found = decoded(registry, framed(1, b"\x02\x02" + value.SerializeToString()), **fields)
    assert isinstance(found, Document), found
    assert (found.text, found.key, found.label, found.source) == ("from Protobuf", "9007199254740993", "SPAM", "app")
    assert found.event_time == pytest.approx(1712111313.123456, abs=1e-5)


def test_fields_are_what_the_schema_says(registry: FakeRegistry) -> None:
    """By the schema's names, 64 bits as numbers, bytes as bytes, and Protobuf's own types as its JSON has them."""
    value = MADE(
        tags=["a", "b"],
        texts={"de": "Hallo"},
        authors={True: {"id": 7}},
        other=0,
        raw=b"\xff",
        big=2**64 - 1,
        wrapped={"value": ""},
        number={"value": -5},
        mask={"paths": ["a.b", "c"]},
        kind=77,
        free={"a": {"b": [1.5, None, True, "x"]}},
    )
    value.took.FromMilliseconds(1500)
    value.any.Pack(MADE.DESCRIPTOR.fields_by_name["author"].message_type._concrete_class(id=5, name="n"))
    assert record(registry, framed(1, b"\x02\x02" + value.SerializeToString())) == {
        "tags": ["a", "b"],
        "texts": {"de": "Hallo"},
        "authors": {"true": {"id": 7}},
        "other": 0,
        "raw": b"\xff",
        "big": 2**64 - 1,
        "wrapped": "",
        "number": -5,
        "mask": "a.b,c",
        "took": "1.500s",
        "kind": 77,
        "free": {"a": {"b": [1.5, None, True, "x"]}},
        "any": {"@type": "type.googleapis.com/com.example.Post.Author", "id": 5, "name": "n"},
    }


@pytest.mark.parametrize(
    ("fields", "text_field", "text"),
    [
        ({"author": {"name": "nested"}}, "author.name", "nested"),
        ({"texts": {"de": "of a map"}}, "texts.de", "of a map"),
        ({"authors": {False: {"name": "deep in a map"}}}, "authors.false.name", "deep in a map"),
        ({"one": "of a oneof"}, "one", "of a oneof"),
        ({"maybe": "optional"}, "maybe", "optional"),
        ({"wrapped": {"value": "wrapped"}}, "wrapped", "wrapped"),
        ({"free": {"a.b": {"c": "free"}}}, 'free."a.b".c', "free"),
    ],
)
def test_the_text_is_found_wherever_it_lies(
    registry: FakeRegistry, fields: dict[str, Any], text_field: str, text: str
) -> None:
    """Dots reach into messages and maps."""
    found = decoded(registry, post(**fields), text_field=text_field)
    assert isinstance(found, Document), found
    assert found.text == text


@pytest.mark.parametrize(
    ("fields", "text_field", "reason", "says"),
    [
        ({"user": 1}, "text", Reason.EMPTY_TEXT, "empty"),
        ({"user": 1}, "maybe", Reason.MISSING_FIELD, "field maybe is missing"),
        ({"other": 1}, "one", Reason.MISSING_FIELD, "field one is missing"),
        ({"user": 1}, "author.name", Reason.MISSING_FIELD, "field author.name is missing"),
        ({"author": {"id": 1}}, "author.name", Reason.EMPTY_TEXT, "empty"),
        ({"user": 1}, "body", Reason.MISSING_FIELD, "field body is missing"),
        ({"user": 1}, "wrapped", Reason.MISSING_FIELD, "field wrapped is missing"),
        ({"raw": b"text"}, "raw", Reason.WRONG_TYPE, "bytes, not a string"),
        ({"user": 1}, "raw", Reason.WRONG_TYPE, "bytes, not a string"),
        ({"user": 4711}, "user", Reason.WRONG_TYPE, "a number, not a string"),
        ({"text": "a"}, "user", Reason.WRONG_TYPE, "a number, not a string"),
        ({"tags": ["a"]}, "tags", Reason.WRONG_TYPE, "an array, not a string"),
        ({"author": {}}, "author", Reason.WRONG_TYPE, "an object, not a string"),
        ({"text": "a\0b"}, "text", Reason.NUL_BYTE, "NUL"),
    ],
)
def test_what_is_no_text_has_the_reason_that_json_has(
    registry: FakeRegistry, fields: dict[str, Any], text_field: str, reason: Reason, says: str
) -> None:
    """A text that Protobuf leaves out is the empty one where the schema cannot tell, and missing where it can."""
    found = decoded(registry, post(**fields), text_field=text_field)
    assert isinstance(found, tuple)
    assert found[0] is reason
    assert says in found[1]


def test_what_is_left_out_is_a_label_and_no_key_no_time_and_no_source(registry: FakeRegistry) -> None:
    """Zero is a class as any other; but nobody's key is 0, and no text of 1970, because nothing was written."""
    bare = post(text="a")
    fields: Any = {"key_field": "user", "time_field": "unix", "source_field": "source"}
    found = decoded(registry, bare, **fields, label_field="kind", labels=frozenset({"HAM", "SPAM"}))
    assert isinstance(found, Document), found
    assert (found.key, found.event_time, found.source, found.label) == ("own", 5e8, "t", "HAM")
    good = decoded(registry, bare, label_field="good", labels=frozenset({"true", "false"}))
    assert isinstance(good, Document), good
    assert good.label == "false"
    unlabelled = decoded(registry, bare, label_field="source")
    assert isinstance(unlabelled, Document), unlabelled
    assert unlabelled.label is None
    missing = decoded(registry, bare, label_field="source", labels=frozenset({"a"}))
    assert isinstance(missing, tuple)
    assert missing == (Reason.MISSING_FIELD, "field source is missing")


@pytest.mark.parametrize("seconds", [-(2**62), 2**62, 253402300800])
def test_a_time_of_no_text_is_told(registry: FakeRegistry, seconds: int) -> None:
    """Also one that Protobuf's own JSON cannot write."""
    found = decoded(registry, post(text="a", at={"seconds": seconds}), time_field="at")
    assert isinstance(found, tuple)
    assert found[0] is Reason.BAD_TIME


def test_a_message_of_a_type_unknown_hides_only_itself(registry: FakeRegistry) -> None:
    """The text beside it is read; one that lies in it is missing, and why."""
    value = post(text="beside", any={"type_url": "type.googleapis.com/com.example.Gone", "value": b"\x0a\x01a"})
    found = decoded(registry, value)
    assert isinstance(found, Document), found
    inside = decoded(registry, value, text_field="any.text")
    assert isinstance(inside, tuple)
    assert inside[0] is Reason.MISSING_FIELD
    assert "of a type that the schema does not describe" in inside[1]


def test_a_damaged_message_inside_any_is_a_dead_letter(registry: FakeRegistry) -> None:
    """It is no message of the type that it names."""
    found = decoded(registry, post(text="a", any={"type_url": "x/com.example.Post", "value": b"\x0a\xff"}))
    assert isinstance(found, tuple)
    assert found[0] is Reason.NOT_OF_SCHEMA


def test_any_in_any_without_end_is_a_dead_letter(registry: FakeRegistry) -> None:
    """Each is read anew, so that Protobuf's own limit does not hold."""
    value = MADE(text="a")
    for _ in range(2000):
        value = MADE(any={"type_url": "x/com.example.Post", "value": value.SerializeToString()})
    found = decoded(registry, framed(1, b"\x02\x02" + value.SerializeToString()))
    assert isinstance(found, tuple)
    assert found[0] is Reason.TOO_DEEP


def test_messages_in_one_another_without_end_are_a_dead_letter(registry: FakeRegistry) -> None:
    """As with JSON and Avro."""
    value = MADE(text="a")
    for _ in range(101):
        value = MADE(next=value)
    found = decoded(registry, framed(1, b"\x02\x02" + value.SerializeToString()))
    assert isinstance(found, tuple)
    assert found[0] is Reason.TOO_DEEP


MANY = """
syntax = "proto3";
message A { string text = 1; message B { string text = 1; message C { string text = 1; } } }
message D { string text = 1; map<string, string> m = 2; message E { string text = 3; } message F { string text = 4; } }
"""


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("A", b"\x00"),
        ("A", b"\x02\x00"),
        ("D", b"\x02\x02"),
        ("A.B", b"\x04\x00\x00"),
        ("A.B.C", b"\x06\x00\x00\x00"),
        ("D.E", b"\x04\x02\x00"),
        ("D.E", b"\x04\x02\x02"),
        ("D.F", b"\x04\x02\x02"),
        ("D.F", b"\x04\x02\x04"),
        ("A", b"\x82\x00\x80\x00"),
    ],
)
def test_the_message_is_the_one_whose_number_stands_there(registry: FakeRegistry, name: str, index: bytes) -> None:
    """Also where clients count differently, as the entry of a map is a message to some."""
    registry.add_source(9, MANY)
    found = decoded(registry, message(MANY, name, index, text="a"))
    assert isinstance(found, Document), found
    assert found.text == "a"


@pytest.mark.parametrize(
    "index",
    [
        b"\x01",
        b"\x03\x00",
        b"\x02",
        b"\x02\x80",
        b"\x02\x06",
        b"\x02\x01",
        b"\x06\x00\x00",
        b"\x80\x80\x80\x80\x80\x80\x00",
        b"\xfe\xff\xff\xff\x0f" + b"\0" * 1000,
        b"\xc8\x01" + b"\0" * 100,
        b"\xff" * 100,
    ],
)
def test_a_message_number_that_is_none_is_a_dead_letter(registry: FakeRegistry, index: bytes) -> None:
    """Negative, beyond the schema, cut off or by the million; the schema and what to see to are named."""
    registry.add_source(9, MANY)
    found = decoded(registry, framed(9, index))
    assert isinstance(found, tuple)
    assert found[0] is Reason.NOT_OF_SCHEMA
    assert "schema 9" in found[1]


TWO = """
syntax = "proto2";
message Old {
  required string text = 1;
  optional int32 label = 2 [default = 3];
  optional group More = 4 { optional string body = 1; }
  extensions 100 to 200;
}
extend Old { optional string further = 100; }
"""
EDITION = """
edition = "2023";
message New { string text = 1; repeated int32 n = 2 [features.repeated_field_encoding = EXPANDED]; }
"""


def test_files_of_every_syntax_are_read(registry: FakeRegistry) -> None:
    """Groups, extensions, defaults and required fields of proto2; editions."""
    registry.add_source(9, TWO)
    value = message(TWO, "Old", text="a", more={"body": "b"})
    found = decoded(registry, value + b"\xa2\x06\x01x", text_field="more.body", label_field="label")
    assert isinstance(found, Document), found
    assert (found.text, found.label) == ("b", "3")
    assert record(registry, value + b"\xa2\x06\x01x")["[further]"] == "x"
    registry.add_source(9, EDITION)
    found = decoded(registry, message(EDITION, "New", text="c", n=[1, 2]))
    assert isinstance(found, Document), found
    assert found.text == "c"


@pytest.mark.parametrize(
    ("source", "body", "reason", "says"),
    [
        (MANY, b"\x0a", Reason.NOT_OF_SCHEMA, "no A (Protobuf, schema 9)"),
        (MANY, b"\x0a\x05ab", Reason.NOT_OF_SCHEMA, "no A (Protobuf, schema 9)"),
        (MANY, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Reason.NOT_OF_SCHEMA, "schema 9"),
        (MANY, b"\x0b" * 5000, Reason.NOT_OF_SCHEMA, "schema 9"),
        (MANY, b"\x0a\x01\xff", Reason.NOT_UTF8, "no UTF-8"),
        (TWO, b"\x0a\x01\xff", Reason.NOT_UTF8, "no UTF-8"),
        (TWO, b"\x10\x01", Reason.NOT_OF_SCHEMA, "without text, which it requires"),
    ],
)
def test_bytes_that_are_no_message_are_dead_letters(
    registry: FakeRegistry, source: str, body: bytes, reason: Reason, says: str
) -> None:
    """And nothing of the record stands in the reason."""
    registry.add_source(9, source)
    found = decoded(registry, framed(9, b"\0" + body))
    assert isinstance(found, tuple)
    assert found[0] is reason
    assert says in found[1]


def test_a_message_alone_is_no_text_but_a_wrapped_one_is(registry: FakeRegistry) -> None:
    """With `format = "text"`."""
    found = decoded(registry, post(text="a"), format="text")
    assert isinstance(found, tuple)
    assert "set format" in found[1]
    registry.add_source(9, MANY)
    other = decoded(registry, message(MANY, "A", text="a"), format="text")
    assert isinstance(other, tuple)


def test_a_dead_letter_names_the_key_that_its_message_names(registry: FakeRegistry) -> None:
    """So that of a person's text no letter stays behind; a key that was left out is nobody's."""
    with client(registry) as reads:
        decoder = Decoder(TopicFormat(key_field="user"), "t", max_record_bytes=1000, registry=reads)
        assert decoder.keys_in(post(user=4711)) == ("4711",)
        assert decoder.keys_in(post(text="")) == ()


@pytest.mark.parametrize("as_source", [True, False], ids=["source", "as it was registered"])
def test_what_confluents_own_client_writes_is_read(registry: FakeRegistry, *, as_source: bool) -> None:
    """It registers its files with those that they import; a registry gives them as source, or as they came."""
    imported = ("b/author.proto", 'syntax = "proto3"; package b; message Author { string name = 1; }')
    source = """
    syntax = "proto3";
    package a;
    import "b/author.proto";
    message First {}
    message Post {
      map<string, string> m = 3;
      message Reply { string text = 1; b.Author author = 2; }
    }
    """
    made = message_class(source, "a.Post.Reply", imported)
    with SchemaRegistryClient({"url": registry.url}) as to:
        writes = ProtobufSerializer(made, to, {"subject.name.strategy.type": "TOPIC"})
        reply = made(text="from Confluent's client", author={"name": "Ann"})
        value = writes(reply, SerializationContext("t", MessageField.VALUE))
    if as_source:
        registry.schemas[3]["schema"] = source
        registry.subjects["b/author.proto", "1"] = {"schema": imported[1], "schemaType": "PROTOBUF"}
    found = decoded(registry, value, key_field="author.name")
    assert isinstance(found, Document), found
    assert (found.text, found.key) == ("from Confluent's client", "Ann")


FUZZED = protobuf_messages.reader(1, POST, {})
FIELDS = [Field(name) for name in ("text", "author.name", "any.text", "free.a.b", "kind", "texts.a", "next.next.text")]


@given(
    st.binary(max_size=200)
    | st.builds(lambda index, body: index + body, st.sampled_from([b"\0", b"\x02\x02"]), st.binary(max_size=200))
)
def test_any_bytes_end_as_a_record_or_with_a_reason(body: bytes) -> None:
    """Whatever stands behind the schema's number."""
    found = FUZZED(body)
    if isinstance(found, tuple):
        reason, why = found
        assert isinstance(reason, Reason)
        assert "schema 1" in why or reason is Reason.TOO_DEEP
    else:
        # Of what is there nothing counts as left out.
        assert all(field.left_out(found) == there for field in FIELDS if (there := field.find(found)) is not MISSING)


@given(st.data())
def test_damage_anywhere_ends_as_a_document_or_a_dead_letter(data: st.DataObject) -> None:
    """Bytes of a good message cut, changed or put in."""
    whole = post(
        text="a text",
        user=5,
        at={"seconds": 1},
        any={"type_url": "x/com.example.Post", "value": MADE(text="b").SerializeToString()},
        free={"a": {"b": [1.5, "x"]}},
        authors={True: {"id": 7}},
        tags=["a"],
    )[5:]
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 3))
    body = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + cut :]
    fields = {"key_field": "user", "time_field": "at", "label_field": "kind", "source_field": "source"}
    decoder = Decoder(TopicFormat.model_validate(fields), "t", max_record_bytes=1000, registry=_Reads())
    found = decoder.decode(framed(1, body or b"\0"), None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, Document) or isinstance(found[0], Reason)


class _Reads:
    def read(self, value: bytes) -> Any:
        """By the schema of posts."""
        return FUZZED(value[5:])

    def kind_of(self, number: int) -> str:
        """One kind."""
        return "PROTOBUF"


def test_small_records_do_not_become_large(registry: FakeRegistry) -> None:
    """Two bytes are a message in a list, and each would hold all that its type leaves out."""
    found = record(registry, framed(1, b"\x02\x02" + b"\xba\x01\x00" * 100_000))
    assert len(found["several"]) == 100_000
    assert found["several"][0] == {}
    assert not found["several"][0].unset
