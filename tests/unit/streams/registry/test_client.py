"""Values that a schema registry's clients framed are read by their schemas, and wait where those cannot come."""

import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from structlog.testing import capture_logs

from streams.decoding.decode import Decoder
from streams.document import Document, Partition, Reason, Rejection
from streams.errors import RegistryAway
from streams.registry.client import BACKOFF, NOT_THERE_SECONDS, SchemaRegistry
from streams.registry_settings import SchemaRegistrySettings
from streams.topic_settings import TopicFormat
from tests.fake_registry import Clock, FakeRegistry, fake_registry, framed

POST = {
    "type": "record",
    "name": "com.example.Post",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "user", "type": ["null", "long"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
AT = dt.datetime(2024, 4, 3, 2, 28, 33, tzinfo=dt.UTC)
FIELDS = {"key_field": "user", "time_field": "at"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """One that listens and is empty."""
    with fake_registry() as one:
        yield one


def client(registry: FakeRegistry, clock: Clock | None = None, **options: Any) -> SchemaRegistry:
    """What reads by its schemas."""
    settings = SchemaRegistrySettings.model_validate({"url": registry.url + "/", **options})
    return SchemaRegistry(settings, clock or Clock())


def avro(schema: Any, value: object, *others: Any) -> bytes:
    """The value as Avro, in a frame of one field so that any schema will do."""
    named: dict[str, Any] = {}
    for each in others:
        fastavro.parse_schema(each, named_schemas=named)
    frame = {"type": "record", "name": "frame", "fields": [{"name": "v", "type": schema}]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(frame, named_schemas=named), {"v": value})
    return out.getvalue()


def decoded(reads: SchemaRegistry, value: bytes, **fields: Any) -> Document | Rejection:
    """The value as a document, or why not."""
    decoder = Decoder(TopicFormat.model_validate(fields), "t", max_record_bytes=1 << 20, registry=reads)
    return decoder.decode(value, b"own", None, Partition("t", 0), 0, 0.0)


def test_avro_and_framed_json_are_documents_like_any_other(registry: FakeRegistry) -> None:
    """Their fields obey the same rules: whole numbers are keys, logical times are times."""
    registry.add(1, POST)
    registry.add(2, {"type": "object"}, "JSON")
    post = avro(POST, {"text": "from Avro", "user": 4711, "at": AT})
    with client(registry) as reads:
        found = decoded(reads, framed(1, post), **FIELDS)
        other = decoded(reads, framed(2, b'{"text": "from JSON", "user": 123456789012345678901}'), **FIELDS)
    assert isinstance(found, Document)
    assert (found.text, found.key, found.event_time) == ("from Avro", "4711", AT.timestamp())
    assert isinstance(other, Document)
    assert (other.text, other.key) == ("from JSON", "123456789012345678901")


def test_a_schema_is_asked_for_once_and_plain_records_never_ask(registry: FakeRegistry) -> None:
    """However many records there are."""
    registry.add(1, POST)
    value = framed(1, avro(POST, {"text": "a", "user": None, "at": AT}))
    with client(registry) as reads:
        for _ in range(5):
            assert isinstance(decoded(reads, value), Document)
            assert isinstance(decoded(reads, b'{"text": "plain"}'), Document)
    assert registry.asked == ["/schemas/ids/1"]


@pytest.mark.parametrize(
    ("schema", "value", "format_", "text"),
    [
        ("string", "a text alone", "text", "a text alone"),
        ({"type": "string"}, "a text alone", "text", "a text alone"),
        (["null", "com.example.Post"], {"text": "b", "user": 1, "at": AT}, "json", "b"),
        ("com.example.Post", {"text": "c", "user": 1, "at": AT}, "json", "c"),
        (
            {
                "type": "record",
                "name": "Outer",
                "fields": [{"name": "text", "type": "string"}, {"name": "of", "type": "Tag"}],
            },
            {"text": "d", "of": {"tag": "x"}},
            "json",
            "d",
        ),
    ],
    ids=["a name", "a type", "a union of a reference", "a reference", "a reference to a reference"],
)
def test_schemas_of_every_shape_are_read(
    registry: FakeRegistry, schema: Any, value: object, format_: str, text: str
) -> None:
    """Also those that refer to others, which are asked for by subject and version."""
    tag = {"type": "record", "name": "Tag", "fields": [{"name": "tag", "type": "string"}]}
    deeper = {"name": "Tag", "subject": "a/tag", "version": 3}
    registry.add(7, tag)
    registry.subjects["a/tag", "3"] = registry.schemas.pop(7)
    registry.add(7, POST, references=[deeper])
    registry.subjects["post", "1"] = registry.schemas.pop(7)
    registry.add(7, schema, references=[{"name": "com.example.Post", "subject": "post", "version": 1}, deeper])
    with client(registry) as reads:
        found = decoded(reads, framed(7, avro(schema, value, tag, POST)), format=format_)
    assert isinstance(found, Document), found
    assert found.text == text
    assert registry.asked == ["/schemas/ids/7", "/subjects/post/versions/1", "/subjects/a%2Ftag/versions/3"]


LINK = {
    "type": "record",
    "name": "Link",
    "fields": [{"name": "text", "type": "string"}, {"name": "next", "type": ["null", "Link"]}],
}
NOTHINGS = {"type": "record", "name": "N", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}


@pytest.mark.parametrize(
    ("schema", "kind", "body", "reason", "says"),
    [
        (POST, None, b"\x02", Reason.NOT_OF_SCHEMA, "no Avro of schema 9"),
        (POST, None, b"\x02a\x00\x02" + b"rest", Reason.NOT_OF_SCHEMA, "left over"),
        (POST, None, b"\xfe\xff\xff\xff\xff\xff\x7fa", Reason.NOT_OF_SCHEMA, "no Avro of schema 9"),
        (POST, None, b"\x02\xff\x00\x02", Reason.NOT_UTF8, "no UTF-8"),
        (LINK, None, b"\x02a\x02" * 100_000 + b"\x02a\x00", Reason.TOO_DEEP, "without end"),
        (NOTHINGS, None, b"\xfe\xff\xff\xff\x0f\x00", Reason.SCHEMA_FRAMED, "take no bytes"),
        ({"type": "recor"}, None, b"x", Reason.SCHEMA_FRAMED, "schema 9 cannot be used"),
        ("x", "PROTOBUF", b"x", Reason.SCHEMA_FRAMED, "schema 9 cannot be used: protoc says"),
        ("x", "THRIFT", b"x", Reason.SCHEMA_FRAMED, "THRIFT"),
        ({}, "JSON", b"{", Reason.NOT_JSON, "character"),
        ({}, "JSON", b'{"text": 1}', Reason.WRONG_TYPE, "field text"),
        ({}, "JSON", framed(9, framed(9, b"{}")), Reason.NUL_BYTE, "NUL"),
        ({"type": "bytes"}, None, b"\x02a", Reason.NOT_AN_OBJECT, "bytes"),
    ],
)
def test_what_cannot_be_read_by_its_schema_is_a_dead_letter(  # noqa: PLR0917  # a table's columns
    registry: FakeRegistry, schema: object, kind: str | None, body: bytes, reason: Reason, says: str
) -> None:
    """With its reason, whatever the bytes are: nothing hangs, and the process lives."""
    registry.add(9, schema, kind)
    with client(registry) as reads:
        found = decoded(reads, framed(9, body))
    assert isinstance(found, tuple)
    assert found[0] is reason
    assert says in found[1]


def test_a_dead_letter_names_the_key_that_its_record_names(registry: FakeRegistry) -> None:
    """So that of a person's text no letter stays behind."""
    registry.add(1, POST)
    value = framed(1, avro(POST, {"text": "", "user": 4711, "at": AT}))
    with client(registry) as reads:
        decoder = Decoder(TopicFormat(key_field="user"), "t", max_record_bytes=1000, registry=reads)
        assert decoder.keys_in(value) == ("4711",)


def test_an_unknown_schema_is_a_dead_letter_and_asked_for_again_later(registry: FakeRegistry) -> None:
    """Its number and the registry are named; not each record of a bad producer asks."""
    clock, value = Clock(), framed(5, b'{"text": "a"}')
    with client(registry, clock) as reads:
        found = [decoded(reads, value) for _ in range(3)]
        registry.add(5, {}, "JSON")
        clock.now += NOT_THERE_SECONDS + 1
        later = decoded(reads, value)
    assert found[0] == found[2]
    assert isinstance(found[0], tuple)
    assert found[0][0] is Reason.UNKNOWN_SCHEMA
    assert "schema 5 is not in the registry" in found[0][1]
    assert registry.url in found[0][1]
    assert isinstance(later, Document)
    assert registry.asked == ["/schemas/ids/5"] * 2


def test_a_number_of_eight_bytes_is_told(registry: FakeRegistry) -> None:
    """As Apicurio's clients write it: its first four say schema 0, which there is nowhere."""
    with client(registry) as reads:
        found = decoded(reads, b"\0" + (77).to_bytes(8, "big") + b"x")
    assert isinstance(found, tuple)
    assert found[0] is Reason.UNKNOWN_SCHEMA
    assert "8 bytes stands there (77), as Apicurio's" in found[1]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "password_file"),
        (403, "grant"),
        (404, "path in the url"),
        (302, "elsewhere"),
        (500, "HTTP 500"),
        (429, "often"),
    ],
)
def test_a_registry_that_refuses_is_waited_for(registry: FakeRegistry, status: int, says: str) -> None:
    """Never a dead letter, and it is not asked again at once; what is known already is read meanwhile."""
    registry.add(1, {}, "JSON")
    registry.add(2, {}, "JSON")
    clock = Clock()
    with client(registry, clock) as reads:
        assert isinstance(decoded(reads, framed(1, b'{"text": "a"}')), Document)
        registry.status = status
        for _ in range(3):
            with pytest.raises(RegistryAway, match=says):
                decoded(reads, framed(2, b'{"text": "b"}'))
        assert isinstance(decoded(reads, framed(1, b'{"text": "a"}')), Document)
        assert (reads.rests, registry.asked) == (True, ["/schemas/ids/1", "/schemas/ids/2"])
        registry.status = None
        clock.now += BACKOFF.first + 0.1
        assert isinstance(decoded(reads, framed(2, b'{"text": "b"}')), Document)
        assert reads.trouble == ""


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"schema": 1},
        {"schema": '"string"', "references": {"x": 1}},
        {"schema": '"string"', "references": ["x"]},
        ["schema"],
        "schema",
        1,
    ],
    ids=str,
)
def test_what_answers_otherwise_is_no_registry(registry: FakeRegistry, answer: Any) -> None:
    """Another service under that address: its records wait until the url is mended."""
    registry.schemas[1] = answer or {"none": 1}
    with client(registry) as reads, pytest.raises(RegistryAway, match="check the url"):
        decoded(reads, framed(1, b"x"))


@pytest.mark.parametrize("token", ["two\nlines", "no file"])
def test_a_token_that_cannot_be_sent_is_told(registry: FakeRegistry, tmp_path: Path, token: str) -> None:
    """It is no fault of a record."""
    file = tmp_path / "token"
    if token != "no file":
        file.write_text(token)
    with client(registry, token_file=file) as reads, pytest.raises(RegistryAway, match="the secret in"):
        decoded(reads, framed(1, b"x"))


def test_the_log_tells_once_that_it_is_away_and_once_that_it_is_back(registry: FakeRegistry) -> None:
    """However often it is tried in between."""
    registry.add(1, {}, "JSON")
    registry.status, clock = 500, Clock()
    with capture_logs() as logs, client(registry, clock) as reads:
        for _ in range(4):
            with pytest.raises(RegistryAway):
                decoded(reads, framed(1, b"x"))
            clock.now += BACKOFF.longest + 1
        registry.status = None
        decoded(reads, framed(1, b"x"))
    assert [line["event"] for line in logs] == ["schema_registry_away", "schema_registry_reached"]


def test_a_registry_that_is_gone_is_waited_for(registry: FakeRegistry) -> None:
    """Its address is named."""
    registry.stop()
    with client(registry) as reads, pytest.raises(RegistryAway, match=rf"127.0.0.1:{registry.port}.*runs"):
        decoded(reads, framed(1, b"{}"))


def test_it_logs_in_with_the_password_that_is_in_the_file_now(registry: FakeRegistry, tmp_path: Path) -> None:
    """A password that was changed needs no restart."""
    registry.add(1, {}, "JSON")
    registry.login = ("reader", "new")
    password, clock = tmp_path / "password", Clock()
    password.write_text("old\n")
    with client(registry, clock, username="reader", password_file=password) as reads:
        with pytest.raises(RegistryAway, match="401"):
            reads.check()
        password.write_text("new\n")
        clock.now += 60
        assert isinstance(decoded(reads, framed(1, b'{"text": "a"}')), Document)
        reads.check()


def test_avro_without_fastavro_waits_with_the_command_that_installs_it(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the installation that is wrong, not the record."""
    monkeypatch.setitem(__import__("sys").modules, "fastavro", None)
    registry.add(1, POST)
    with client(registry) as reads, pytest.raises(RegistryAway, match=r"pip install '\.\[registry\]'"):
        decoded(reads, framed(1, b"x"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"url": "registry:8081"}, "address such as"),
        ({"url": "http://u:p@registry"}, "no login"),
        ({"url": "http://registry/?a=1"}, "without"),
        ({"url": "http://registry:99999"}, "no address"),
        ({"url": "http://r", "username": "u"}, "belong together"),
        ({"username": "u", "password_file": "p"}, "set url"),
        ({"url": "http://r", "username": "u", "password_file": "p", "token_file": "t"}, "stands for a login"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, str], says: str) -> None:
    """When they are read, not when the first record comes."""
    with pytest.raises(ValueError, match=says):
        SchemaRegistrySettings.model_validate(wrong)
