"""Consumer groups on real brokers: who reads what, and that nothing is read twice when it moves."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka.structs import TopicPartition

from streams.document import GapReason
from streams.errors import MembershipTaken
from tests.brokers import Broker, admin, make_topic, producing, send
from tests.streams_harness import Ingest, KeptStore, beside, numbered, only_apache, settings, words

NO_METADATA = "the embedded broker keeps no metadata of commits"


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


def _trickle(broker: Broker, topic: str, total: int) -> None:
    pause = threading.Event()
    with producing(broker) as producer:
        for n, value in enumerate(numbered(0, total)):
            producer.send(topic, value=value, partition=n % 4)
            if n % 100 == 99:
                pause.wait(0.2)


def test_replicas_may_read_different_topics(broker: Broker) -> None:
    """Each has its own, and the group comes to rest: it is not joined again and again."""
    mine, other = make_topic(broker), make_topic(broker)
    options = settings(broker, mine)
    send(broker, mine, b"mine")
    send(broker, other, b"other")
    with Ingest(options) as first:
        first.until(lambda: first.store.texts)
        with beside(Ingest(settings(broker, other, group_id=options.group_id))) as second:
            first.until(lambda: second.store.texts)
            first.until(at_rest(first, 5 * options.metadata_seconds))
            assert [partition.topic for partition in first.source.assignment()] == [mine]
            assert [partition.topic for partition in second.source.assignment()] == [other]


def at_rest(ingest: Ingest, seconds: float) -> Callable[[], bool]:
    """Whether nothing was assigned for so long: a few joins, as members come to know all topics, are no fault."""
    begun, joins = time.monotonic(), 0.0

    def rests() -> bool:
        nonlocal begun, joins
        joins, joins_before = ingest.metric("riverkeep_partitions_moved_total", event="assigned"), joins
        if joins != joins_before:
            begun = time.monotonic()
        return time.monotonic() - begun >= seconds

    return rests


def test_a_change_that_is_taken_back_costs_no_membership(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that starts knows some topics a moment later: the join that this began is ended, and none reads on."""
    topic = make_topic(broker, partitions=2)
    # The other joins at its next heartbeat, so that the leader's join takes longer than its poll.
    options = settings(broker, topic, heartbeat_seconds=1)
    store = KeptStore()
    with Ingest(options, store, owner="store") as leader:
        leader.until(lambda: len(leader.source.assignment()) == 2)
        with beside(Ingest(options, store, owner="store")) as other:

            def share() -> bool:
                return [len(each.source.assignment()) for each in (leader, other)] == [1, 1]

            leader.until(share)
            coordinator = inside(leader)
            known, coordinator._metadata_snapshot = coordinator._metadata_snapshot, {}
            with monkeypatch.context() as quick:
                quick.setattr("streams.kafka.consumer.JOIN_MS", 50)
                leader.turn(0.05)
            coordinator._metadata_snapshot = known
            leader.turns(2 * options.session_timeout_seconds)
            for number in (0, 1):
                send(broker, topic, *numbered(0, 10), partition=number)
            leader.until(lambda: share() and len(store.texts) == 20)


def inside(ingest: Ingest) -> Any:
    """kafka-python's part in the group."""
    consumer = ingest.source._consumer
    assert consumer is not None
    return consumer._consumer._coordinator


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
