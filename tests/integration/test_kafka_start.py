"""Where a new memory begins under a group that was used before: a setting, and never unsaid.

On Apache Kafka alone: the embedded broker keeps no metadata of commits, and tells ends only as of the latest fetch.
"""

import pytest
from structlog.testing import capture_logs

from daemon.doctor import kafka
from streams.decoding.needs import TEXT_ALONE
from streams.document import GapReason
from tests.brokers import Broker, admin, make_topic, producing, send
from tests.harness import wait_until
from tests.streams_harness import Ingest, KeptStore, numbered, settings, words

READ_BEFORE, ALL = 30, 50


@pytest.fixture
def used(apache_broker: Broker) -> tuple[str, str]:
    """A topic with `ALL` records, and a group whose first state directory has read and lost `READ_BEFORE` of them."""
    topic = make_topic(apache_broker)
    options = settings(apache_broker, topic)
    send(apache_broker, topic, *numbered(0, READ_BEFORE))
    with Ingest(options) as lost:
        lost.until(lambda: len(lost.store.texts) == READ_BEFORE)
    send(apache_broker, topic, *numbered(READ_BEFORE, ALL))
    return topic, options.group_id


@pytest.mark.parametrize(("start", "first"), [("committed", READ_BEFORE), ("earliest", 0), ("latest", ALL)])
def test_a_new_memory_under_an_old_group_begins_where_the_settings_say(
    apache_broker: Broker, used: tuple[str, str], start: str, first: int
) -> None:
    """What it leaves out is told by the doctor beforehand, by the log at start, and kept with its offsets."""
    topic, group = used
    options = settings(apache_broker, topic, group_id=group, start=start)
    examined = {one.name: one for one in kafka.examine(options)}["first start"]
    with capture_logs() as told, Ingest(options) as ingest:
        ingest.until(ingest.source.assignment)
        ingest.until(lambda: ingest.store.offsets or start == "latest")
        send(apache_broker, topic, *numbered(ALL, ALL + 5))
        ingest.until(lambda: ingest.store.texts[-1:] == [f"text {ALL + 4}"])
        gaps = [(gap.first, gap.last, gap.reason) for gap in ingest.store.gaps]
        missing = ingest.metric("riverkeep_missing_offsets_total", topic=topic, reason="before_start")
    assert ingest.store.texts == words(numbered(first, ALL + 5))
    said = [line["records"] for line in told if line["event"] == "records_before_the_start_are_not_read"]
    assert (said, gaps) == (([first], [(0, first - 1, GapReason.BEFORE_START)]) if first else ([], []))
    assert missing == first
    assert examined.ok is (start != "committed")
    assert (f"the {first:,} records before it" in examined.detail) is (first > 0)


def test_a_memory_that_began_at_the_end_goes_on_there(apache_broker: Broker) -> None:
    """Stopped before any record came: what came meanwhile is read, for the place where it began was kept."""
    topic = make_topic(apache_broker)
    send(apache_broker, topic, *numbered(0, 9))
    options, store = settings(apache_broker, topic, start="latest"), KeptStore()
    with Ingest(options, store) as first:
        first.until(lambda: store.offsets)
    send(apache_broker, topic, *numbered(9, 12))
    with Ingest(options, store) as second:
        second.until(lambda: len(store.texts) == 3)
    assert store.texts == words(numbered(9, 12))


def test_an_empty_topic_is_begun_at_its_end_too(apache_broker: Broker) -> None:
    """Nothing is left out, and what comes while it is stopped is read."""
    topic = make_topic(apache_broker)
    options, store = settings(apache_broker, topic, start="latest"), KeptStore()
    with Ingest(options, store) as first:
        first.until(lambda: store.offsets)
    assert not store.gaps
    send(apache_broker, topic, b"one")
    with Ingest(options, store) as second:
        second.until(lambda: store.texts == ["one"])


def test_partitions_that_come_later_are_read_from_their_first_record(apache_broker: Broker) -> None:
    """They are new, whatever the settings say of a topic that was there before."""
    topic = make_topic(apache_broker)
    send(apache_broker, topic, b"old")
    with Ingest(settings(apache_broker, topic, start="latest", metadata_seconds=2)) as ingest:
        ingest.until(lambda: ingest.store.offsets)
        with admin(apache_broker) as client:
            client.create_partitions({topic: 2})
        with producing(apache_broker) as producer:
            wait_until(lambda: len(producer.partitions_for(topic) or ()) == 2, what="the new partition")
        send(apache_broker, topic, b"before it was found", partition=1)
        ingest.until(lambda: ingest.store.texts == ["before it was found"])


def test_a_replica_takes_over_where_the_other_stopped(apache_broker: Broker, used: tuple[str, str]) -> None:
    """Whatever a new memory begins with: the partition of a topic that it knows comes with the group's offset."""
    topic, group = used
    store = KeptStore(offsets={(topic, 7, "id"): 1})
    with Ingest(settings(apache_broker, topic, group_id=group, start="latest"), store) as ingest:
        ingest.until(lambda: len(store.texts) == ALL - READ_BEFORE)
    assert store.texts == words(numbered(READ_BEFORE, ALL))


def test_a_memory_that_knows_its_partitions_hears_nothing_of_a_start(
    apache_broker: Broker, used: tuple[str, str]
) -> None:
    """Neither from the doctor, nor by the log, whatever is set later."""
    topic, group = used
    options, store = settings(apache_broker, topic, group_id=group), KeptStore()
    with Ingest(options, store) as ingest:
        ingest.until(lambda: len(store.texts) == ALL - READ_BEFORE)
    later = settings(apache_broker, topic, group_id=group, start="latest")
    names = [one.name for one in kafka.examine(later, TEXT_ALONE, lambda name, _number: name == topic)]
    assert f"group {group}" in names
    assert "first start" not in names
    send(apache_broker, topic, b"more")
    with capture_logs() as told, Ingest(later, store) as ingest:
        ingest.until(lambda: store.texts[-1] == "more")
    assert len(store.gaps) == 1
    assert not [line for line in told if line["event"] == "records_before_the_start_are_not_read"]
