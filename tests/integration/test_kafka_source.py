"""The Kafka source on real brokers: each offset once, whatever happens between the broker and the store."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from streams.dead_letters import DeadLetterPublisher
from streams.document import DeadLetter, GapReason, Partition, Reason
from streams.errors import MembershipTaken
from streams.kafka import Pause
from streams.metrics import StreamsMetrics
from streams.settings import StreamsSettings, TopicSettings
from tests.brokers import Broker, admin, make_topic, producing, send
from tests.harness import wait_until
from tests.streams_harness import Ingest, KeptStore, settings

MIB = 1 << 20
NO_RETENTION = "the embedded broker deletes no records"
NO_METADATA = "the embedded broker keeps no metadata of commits"


def only_apache(broker: Broker, why: str) -> None:
    """Skip on the embedded broker what it has not."""
    if broker.name == "embedded":
        pytest.skip(why)


def numbered(start: int, stop: int, word: str = "text") -> list[bytes]:
    """Texts that tell their number."""
    return [f"{word} {n}".encode() for n in range(start, stop)]


def words(values: list[bytes]) -> list[str]:
    """The texts of records."""
    return [value.decode() for value in values]


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
    with producing(broker) as producer:
        producer.send(plain, value=b"as it is", key=b"user-1", timestamp_ms=5000)
        producer.send(fields, value=b'{"body": {"text": "from within"}, "kind": "a"}', key=b"user-2", timestamp_ms=7000)
    with Ingest(settings(broker, topics=topics)) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 2)
        found = {(d.text, d.source, d.key, d.label, d.event_time) for d in ingest.store.documents}
    assert found == {("as it is", "wire", "user-1", None, 5.0), ("from within", fields, "user-2", "a", 7.0)}


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


def test_the_groups_offset_follows_for_lag_tools(broker: Broker) -> None:
    """After acknowledging, any tool sees how far the group is."""
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 25))
    with Ingest(options) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 25)
        ingest.until(lambda: committed(broker, options.group_id, topic) == 25)


def committed(broker: Broker, group: str, topic: str) -> int | None:
    """The group's offset as a tool reads it."""
    with admin(broker) as client:
        found = client.list_group_offsets(group)[group].get(TopicPartition(topic, 0))
    return None if found is None else int(found.offset)


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


def test_a_rebalance_hands_partitions_over_once(broker: Broker) -> None:
    """Two replicas share a topic while text keeps coming; together they have each record once, none twice."""
    topic = make_topic(broker, partitions=4)
    options = settings(broker, topic)
    total = 3000
    store = KeptStore()
    sending = threading.Thread(target=_trickle, args=(broker, topic, total))
    with Ingest(options, store, owner="store") as first:
        first.until(lambda: len(first.source.assignment()) == 4)
        sending.start()
        first.until(lambda: len(store.texts) > 100)
        # One store, as after a move of the same state to another process: what one stored, the other knows.
        with beside(Ingest(options, store, owner="store")) as second:
            first.until(lambda: len(second.source.assignment()) == 2 == len(first.source.assignment()))
            first.until(lambda: len(store.texts) > total // 2)
        sending.join()
        first.until(lambda: len(store.texts) == total)
        first.turns(1)
    assert sorted(store.texts) == sorted(words(numbered(0, total)))
    assert first.metric("riverkeep_partitions_moved_total", event="revoked") >= 2


@contextmanager
def beside(ingest: Ingest) -> Iterator[Ingest]:
    """Let a replica run in a thread of its own."""
    done = threading.Event()

    def run() -> None:
        with ingest:
            while not done.is_set():
                ingest.turn()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield ingest
        finally:
            done.set()
            running.result(timeout=30)


def _trickle(broker: Broker, topic: str, total: int) -> None:
    pause = threading.Event()
    with producing(broker) as producer:
        for n, value in enumerate(numbered(0, total)):
            producer.send(topic, value=value, partition=n % 4)
            if n % 100 == 99:
                pause.wait(0.2)


def test_replicas_with_stores_of_their_own_share_without_repeats(broker: Broker) -> None:
    """A partition that goes to another replica and comes back: what that one stored is not stored twice."""
    only_apache(broker, NO_METADATA)
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 10))
    mine, other = KeptStore(), KeptStore()
    with Ingest(options, mine, owner="a") as ingest:
        ingest.until(lambda: len(mine.texts) == 10)
    send(broker, topic, *numbered(10, 20))
    with Ingest(options, other, owner="b") as ingest:
        ingest.until(lambda: len(other.texts) == 10)
    send(broker, topic, *numbered(20, 30))
    with Ingest(options, mine, owner="a") as ingest:
        ingest.until(lambda: len(mine.texts) == 20)
    assert other.texts == words(numbered(10, 20))
    assert mine.texts == words(numbered(0, 10) + numbered(20, 30))
    (gap,) = mine.gaps
    assert (gap.first, gap.last, gap.reason) == (10, 19, GapReason.STORED_ELSEWHERE)


def test_static_membership_outlives_a_restart(broker: Broker) -> None:
    """A replica that comes back under its name has its partitions at once, without a rebalance of the others."""
    topic = make_topic(broker)
    options = settings(broker, topic, group_instance_id="replica-0")
    send(broker, topic, b"one")
    store = KeptStore()

    def until_there_are(count: int) -> None:
        with Ingest(options, store) as ingest:
            ingest.until(lambda: len(store.texts) == count)

    until_there_are(1)
    send(broker, topic, b"another")
    until_there_are(2)


def test_a_taken_membership_is_told(broker: Broker) -> None:
    """Two replicas under one name: the first one ends with what to do about it."""
    only_apache(broker, "the embedded broker lets both in")
    topic = make_topic(broker)
    options = settings(broker, topic, group_instance_id="replica-0")
    with Ingest(options) as first:
        first.until(first.source.assignment)
        with Ingest(options) as second:
            second.until(second.source.assignment)
            with pytest.raises(MembershipTaken, match="group_instance_id"):
                first.turns(20)


def test_what_retention_took_is_a_gap(broker: Broker) -> None:
    """Offsets deleted before they were read are counted; reading goes on at what there is."""
    only_apache(broker, NO_RETENTION)
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 10))
    store = KeptStore()
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 10)
    send(broker, topic, *numbered(10, 30))
    with admin(broker) as client:
        client.delete_records({TopicPartition(topic, 0): 25})
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 15)
        assert ingest.metric("riverkeep_missing_offsets_total", topic=topic, reason="retention") == 15
    (gap,) = store.gaps
    assert (gap.first, gap.last, gap.reason) == (10, 24, GapReason.RETENTION)
    assert store.texts == words(numbered(0, 10) + numbered(25, 30))


def test_retention_may_overtake_a_reader_that_is_paused(broker: Broker) -> None:
    """The same while it runs."""
    only_apache(broker, NO_RETENTION)
    topic = make_topic(broker)
    with Ingest(settings(broker, topic)) as ingest:
        send(broker, topic, b"first")
        ingest.until(lambda: ingest.store.texts)
        ingest.source.pause_all()
        ingest.turns(0.5)
        send(broker, topic, *numbered(0, 20))
        with admin(broker) as client:
            client.delete_records({TopicPartition(topic, 0): 16})
        ingest.source.resume_all()
        ingest.until(lambda: len(ingest.store.texts) >= 6)
        # A fetch that was under way when the pause began may have brought some before they were deleted.
        lost = sum(gap.last - gap.first + 1 for gap in ingest.store.gaps)
        assert lost + len(ingest.store.texts) == 21


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_a_topic_made_anew_is_read_from_its_start(broker: Broker, longer: bool) -> None:
    """Under another incarnation, whether the new one is shorter than the stored offset or longer."""
    topic = make_topic(broker)
    options = settings(broker, topic)
    store = KeptStore()
    send(broker, topic, *numbered(0, 10))
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 10)
    anew = numbered(0, 30 if longer else 3, "anew")
    remake(broker, topic)
    send(broker, topic, *anew)
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 10 + len(anew))
    assert store.texts == words(numbered(0, 10) + anew)
    assert len({document.partition.incarnation for document in store.documents}) == 2


def test_a_topic_made_anew_is_noticed_while_it_is_read(broker: Broker) -> None:
    """Without a restart."""
    topic = make_topic(broker)
    with Ingest(settings(broker, topic)) as ingest:
        send(broker, topic, *numbered(0, 10))
        ingest.until(lambda: len(ingest.store.texts) == 10)
        remake(broker, topic)
        send(broker, topic, *numbered(0, 4, "anew"))
        ingest.until(lambda: len(ingest.store.texts) == 14)
        assert ingest.store.texts[10:] == words(numbered(0, 4, "anew"))
        assert ingest.metric("riverkeep_partitions_made_anew_total", topic=topic) == 1


def remake(broker: Broker, topic: str) -> None:
    """Delete a topic and make it anew."""
    with admin(broker) as client:
        client.delete_topics([topic])

    def made() -> bool:
        try:
            make_topic(broker, name=topic)
        except TopicAlreadyExistsError:
            # The embedded broker makes it by itself as soon as a consumer asks for it.
            return broker.name == "embedded"
        return True

    wait_until(made, what="the topic's deletion")


def test_a_stored_offset_beyond_the_end_means_a_log_that_was_cut(broker: Broker) -> None:
    """The same topic id, fewer records than were stored: read from its beginning, under another incarnation."""
    topic = make_topic(broker)
    options = settings(broker, topic)
    send(broker, topic, *numbered(0, 5))
    probe = KeptStore()
    with Ingest(options, probe) as ingest:
        ingest.until(lambda: len(probe.texts) == 5)
    ((name, number, incarnation),) = probe.offsets
    store = KeptStore(offsets={(name, number, incarnation): 1000})
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 5)
        assert ingest.metric("riverkeep_partitions_made_anew_total", topic=topic) == 1
    assert {document.partition for document in store.documents} == {Partition(topic, 0, f"{incarnation}+1")}
    send(broker, topic, b"more")
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == 6)
        ingest.turns(1)
        assert ingest.metric("riverkeep_partitions_made_anew_total", topic=topic) == 0
    assert store.texts == [*words(numbered(0, 5)), "more"]


def test_aborted_records_never_come_and_are_no_loss(broker: Broker) -> None:
    """Holes that transactions leave are not counted as gaps."""
    topic = make_topic(broker)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=f"t-{uuid4().hex[:6]}")
    producer.init_transactions()
    for value, keep in ((b"one", True), (b"never", False), (b"two", True)):
        producer.begin_transaction()
        producer.send(topic, value=value, partition=0)
        if keep:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    with Ingest(settings(broker, topic)) as ingest:
        ingest.until(lambda: len(ingest.store.texts) == 2)
        ingest.until(lambda: list(ingest.source.lag().values()) == [0])
        assert ingest.store.texts == ["one", "two"]
        assert not ingest.store.gaps


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


def test_a_flooded_partition_is_tried_again_in_time(broker: Broker) -> None:
    """When the settings say so, no person is needed."""
    topic = make_topic(broker)
    topics = (TopicSettings(name=topic),)
    budget = {"min_dead_letters": 5, "pause_seconds": 60}
    now = [1000.0]
    options = settings(broker, topics=topics, budget=budget)
    with Ingest(options, clock=lambda: now[0]) as ingest:
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
    with DeadLetterPublisher(options, StreamsMetrics(CollectorRegistry())) as publisher:
        assert publisher.publish(letters) == [7, 8]
    consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    found = wait_until(lambda: consumer.poll(timeout_ms=500), what="the dead letters")
    consumer.close()
    records = next(iter(found.values()))
    assert [dict(record.headers)["__connect.errors.offset"] for record in records] == [b"7", b"8"]
    assert records[0].value == b"{"


def test_dead_letters_wait_when_their_topic_takes_none() -> None:
    """Nothing is told as published that no broker acknowledged."""
    options = StreamsSettings(
        bootstrap_servers=("127.0.0.1:1",), dead_letter_topic="dead", connect_seconds=0.5, group_id="g"
    )
    letter = DeadLetter(Partition("news", 0), 1, Reason.NOT_JSON, "at 1", None, b"{", 1, 5.0)
    with DeadLetterPublisher(options, StreamsMetrics(CollectorRegistry())) as publisher:
        assert publisher.publish([(1, letter)], timeout_s=1.0) == []
