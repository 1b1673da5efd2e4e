"""Framed values on a real broker: read with the registry, and waited for while it is away."""

import io
from collections.abc import Iterator

import fastavro
import pytest

from daemon.doctor import kafka
from streams.document import Pause
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import Broker, make_topic, producing, send
from tests.fake_registry import FakeRegistry, fake_registry, framed
from tests.streams_harness import Ingest, numbered, settings, words

POST = {"type": "record", "name": "Post", "fields": [{"name": "text", "type": "string"}]}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """With a schema of each kind."""
    with fake_registry() as one:
        one.add(1, POST)
        one.add(2, {"type": "object"}, "JSON")
        one.add_source(4, 'syntax = "proto3"; message Post { string text = 1; }')
        yield one


def avro(text: str) -> bytes:
    """A framed record in Avro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, POST, {"text": text})
    return framed(1, out.getvalue())


def reading(broker: Broker, registry: FakeRegistry, *topics: TopicSettings) -> StreamsSettings:
    """Settings for these topics and the registry."""
    return settings(broker, topics=topics, schema_registry={"url": registry.url, "timeout_seconds": 1})


def test_avro_protobuf_framed_json_and_plain_json_come_through_one_topic(
    embedded_broker: Broker, registry: FakeRegistry
) -> None:
    """Each record by what it is; a schema that is not there is a dead letter that names it."""
    topic = make_topic(embedded_broker)
    values = (
        avro("Avro"),
        framed(2, b'{"text": "framed"}'),
        b'{"text": "plain"}',
        framed(3, b"x"),
        framed(4, b"\0\x0a\x02pb"),
    )
    send(embedded_broker, topic, *values)
    with Ingest(reading(embedded_broker, registry, TopicSettings(name=topic))) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 4)
    assert ingest.store.texts == ["Avro", "framed", "plain", "pb"]
    assert [(letter.offset, letter.reason) for letter in ingest.store.dead_letters] == [(3, "unknown_schema")]
    assert "schema 3" in ingest.store.dead_letters[0].detail


def test_a_value_whose_schema_stands_in_a_header_is_told_as_that(
    embedded_broker: Broker, registry: FakeRegistry
) -> None:
    """It is not damaged; JSON is read, whatever its headers say, and other values keep their reasons."""
    topic = make_topic(embedded_broker)
    header = [("__value_schema_id", b"\x01" + bytes(16))]
    with producing(embedded_broker) as producer:
        for value, headers in (b"\x0a\x01a", header), (b'{"text": "a"}', header), (b'{"text": 1}', header), (b"{", []):
            producer.send(topic, value=value, headers=headers, partition=0).get(timeout=60)
    with Ingest(reading(embedded_broker, registry, TopicSettings(name=topic))) as ingest:
        ingest.until(lambda: len(ingest.store.dead_letters) == 3)
    assert [letter.reason for letter in ingest.store.dead_letters] == [
        "schema_framed",
        "wrong_type",
        "not_json",
    ]
    assert "header __value_schema_id" in ingest.store.dead_letters[0].detail
    assert ingest.store.texts == ["a"]


def test_nothing_is_lost_while_the_registry_is_away(embedded_broker: Broker, registry: FakeRegistry) -> None:
    """The partition stops before the first record that it cannot read; others flow, and it goes on by itself."""
    topic, other = make_topic(embedded_broker), make_topic(embedded_broker)
    topics = TopicSettings(name=topic), TopicSettings(name=other, format="text")
    send(embedded_broker, topic, b'{"text": "plain"}', avro("a 0"), b'{"text": "behind"}', avro("a 1"))
    registry.stop()
    with Ingest(reading(embedded_broker, registry, *topics)) as ingest:
        ingest.until(ingest.source.paused_partitions)
        send(embedded_broker, other, *numbered(0, 3))
        ingest.until(lambda: len(ingest.store.texts) == 4)
        paused = {where.topic: why for where, why in ingest.source.paused_partitions().items()}
        assert paused == {topic: Pause.SCHEMA_REGISTRY_AWAY}
        assert registry.url in ingest.source.schemas_missing
        shown = ingest.metric("riverkeep_consumer_paused", topic=topic, partition="0", reason="schema_registry_away")
        stored = {name: offset for (name, _, _), offset in ingest.store.offsets.items()}
        assert (shown, stored[topic]) == (1, 1)
        registry.start()
        ingest.until(lambda: len(ingest.store.texts) == 7)
        ingest.until(lambda: not ingest.source.paused_partitions())
    texts = [document.text for document in ingest.store.documents if document.partition.topic == topic]
    assert texts == ["plain", "a 0", "behind", "a 1"]
    assert set(words(numbered(0, 3))) < set(ingest.store.texts)
    assert (ingest.store.dead_letters, ingest.source.schemas_missing) == ([], "")


def test_doctor_decodes_the_newest_records_with_the_registry(embedded_broker: Broker, registry: FakeRegistry) -> None:
    """And says what is wrong: a field that is named otherwise, or a registry that does not answer."""
    good, wrong = make_topic(embedded_broker), make_topic(embedded_broker)
    send(embedded_broker, good, avro("a"))
    send(embedded_broker, wrong, avro("a"))
    streams = reading(embedded_broker, registry, TopicSettings(name=good), TopicSettings(name=wrong, text_field="body"))
    findings = {one.name: one for one in kafka.examine(streams)}
    assert findings[f"records of {good}"].detail == "the newest 1 are understood"
    assert "their fields: text" in findings[f"records of {wrong}"].detail
    assert findings["schema registry"].ok
    registry.status = 401
    findings = {one.name: one for one in kafka.examine(streams)}
    for name in ("schema registry", f"records of {good}"):
        assert not findings[name].ok
        assert "HTTP 401" in findings[name].detail
