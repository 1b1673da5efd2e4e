"""Protobuf schemas are compiled with what they refer to, within bounds and away from this machine's files."""

import base64
import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from streams import registry as registry_room
from streams.decoding.decode import Decoder
from streams.document import Document, Partition, Reason, Rejection
from streams.errors import RegistryAway
from streams.registry import protobuf_schemas
from streams.registry.client import BACKOFF, SchemaRegistry
from streams.registry_settings import SchemaRegistrySettings
from streams.topic_settings import TopicFormat
from tests.fake_registry import Clock, FakeRegistry, fake_registry, framed

PLAIN = 'syntax = "proto3"; message Post { string text = 1; }'
VALUE = framed(9, b"\0\x0a\x01a")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """One that listens and is empty."""
    with fake_registry() as one:
        yield one


def client(registry: FakeRegistry, clock: Clock | None = None) -> SchemaRegistry:
    """What reads by its schemas."""
    return SchemaRegistry(SchemaRegistrySettings(url=registry.url), clock or Clock())


def decoded(reads: SchemaRegistry, value: bytes = VALUE) -> Document | Rejection:
    """The value as a document, or why not."""
    decoder = Decoder(TopicFormat(), "t", max_record_bytes=1000, registry=reads)
    return decoder.decode(value, None, None, Partition("t", 0), 0, 0.0)


def refused(registry: FakeRegistry, source: str, references: Any = ()) -> Rejection:
    """Why nothing is read by a schema."""
    registry.add_source(9, source, references)
    with client(registry) as reads:
        found = decoded(reads)
    assert isinstance(found, tuple), found
    assert found[0] is Reason.SCHEMA_FRAMED
    assert found[1].startswith("schema 9 cannot be used: ")
    return found[0], found[1]


def reference(name: str, subject: str | None = None) -> dict[str, Any]:
    """To version 1 of a subject."""
    return {"name": name, "subject": subject or name, "version": 1}


def test_a_schema_is_compiled_once(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records there are; also one that does not compile."""
    runs: list[object] = []
    really = subprocess.run

    def run(command: Any, **options: Any) -> Any:
        runs.append(command)
        return really(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    registry.add_source(9, PLAIN)
    registry.add_source(8, "rubbish")
    with client(registry) as reads:
        found = [decoded(reads, framed(number, VALUE[5:])) for number in (9, 8, 9, 8, 9)]
    assert [type(each) for each in found] == [Document, tuple, Document, tuple, Document]
    assert len(runs) == 2
    assert registry.asked == ["/schemas/ids/9", "/schemas/ids/8"]


def test_what_a_schema_refers_to_is_compiled_with_it(registry: FakeRegistry) -> None:
    """By the names under which it imports them, and those that they import themselves."""
    registry.refer("deep", 'syntax = "proto3"; package d; message Deep { string text = 1; }')
    middle = 'syntax = "proto3"; package m; import public "x/deep.proto"; message Middle { d.Deep deep = 1; }'
    registry.refer("the middle/one", middle, [reference("x/deep.proto", "deep")])
    source = """
    syntax = "proto3";
    import "middle.proto";
    import "again.proto";
    message Post { string text = 1; m.Middle middle = 2; a.Again again = 3; }
    """
    registry.refer("again", 'syntax = "proto3"; package a; import "x/deep.proto"; message Again { d.Deep deep = 1; }')
    references = [reference("middle.proto", "the middle/one"), reference("again.proto", "again")]
    registry.add_source(9, source, references)
    value = framed(9, b"\0\x12\x05\x0a\x03\x0a\x01b")
    with client(registry) as reads:
        decoder = Decoder(TopicFormat(text_field="middle.deep.text"), "t", max_record_bytes=1000, registry=reads)
        found = decoder.decode(value, None, None, Partition("t", 0), 0, 0.0)
    assert isinstance(found, Document), found
    assert found.text == "b"


@pytest.mark.parametrize("described", [{"main"}, {"imported"}, {"main", "imported"}], ids=sorted)
def test_files_that_a_registry_gives_as_descriptors_are_read_too(registry: FakeRegistry, described: set[str]) -> None:
    """As Python's client registers them, in base64: mixed with source in any way."""
    imported = 'syntax = "proto3"; package i; message Inner { string text = 1; }'
    source = 'syntax = "proto3"; import "other.proto"; message Post { string text = 1; i.Inner inner = 2; }'
    given = {"main": source, "imported": imported} | {name: descriptor(name) for name in described}
    registry.refer("other", given["imported"])
    registry.add_source(9, given["main"], [reference("other.proto", "other")])
    with client(registry) as reads:
        found = decoded(reads)
    assert isinstance(found, Document), found


def descriptor(name: str) -> str:
    """In base64, under a name that only its producer has."""
    file = FileDescriptorProto(name=f"producers/{name}.proto", syntax="proto3")
    if name == "imported":
        file.package = "i"
        file.message_type.add(name="Inner").field.add(name="text", number=1, type=9, label=1)
    else:
        file.dependency.append("other.proto")
        message = file.message_type.add(name="Post")
        message.field.add(name="text", number=1, type=9, label=1)
        message.field.add(name="inner", number=2, type=11, label=1, type_name=".i.Inner")
    return base64.b64encode(file.SerializeToString()).decode()


def test_references_in_a_circle_are_refused(registry: FakeRegistry) -> None:
    """And asked for but once each."""
    registry.refer("a", 'syntax = "proto3"; import "b.proto"; message A {}', [reference("b.proto", "b")])
    registry.refer("b", 'syntax = "proto3"; import "a.proto"; message B {}', [reference("a.proto", "a")])
    _, why = refused(registry, 'syntax = "proto3"; import "a.proto"; message Post {}', [reference("a.proto", "a")])
    assert "recursively imports itself" in why
    assert registry.asked == ["/schemas/ids/9", "/subjects/a/versions/1", "/subjects/b/versions/1"]


def test_more_references_than_there_may_be_are_refused(registry: FakeRegistry) -> None:
    """A chain without end costs no more."""
    for number in range(300):
        registry.refer(f"r{number}", "", [reference(f"r{number + 1}")])
    _, why = refused(registry, PLAIN, [reference("r0")])
    assert "more than 200 others" in why


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "describes no message"),
        ('syntax = "proto3"; enum E { A = 0; }', "describes no message"),
        ("rubbish", "protoc says of line 1: "),
        ('syntax = "proto3";\nmessage P {\n  strin text = 1;\n}', 'line 3: "strin" is not defined'),
        ('syntax = "proto4"; message P {}', "proto4"),
        ('edition = "9999"; message P {}', "9999"),
        ('syntax = "proto3"; import "gone.proto"; message P {}', "it imports gone.proto, which is not among its"),
        ('syntax = "proto3"; import "/etc/passwd"; message P {}', "it imports /etc/passwd, which is not among its"),
        (
            'syntax = "proto3"; import "../../etc/passwd"; message P {}',
            'line 1: Import "../../etc/passwd" was not found',
        ),
        ('syntax = "proto3"; import "pip/__init__.py"; message P {}', "it imports pip/__init__.py, which is not among"),
        (f'syntax = "proto3"; import "{protobuf_schemas.ROOT}"; message P {{}}', "imports itself"),
        ('syntax = "proto3"; message P {' + "message P {" * 5000 + "}" * 5001, "recursion limit"),
        ('syntax = "proto3"; message A { B b = 1; } message A {}', "already defined"),
        ("message P {" + "string t = 1;" * 200_000 + "}", "is longer than"),
        ('"' + "\\u0000" * 100, "protoc says"),
        ("AAAA", "protoc says"),
        (base64.b64encode(b"\x0a\x01a\x12\x05b").decode(), "protoc says"),
    ],
    ids=range(17),
)
def test_a_schema_that_is_none_is_told_with_its_remedy(registry: FakeRegistry, source: str, says: str) -> None:
    """What protoc says of which line; no file of this machine is opened, and nothing of one is told."""
    _, why = refused(registry, source)
    assert says in why
    assert "register it again" in why
    assert "root:" not in why
    assert len(why) < 500


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up.proto", "a/../../b", "a//b", "./a", "a/", "", "a\\b", "a\nb", "a" * 256, "é" * 200, "a\0b"],
    ids=ascii,
)
def test_names_that_lead_elsewhere_are_refused(registry: FakeRegistry, name: str) -> None:
    """Before anything is written."""
    registry.refer("other", PLAIN)
    _, why = refused(registry, PLAIN, [reference(name, "other")])
    assert "a name that is no path" in why


def test_a_file_where_another_has_its_folder_is_refused(registry: FakeRegistry) -> None:
    """Both cannot be written."""
    registry.refer("other", 'syntax = "proto3";')
    _, why = refused(registry, PLAIN, [reference("a", "other"), reference("a/b.proto", "other")])
    assert "where its folder would be" in why


def test_a_schema_has_no_well_known_types_of_its_own(registry: FakeRegistry) -> None:
    """One that calls itself Timestamp and is something else is read as what it is, or not at all."""
    own = 'syntax = "proto3"; package google.protobuf; message Timestamp { string text = 1; }'
    registry.refer("own", own)
    registry.add_source(9, own)
    with client(registry) as reads:
        assert isinstance(decoded(reads), Document)
    importing = 'syntax = "proto3"; import "google/protobuf/timestamp.proto"; '
    registry.add_source(8, importing + "message Post { string text = 1; google.protobuf.Timestamp at = 2; }")
    registry.schemas[8]["references"] = [reference("google/protobuf/timestamp.proto", "own")]
    with client(registry) as reads:
        found = reads.read(framed(8, b"\0\x12\x02\x08\x01"))
    assert found == {"at": "1970-01-01T00:00:01Z"}


def test_a_schema_beyond_what_protoc_may_use_is_told(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and the schema is at fault."""
    monkeypatch.setattr(protobuf_schemas, "CPU_SECONDS", 1)
    _, why = refused(registry, f"message M {{ reserved {','.join(map(str, range(1, 150_000)))}; }}")
    assert "protoc does not get through it in 1 s" in why


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (subprocess.TimeoutExpired("protoc", 30), "the machine is too busy"),
        (subprocess.CompletedProcess([], -signal.SIGKILL), "ended by SIGKILL"),
        (subprocess.CompletedProcess([], -signal.SIGTERM), "ended by SIGTERM"),
    ],
    ids=["no room", "slow", "killed", "ended"],
)
def test_records_wait_where_protoc_cannot_run(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, fails: Any, says: str
) -> None:
    """It is no fault of theirs: they are read once it can."""

    def run(*_: object, **__: object) -> Any:
        if isinstance(fails, Exception):
            raise fails
        return fails

    registry.add_source(9, PLAIN)
    clock = Clock()
    with client(registry, clock) as reads:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "run", run)
            with pytest.raises(RegistryAway, match=f"schema 9 .*{says}"):
                decoded(reads)
        clock.now += BACKOFF.first + 0.1
        assert isinstance(decoded(reads), Document)
        assert reads.trouble == ""


@pytest.mark.parametrize("missing", ["grpc_tools", "google.protobuf.descriptor_pb2", "google.type"])
def test_without_what_reads_it_protobuf_waits_with_the_command_that_installs_it(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """It is the installation that is wrong, not the record."""
    for module in ("protobuf_messages", "protobuf_schemas"):
        monkeypatch.delitem(sys.modules, f"streams.registry.{module}")
        monkeypatch.delattr(registry_room, module)
    monkeypatch.setitem(sys.modules, missing, None)
    registry.add_source(9, PLAIN)
    with client(registry) as reads, pytest.raises(RegistryAway, match=r"PROTOBUF.*`pip install '\.\[registry\]'"):
        decoded(reads)


def test_nothing_stays_behind(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the folder in which it is compiled."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    registry.add_source(9, PLAIN)
    with client(registry) as reads:
        assert isinstance(decoded(reads), Document)
    refused(registry, "rubbish")
    assert list(tmp_path.iterdir()) == []
