"""Records on real brokers that are not understood, or are too large: each is accounted for and stops nothing."""

import gc
from pathlib import Path
from typing import Any, cast

import pytest
from kafka import KafkaConsumer
from kafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, DeadLetter, GapReason, Header, Partition, Pause, Reason
from streams.kafka.publisher import DeadLetterPublisher
from streams.metrics import StreamsMetrics
from streams.record_headers import for_producer
from streams.settings import MIB, StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import CLOSING, Broker, make_topic, producing, send
from tests.harness import wait_until
from tests.streams_harness import Ingest, only_apache, settings


def test_bad_records_are_dead_letters_and_stop_nothing(broker: Broker) -> None:
    """Each with its reason, in its place."""
    topic = make_topic(broker)
    bad = [b"{", None, b'{"text": 5}', b'{"text": "\xff"}', b"[" * 100_000, b'{"text": "ok"}']
    send(broker, topic, *bad)
    topics = (TopicSettings(name=topic),)
    with Ingest(settings(broker, topics=topics)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["ok"])
        assert [letter.reason for letter in ingest.store.dead_letters] == [
            Reason.NOT_JSON,
            Reason.TOMBSTONE,
            Reason.WRONG_TYPE,
            Reason.NOT_UTF8,
            Reason.TOO_DEEP,
        ]
        assert ingest.metric("riverkeep_dead_letters_total", topic=topic, reason="too_deep") == 1


@pytest.mark.slow
def test_a_record_of_50_megabytes_is_a_dead_letter(broker: Broker) -> None:
    """Its beginning is kept and its length told; the records around it come."""
    topic = make_topic(broker, max_message_bytes=str(64 * MIB)) if broker.name == "apache" else make_topic(broker)
    large = b"x" * (50 * MIB)
    options = {"max_request_size": 64 * MIB, "request_timeout_ms": 60_000}
    send(broker, topic, b"before", large, b"after", **options)
    with Ingest(settings(broker, topic)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["before", "after"])
        (letter,) = ingest.store.dead_letters
    assert (letter.offset, letter.reason, letter.value_bytes) == (1, Reason.TOO_LARGE, 50 * MIB)
    assert len(letter.value) == 64 * 1024


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_bomb_is_a_dead_letter_and_a_gap(broker: Broker, codec: str) -> None:
    """What would become more than is allowed is not read; its offsets are accounted for, and the next come."""
    topic = make_topic(broker, max_message_bytes=str(16 * MIB)) if broker.name == "apache" else make_topic(broker)
    send(broker, topic, b"before")
    send(broker, topic, bytes(20 * MIB), compression_type=codec, max_request_size=64 * MIB, batch_size=64 * MIB)
    send(broker, topic, b"after")
    with Ingest(settings(broker, topic, max_batch_bytes=4 * MIB)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["before", "after"])
        (letter,) = ingest.store.dead_letters
        (gap,) = ingest.store.gaps
    assert letter.reason is Reason.UNDECODABLE_BATCH
    assert "more than" in letter.detail
    assert (gap.first, gap.last, gap.reason) == (1, 1, GapReason.UNDECODABLE_BATCH)


def test_a_flood_of_dead_letters_pauses_its_partition_alone(broker: Broker) -> None:
    """The other partition goes on, an alarm is raised, and a person lets it come again."""
    topic = make_topic(broker, partitions=2)
    topics = (TopicSettings(name=topic),)
    budget = {"min_dead_letters": 20, "max_share": 0.5}
    with Ingest(settings(broker, topics=topics, budget=budget, batch_records=10)) as ingest:
        send(broker, topic, *[b"{"] * 40, partition=0)
        ingest.until(ingest.source.paused_partitions)
        (flooded, why), *_ = ingest.source.paused_partitions().items()
        assert (flooded.number, why) == (0, Pause.DEAD_LETTER_FLOOD)
        assert ingest.metric("riverkeep_dead_letter_floods_total", topic=topic) == 1
        assert len(ingest.store.dead_letters) < 40
        send(broker, topic, b'{"text": "still here"}', partition=1)
        send(broker, topic, b'{"text": "waits"}', partition=0)
        ingest.until(lambda: ingest.store.texts == ["still here"])
        labels = {"topic": topic, "partition": "0", "reason": "dead_letter_flood"}
        assert ingest.metric("riverkeep_consumer_paused", **labels) == 1

        def resumed() -> bool:
            ingest.source.resume(flooded)
            return "waits" in ingest.store.texts

        ingest.until(resumed)
        assert len(ingest.store.dead_letters) == 40


def test_what_waits_behind_a_flood_is_told_at_once(broker: Broker) -> None:
    """No fetch tells how much comes after the pause, and nobody waits until it is asked for by the clock."""
    only_apache(broker, "the embedded broker tells an end only as of the latest fetch")
    topic = make_topic(broker)
    budget = {"min_dead_letters": 5}
    now = [1000.0]
    options = settings(broker, topics=(TopicSettings(name=topic),), budget=budget)
    with Ingest(options, monotonic=lambda: now[0]) as ingest:
        ingest.until(ingest.source.assignment)
        now[0] += 2
        ingest.turn()
        send(broker, topic, *[b"{"] * 10)
        ingest.until(lambda: ingest.store.dead_letters)
        send(broker, topic, *[b'{"text": "later"}'] * 3)
        wait_until(lambda: end_of(ingest, topic) == 13)
        now[0] += 2
        ingest.turn()
        (lag,) = ingest.source.lag().values()
        assert lag == 13 - len(ingest.store.dead_letters)


def end_of(ingest: Ingest, topic: str) -> int:
    """The end of a topic's partition as the broker tells it now."""
    consumer, found = ingest.source._consumer, TopicPartition(topic, 0)
    assert consumer is not None
    return consumer.ends([found])[found]


def test_a_flooded_partition_is_tried_again_in_time(broker: Broker) -> None:
    """When the settings say so, no person is needed."""
    topic = make_topic(broker)
    topics = (TopicSettings(name=topic),)
    budget = {"min_dead_letters": 5, "pause_seconds": 60}
    now = [1000.0]
    options = settings(broker, topics=topics, budget=budget)
    with Ingest(options, monotonic=lambda: now[0]) as ingest:
        send(broker, topic, *[b"{"] * 10)
        ingest.until(ingest.source.paused_partitions)
        send(broker, topic, b'{"text": "later"}')
        ingest.turns(0.5)
        assert not ingest.store.texts
        now[0] += 61
        ingest.until(lambda: ingest.store.texts == ["later"])


def test_dead_letters_reach_their_topic(broker: Broker) -> None:
    """With KIP-298 headers; the numbers that come back are those that the broker has."""
    topic = make_topic(broker)
    options = settings(broker, "unread", dead_letter_topic=topic)
    letters = [
        (number, DeadLetter(Partition("news", 0), number, Reason.NOT_JSON, "at 1", b"k", b"{", 1, 5.0))
        for number in (7, 8)
    ]
    registry = CollectorRegistry()
    with DeadLetterPublisher(options, StreamsMetrics(registry)) as publisher:
        assert publisher.publish(letters) == [7, 8]
    assert registry.get_sample_value("riverkeep_dead_letters_published_total") == 2
    consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", **CLOSING)
    found = wait_until(lambda: consumer.poll(timeout_ms=500), what="the dead letters")
    consumer.close()
    records = next(iter(found.values()))
    assert [dict(record.headers)["__connect.errors.offset"] for record in records] == [b"7", b"8"]
    assert records[0].value == b"{"


OWN: list[Header] = [
    ("traceparent", b"00-4bf92f"),
    ("hop", b"1"),
    ("hop", b"2"),
    ("empty", b""),
    ("null", None),
    ("binary", bytes(range(256))),
    ("größe", "ü".encode()),
    ("__connect.errors.topic", b"an earlier one"),
    ("riverkeep.value.bytes", b"7"),
]
"""Of every kind: more than once, empty, null, binary, no ASCII, and of a record that was a dead letter already."""


def test_a_records_own_headers_reach_the_dead_letter_topic(broker: Broker, tmp_path: Path) -> None:
    """Each as it was and in their order, through the store; behind them what Riverkeep tells."""
    topic, dead = make_topic(broker), make_topic(broker)
    with producing(broker) as producer:
        producer.send(topic, value=b"{", headers=for_producer(OWN))
        producer.send(topic, value=b"[", key=b"k")
    options = settings(broker, topics=(TopicSettings(name=topic),), dead_letter_topic=dead)
    with Store.open(tmp_path / "riverkeep.db", MemorySettings()) as store:
        with Ingest(options) as ingest:
            ingest.until(lambda: len(ingest.store.dead_letters) == 2)
            letters = tuple(ingest.store.dead_letters)
        store.append(Batch((), letters, (), {letters[0].partition: 2}))
        waiting = store.quarantine.unpublished()
        with DeadLetterPublisher(options, StreamsMetrics(CollectorRegistry())) as publisher:
            assert len(publisher.publish((letter.id, letter) for letter in waiting)) == 2
    consumer = KafkaConsumer(dead, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", **CLOSING)
    try:
        records = [record for _, record in zip(range(2), consumer, strict=False)]
    finally:
        consumer.close()
    first, second = sorted(records, key=lambda record: dict(record.headers)["__connect.errors.offset"])
    assert [(name, value) for name, value in first.headers[: len(OWN)]] == OWN
    told = dict(first.headers)
    assert (told["__connect.errors.topic"], told["riverkeep.value.bytes"]) == (topic.encode(), b"1")
    assert [name for name, _ in second.headers if not name.startswith("__connect.")] == ["riverkeep.value.bytes"]


def test_a_tombstone_erases_what_came_before_it(broker: Broker, tmp_path: Path) -> None:
    """In the order of the stream, through restarts, and only where the topic says so."""
    erased, counted = make_topic(broker), make_topic(broker)
    first, later = "The river rose in the night.", "It fell again in the morning."
    with producing(broker) as producer:
        for topic in (erased, counted):
            for key, value in ((b"u-1", first), (b"u-2", "Nobody saw it."), (b"u-1", None), (b"u-1", later)):
                text = None if value is None else f"{topic}: {value}".encode()
                producer.send(topic, key=key, value=text, partition=0)
    topics = (
        TopicSettings(name=erased, format="text", on_tombstone="erase"),
        TopicSettings(name=counted, format="text"),
    )
    options = settings(broker, topics=topics, batch_records=1)
    with Store.open(tmp_path / "riverkeep.db", MemorySettings()) as store:

        def read() -> bool:
            return all(
                sum(store.next_offset(*place) or 0 for place in places(topic)) == 4 for topic in (erased, counted)
            )

        def places(topic: str) -> list[tuple[str, int, str]]:
            return [(topic, 0, store.latest_incarnation(topic, 0) or "")]

        with Ingest(options, cast("Any", store)) as ingest:
            wait_until(lambda: (ingest.turn(), read())[1], timeout_s=60)
            assert ingest.metric("riverkeep_dead_letters_total", topic=erased, reason="tombstone") == 1
        assert store.people.tombstones_wait()
        store.people.apply_tombstones(scrub=True)
        kept = store.people.find("u-1").samples
        assert store.people.find("u-2").by_role
    texts = {one.sample.text for one in kept}
    # All text of the key that came before goes, from whichever topic: of the other one it depends on which came first.
    assert f"{erased}: {first}" not in texts
    assert f"{erased}: {later}" in texts
    assert f"{counted}: {later}" in texts or f"{counted}: {first}" not in texts


def test_a_letter_as_large_as_can_be_kept_is_taken_by_its_topic(broker: Broker) -> None:
    """Key, value and headers each as large as settings allow: what the broker would refuse is cut, or nothing moves."""
    dead = make_topic(broker)
    options = settings(broker, "unread", dead_letter_topic=dead)
    large = b"x" * MIB
    own: tuple[Header, ...] = (("small", b"1"), ("large", large))
    letter = DeadLetter(Partition("news", 0), 1, Reason.NOT_JSON, "at 1", large, large, MIB, 5.0, (), own)
    with DeadLetterPublisher(options, StreamsMetrics(CollectorRegistry())) as publisher:
        assert publisher.publish([(1, letter)]) == [1]


def test_dead_letters_wait_when_their_topic_takes_none() -> None:
    """Nothing is told as published that no broker acknowledged."""
    options = StreamsSettings(
        bootstrap_servers=("127.0.0.1:1",), dead_letter_topic="dead", connect_seconds=0.5, group_id="g"
    )
    letter = DeadLetter(Partition("news", 0), 1, Reason.NOT_JSON, "at 1", None, b"{", 1, 5.0)
    with DeadLetterPublisher(options, StreamsMetrics(CollectorRegistry())) as publisher:
        assert publisher.publish([(1, letter)], timeout_s=1.0) == []
    # A socket that an attempt left open would warn here.
    gc.collect()
