"""The Kafka source on real brokers: each offset once, in whatever form the text comes."""

import time
from uuid import uuid4

import pytest

from streams.document import Pause
from streams.topic_settings import TopicSettings
from tests.brokers import Broker, admin, make_topic, producing, send
from tests.harness import wait_until
from tests.streams_harness import Ingest, KeptStore, numbered, only_apache, settings, words


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_comes_through(broker: Broker, codec: str | None) -> None:
    """In order, each record once, and the lag is gone."""
    topic = make_topic(broker)
    send(broker, topic, *numbered(0, 500), compression_type=codec, linger_ms=20)
    with Ingest(settings(broker, topic)) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 500)
        assert ingest.store.texts == words(numbered(0, 500))
        ingest.until(lambda: list(ingest.source.lag().values()) == [0])
        assert ingest.metric("riverkeep_consumed_records_total", topic=topic) == 500


def test_json_fields_and_record_keys_come_through(broker: Broker) -> None:
    """Each topic has its own format."""
    plain, fields = make_topic(broker), make_topic(broker)
    topics = (
        TopicSettings(name=plain, format="text", source="wire"),
        TopicSettings(name=fields, text_field="body.text", label_field="kind"),
    )
    # Of today: retention goes by these times, and a broker would delete old ones before they are read.
    first, second = (float(round(time.time()) - age) for age in (7, 5))
    value = b'{"body": {"text": "from within"}, "kind": "a"}'
    with producing(broker) as producer:
        producer.send(plain, value=b"as it is", key=b"user-1", timestamp_ms=int(first * 1000))
        producer.send(fields, value=value, key=b"user-2", timestamp_ms=int(second * 1000))
    with Ingest(settings(broker, topics=topics)) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 2)
        found = {(d.text, d.source, d.key, d.label, d.event_time) for d in ingest.store.documents}
    assert found == {("as it is", "wire", "user-1", None, first), ("from within", fields, "user-2", "a", second)}


def test_reading_goes_on_at_the_stores_offset(broker: Broker) -> None:
    """What was stored but never committed is not read again; the group's offset is not what counts."""
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 10))
    store = KeptStore()
    with Ingest(options, store) as ingest:
        ingest.until(lambda: ingest.store.texts)
        while (batch := ingest.source.poll(1.0)) is not None:
            store.append(batch)  # and killed before it is acknowledged
    seen = len(store.texts)
    send(broker, topic, *numbered(10, 20))
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 20)
        ingest.turns(1)
    assert seen == 10
    assert store.texts == words(numbered(0, 20))


def test_what_was_not_stored_comes_again(broker: Broker) -> None:
    """A batch that was polled and lost before it was durable is read again by the next start."""
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 10))
    with Ingest(options) as ingest:
        wait_until(lambda: ingest.source.poll(0.5), what="a batch")
    with Ingest(options) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 10)


def test_a_pattern_finds_topics_that_appear_later(broker: Broker) -> None:
    """And never the dead letters' topic, which would go round in a circle."""
    prefix = f"pattern-{uuid4().hex[:8]}"
    first = make_topic(broker, name=f"{prefix}.one")
    dead = make_topic(broker, name=f"{prefix}.dead")
    send(broker, first, b"first")
    send(broker, dead, b"no")
    topics = (TopicSettings(pattern=rf"{prefix}\..*", format="text"),)
    with Ingest(settings(broker, topics=topics, dead_letter_topic=dead)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["first"])
        later = make_topic(broker, name=f"{prefix}.two")
        send(broker, later, b"second")
        ingest.until(lambda: ingest.store.texts == ["first", "second"])
        ingest.turns(1)
        assert ingest.store.texts == ["first", "second"]


def test_new_partitions_are_found(broker: Broker) -> None:
    """A topic that grows is read wholly."""
    only_apache(broker, "the embedded broker cannot add partitions")
    topic = make_topic(broker)
    send(broker, topic, b"zero")
    with Ingest(settings(broker, topic)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["zero"])
        with admin(broker) as client:
            client.create_partitions({topic: 2})
        wait_until(lambda: len(_partitions(broker, topic)) == 2, what="the new partition")
        send(broker, topic, b"one", partition=1)
        ingest.until(lambda: ingest.store.texts == ["zero", "one"])


def _partitions(broker: Broker, topic: str) -> set[int]:
    """Those that a client that asks now is told of."""
    with producing(broker) as producer:
        return set(producer.partitions_for(topic) or ())


def test_a_pause_stops_text_and_keeps_the_membership(broker: Broker) -> None:
    """Longer than the session's timeout: nothing comes, nobody else gets the partition, and it goes on after."""
    topic = make_topic(broker)
    options = settings(broker, topic, session_timeout_seconds=2)
    with Ingest(options) as ingest:
        send(broker, topic, b"one")
        ingest.until(lambda: ingest.store.texts == ["one"])
        ingest.source.pause_all()
        ingest.turns(0.3)
        send(broker, topic, *numbered(0, 5))
        ingest.turns(4)
        assert ingest.store.texts == ["one"]
        assert set(ingest.source.paused_partitions().values()) == {Pause.MEMORY_FULL}
        assert ingest.metric("riverkeep_partitions_moved_total", event="assigned") == 1
        ingest.source.resume_all()
        ingest.until(lambda: len(ingest.store.texts) == 6)
        assert not ingest.source.paused_partitions()


def test_lag_is_told_at_each_scrape(broker: Broker) -> None:
    """By topic and partition, while text waits."""
    topic = make_topic(broker)
    options = settings(broker, topic, batch_records=1)
    send(broker, topic, *numbered(0, 10))
    with Ingest(options) as ingest:
        ingest.until(lambda: ingest.store.texts)
        lag = ingest.metric("riverkeep_consumer_lag_records", topic=topic, partition="0")
        assert lag == 10 - len(ingest.store.texts)
    assert ingest.metric("riverkeep_consumer_lag_records", topic=topic, partition="0") == 0


def test_the_dead_letters_topic_is_no_match_for_a_pattern(broker: Broker) -> None:
    """It is never read, so where it alone is there nothing can come."""
    prefix = f"app-{uuid4().hex[:8]}"
    dead = make_topic(broker, name=f"{prefix}-dead")
    topics = ({"pattern": f"{prefix}-.*", "format": "text"},)
    with Ingest(settings(broker, topics=topics, dead_letter_topic=dead)) as ingest:
        ingest.until(lambda: ingest.source.missing_topics() == (f"{prefix}-.*",))
        live = make_topic(broker, name=f"{prefix}-live")
        send(broker, live, b"one")
        ingest.until(lambda: ingest.store.texts == ["one"])
        ingest.until(lambda: not ingest.source.missing_topics())


def test_a_topic_that_does_not_exist_is_no_silent_matter(broker: Broker) -> None:
    """It shows while the others are read; where none is there, nothing can come; made at last, it is read."""
    only_apache(broker, "the embedded broker makes every topic that is asked for")
    there, typo = make_topic(broker), f"nwes-{uuid4().hex[:8]}"
    options = settings(broker, topics=({"name": there, "format": "text"}, {"name": typo, "format": "text"}))
    send(broker, there, b"one")
    with Ingest(options) as ingest:
        ingest.until(lambda: ingest.store.texts == ["one"])
        ingest.until(lambda: ingest.metric("riverkeep_topic_missing", topic=typo) == 1)
        assert ingest.source.missing_topics() == (typo,)
        assert not ingest.source.trouble
        make_topic(broker, name=typo)
        send(broker, typo, b"two")
        ingest.until(lambda: ingest.store.texts == ["one", "two"])
        ingest.until(lambda: not ingest.source.missing_topics())
        assert ingest.metric("riverkeep_topic_missing", topic=typo) == 0


def test_a_pattern_that_no_topic_matches_is_missing_too(broker: Broker) -> None:
    """With nothing to read at all, the source is in trouble."""
    name = f"news-{uuid4().hex[:8]}"
    options = settings(broker, topics=({"pattern": f"{name}.+", "format": "text"},))
    with Ingest(options) as ingest:
        ingest.until(lambda: f"no topic is there to read ({name}.+)" in ingest.source.trouble)
        make_topic(broker, name=f"{name}.de")
        ingest.until(lambda: not ingest.source.trouble)
