"""What brokers do to their logs: retention, topics made anew, logs that were cut, aborted transactions."""

from uuid import uuid4

import pytest
from kafka import KafkaProducer
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import TopicPartition

from streams.document import GapReason, Partition
from tests.brokers import CLOSING, Broker, admin, make_topic, send
from tests.harness import wait_until
from tests.streams_harness import Ingest, KeptStore, numbered, only_apache, settings, words

NO_RETENTION = "the embedded broker deletes no records"


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
    """Under another incarnation, counted once, whether the new one is shorter than the stored offset or longer."""
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
        assert ingest.metric("riverkeep_partitions_made_anew_total", topic=topic) == 1
    with Ingest(options, store) as ingest:
        ingest.until(ingest.source.assignment)
        assert ingest.metric("riverkeep_partitions_made_anew_total", topic=topic) == 0
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
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=f"t-{uuid4().hex[:6]}", **CLOSING)
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
