"""Looks into Kafka that a daemon takes for others: of its own topics alone, and of a few people at once."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import Refused
from daemon.ingestion import peek as peeking
from daemon.ingestion.peek import AT_ONCE, KafkaLook, Peeks
from daemon.settings.tree import ModelSettings, Settings
from streams.kafka.peek import PeekedTopic, PeekPlace
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat, TopicSettings

SETTINGS = Settings(
    state_dir=Path("state"),
    model=ModelSettings(path=Path("model")),
    streams=StreamsSettings(topics=(TopicSettings(name="news"), TopicSettings(pattern=".*-log|__.*"))),
)


def place(topic: str = "news") -> PeekPlace:
    """The newest of a topic."""
    return PeekPlace(topic, None, None, 5)


def found(_: Settings, where: PeekPlace) -> KafkaLook:
    """Nothing."""
    return KafkaLook(where, PeekedTopic({}, (), 1, ""), (), TopicFormat(), is_read=True)


@pytest.mark.parametrize(("topic", "is_shown"), [("news", True), ("a-log", True), ("salaries", False), ("__x", False)])
def test_only_topics_that_are_read_are_shown(topic: str, is_shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's login may read more than who is let into the page; Kafka's own topics are nobody's text."""
    monkeypatch.setattr(peeking, "look", found)
    if is_shown:
        assert Peeks().look(SETTINGS, place(topic)).place.topic == topic
        return
    with pytest.raises(Refused, match=f"does not name {topic}.*`riverkeep peek`"):
        Peeks().look(SETTINGS, place(topic))


def test_one_too_many_is_told_so_at_once_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that ends, or fails, makes room for the next."""
    inside, go = threading.Semaphore(0), threading.Event()

    def slow(settings: Settings, where: PeekPlace) -> KafkaLook:
        inside.release()
        assert go.wait(30)
        if where.count == 1:
            raise Refused("no")
        return found(settings, where)

    monkeypatch.setattr(peeking, "look", slow)
    peeks, ended = Peeks(), []

    def ask(count: int) -> None:
        with suppress(Refused):
            peeks.look(SETTINGS, PeekPlace("news", None, None, count))
        ended.append(count)

    threads = [threading.Thread(target=ask, args=(count,)) for count in range(1, AT_ONCE + 1)]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=30)
    with pytest.raises(Refused, match="others look into Kafka at this moment"):
        peeks.look(SETTINGS, place())
    go.set()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == list(range(1, AT_ONCE + 1))
    for _ in range(AT_ONCE + 1):
        answer: Any = peeks.look(SETTINGS, place())
        assert answer.is_read
