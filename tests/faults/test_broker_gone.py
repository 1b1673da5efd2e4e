"""The broker is away at the start, goes away, hangs, comes back: nothing is lost, nothing comes twice."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from kafka.errors import CoordinatorLoadInProgressError
from structlog.testing import capture_logs

from streams.chunk import Chunk
from streams.kafka.assignment import Doubt
from streams.kafka.consumer import Consumer
from tests.brokers import Embedded, free_port, make_topic, running, send
from tests.streams_harness import Ingest, KeptStore, settings

PATIENCE_S = 15.0
"""Far more than a poll may take while the broker is away; a hang lasts for ever."""


def test_a_broker_that_is_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """Polls answer nothing and return; as soon as it is there, text comes."""
    broker = Embedded(free_port(), tmp_path)
    with Ingest(settings(broker, "news", connect_seconds=0.5)) as ingest:
        begun = time.monotonic()
        assert ingest.turn(0.1) is None
        assert ingest.turn(0.1) is None
        assert time.monotonic() - begun < PATIENCE_S
        assert ingest.metric("riverkeep_broker_connected") == 0
        assert not [thread.name for thread in threading.enumerate() if "kafka-io" in thread.name]
        try:
            broker.start()
            make_topic(broker, name="news")
            send(broker, "news", b"here at last")
            ingest.until(lambda: ingest.store.texts == ["here at last"])
            ingest.until(lambda: ingest.metric("riverkeep_broker_connected") == 1)
        finally:
            broker.stop()


@pytest.mark.slow
def test_a_broker_that_comes_back_goes_on_where_it_was() -> None:
    """Apache Kafka keeps its log: each record once, before, across and after."""
    with running("apache") as broker:
        topic = make_topic(broker)
        send(broker, topic, b"before")
        with Ingest(settings(broker, topic)) as ingest:
            ingest.until(lambda: ingest.store.texts == ["before"])
            broker.stop()
            stays_calm(ingest)
            ingest.until(lambda: ingest.metric("riverkeep_broker_connected") == 0)
            broker.start()
            send(broker, topic, b"after")
            ingest.until(lambda: ingest.store.texts == ["before", "after"])
            assert not ingest.store.gaps


@pytest.mark.slow
def test_a_broker_that_forgot_everything_is_read_anew() -> None:
    """The embedded broker comes back empty: its topic is another one under the old name."""
    with running("embedded") as broker:
        topic = make_topic(broker)
        send(broker, topic, b"one", b"two", b"three")
        with Ingest(settings(broker, topic)) as ingest:
            ingest.until(lambda: len(ingest.store.texts) == 3)
            broker.stop()
            stays_calm(ingest)
            ingest.until(lambda: ingest.metric("riverkeep_commit_errors_total") > 0)
            broker.start()
            make_topic(broker, name=topic)
            send(broker, topic, b"anew")
            ingest.until(lambda: ingest.store.texts == ["one", "two", "three", "anew"])


def test_a_broker_that_hangs_holds_up_no_poll(tmp_path: Path) -> None:
    """Stopped in the middle of everything; polls return in time, and when it wakes text comes."""
    broker = Embedded(free_port(), tmp_path)
    broker.start()
    assert broker.process is not None
    try:
        topic = make_topic(broker)
        send(broker, topic, b"before")
        with Ingest(settings(broker, topic)) as ingest:
            ingest.until(lambda: ingest.store.texts == ["before"])
            os.kill(broker.process.pid, signal.SIGSTOP)
            stays_calm(ingest)
            os.kill(broker.process.pid, signal.SIGCONT)
            send(broker, topic, b"after")
            ingest.until(lambda: ingest.store.texts == ["before", "after"])
    finally:
        broker.stop()


@pytest.mark.slow
def test_a_broker_that_is_lost_is_told_of_once_and_so_is_its_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning with the remedy, one line for commits that fail, the lag unknown meanwhile; then how long it was."""
    monkeypatch.setattr("streams.kafka.source.AWAY_SECONDS", 1.0)
    monkeypatch.setattr("streams.kafka.source.COMMIT_SECONDS", 0.5)
    port, lag = free_port(), "riverkeep_consumer_lag_records"
    broker, again = Embedded(port, tmp_path), Embedded(port, tmp_path)
    broker.start()
    try:
        make_topic(broker, name="news")
        send(broker, "news", b"before")
        with capture_logs() as logs, Ingest(settings(broker, "news")) as ingest:
            ingest.until(lambda: ingest.store.texts == ["before"])
            known = {"topic": "news", "partition": "0"}
            ingest.until(lambda: ingest.registry.get_sample_value(lag, known) == 0)
            broker.stop()
            ingest.until(lambda: ingest.metric("riverkeep_commit_errors_total") > 2)
            ingest.until(lambda: ingest.source.trouble)
            assert ingest.registry.get_sample_value(lag, known) is None
            assert ingest.source.lag() == {}
            assert ingest.source.assignment()
            again.start()
            ingest.until(lambda: not ingest.source.trouble)
        (lost,) = [line for line in logs if line["event"] == "broker_not_reached"]
        assert lost["log_level"] == "warning"
        assert "bootstrap_servers" in lost["remedy"]
        assert [line["away_seconds"] > 0 for line in logs if "away_seconds" in line] == [True, True]
        assert len([line for line in logs if line["event"] == "group_commit_failed"]) == 1
    finally:
        broker.stop()
        again.stop()


def test_a_poll_that_fails_is_counted_and_the_next_one_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the error's name: what the broker says now and then is no reason to end."""
    poll, failures = Consumer.poll, [CoordinatorLoadInProgressError()]

    def failing(consumer: Consumer, timeout_s: float) -> Chunk | None:
        if failures:
            raise failures.pop()
        return poll(consumer, timeout_s)

    with running("embedded") as broker:
        topic = make_topic(broker)
        send(broker, topic, b"all the same")
        with Ingest(settings(broker, topic)) as ingest:
            monkeypatch.setattr(Consumer, "poll", failing)
            ingest.until(lambda: ingest.store.texts == ["all the same"])
            assert ingest.metric("riverkeep_poll_errors_total", error="CoordinatorLoadInProgressError") == 1


@pytest.mark.slow
def test_a_broker_that_hangs_is_asked_once_a_poll_however_many_positions_are_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The questions' time-outs do not add up to a loop that is stuck, and when it wakes all partitions are read."""
    broker, asked, ask = Embedded(free_port(), tmp_path), [0], Consumer.refresh_topics

    def counted(consumer: Consumer) -> None:
        asked[0] += 1
        ask(consumer)

    broker.start()
    assert broker.process is not None
    try:
        topic = make_topic(broker, partitions=40)
        with Ingest(settings(broker, topic)) as ingest:
            ingest.until(lambda: len(ingest.source.assignment()) == 40)
            os.kill(broker.process.pid, signal.SIGSTOP)
            monkeypatch.setattr(Consumer, "refresh_topics", counted)
            assignment = ingest.source._assignment
            assignment.doubt(assignment.partitions(), Doubt.OUT_OF_RANGE)
            for polls in (1, 2):
                ingest.turn()
                assert asked == [polls]
            os.kill(broker.process.pid, signal.SIGCONT)
            send(broker, topic, b"after", partition=39)
            ingest.until(lambda: ingest.store.texts == ["after"] and not assignment.unsettled())
    finally:
        broker.stop()


def test_leaving_a_broker_that_is_gone_takes_no_longer_than_told(tmp_path: Path) -> None:
    """A shutdown does not wait for a broker that does not answer."""
    broker = Embedded(free_port(), tmp_path)
    broker.start()
    topic = make_topic(broker)
    send(broker, topic, b"before")
    store = KeptStore()
    with Ingest(settings(broker, topic), store) as ingest:
        ingest.until(lambda: store.texts == ["before"])
        broker.stop()
        begun = time.monotonic()
        ingest.source.close(timeout_s=2.0)
        assert time.monotonic() - begun < PATIENCE_S


def stays_calm(ingest: Ingest) -> None:
    """Poll on for some seconds: each poll answers nothing and returns."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        begun = time.monotonic()
        ingest.turn()
        assert time.monotonic() - begun < PATIENCE_S
