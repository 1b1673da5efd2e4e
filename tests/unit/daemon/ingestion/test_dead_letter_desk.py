"""Dead letters on their way to their topic."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.ingestion.dead_letter_desk import DeadLetterDesk
from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from memory.settings import MemorySettings
from memory.store import Store
from streams.backoff import Backoff
from streams.document import Batch, DeadLetter, Partition, Reason
from tests.harness import wait_until

BAD = Partition("bad", 0)


class Broker:
    """Takes dead letters while it is up; notes what arrived."""

    def __init__(self) -> None:
        self.up = True
        self.arrived: list[int] = []

    @contextmanager
    def open(self) -> Iterator["Broker"]:
        """Enter as a publisher."""
        yield self

    def publish(self, letters: Iterable[tuple[int, DeadLetter]], timeout_s: float = 10.0) -> list[int]:
        """Acknowledge all, or nothing."""
        if not self.up:
            return []
        given = list(letters)
        self.arrived += [letter.offset for _, letter in given]
        return [number for number, _ in given]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store whose quarantine holds ten dead letters."""
    with Store.open(tmp_path / "db", MemorySettings(quarantine_rows=10)) as opened:
        yield opened


def quarantine(store: Store, first: int, count: int) -> None:
    """Dead letters arrive."""
    letters = tuple(
        DeadLetter(BAD, offset, Reason.NOT_JSON, "no JSON", None, b"{", 1, 0.0)
        for offset in range(first, first + count)
    )
    store.append(Batch((), letters, (), {BAD: first + count}), keep_unpublished=True)


@contextmanager
def desk(store: Store, broker: Broker) -> Iterator[Part]:
    """A desk at work."""
    part = Part("dead_letters", DeadLetterDesk(store, broker.open).run, backoff=Backoff(0.01, 0.01))
    shutdown = Shutdown(grace_seconds=10, round_grace_seconds=0)
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        yield part


def test_each_letter_is_sent_once_and_marked(store: Store) -> None:
    """What was acknowledged is not sent again."""
    broker = Broker()
    quarantine(store, 0, 3)
    with desk(store, broker):
        wait_until(lambda: not store.quarantine.unpublished())
        quarantine(store, 3, 2)
        wait_until(lambda: not store.quarantine.unpublished())
    assert broker.arrived == [0, 1, 2, 3, 4]
    assert len(store.quarantine.dead_letters()) == 5


def test_a_broker_that_is_away_delays_and_is_seen(store: Store) -> None:
    """Nothing is marked that did not arrive; the part says what waits, and recovers."""
    broker = Broker()
    broker.up = False
    quarantine(store, 0, 3)
    with desk(store, broker) as part:
        wait_until(lambda: part.health().state is State.BROKEN)
        assert "3 dead letters were not acknowledged" in part.health().detail
        assert len(store.quarantine.unpublished()) == 3
        broker.up = True
        wait_until(lambda: part.health().state is State.RUNNING)
    assert broker.arrived == [0, 1, 2]


def test_published_letters_make_room_when_the_quarantine_is_full(store: Store) -> None:
    """They are in their topic; the stream goes on by itself."""
    quarantine(store, 0, 15)
    assert store.quarantine.is_full()
    with desk(store, Broker()):
        wait_until(lambda: not store.quarantine.is_full())
        wait_until(lambda: not store.quarantine.unpublished())
    quarantine(store, 15, 1)
    assert [letter.offset for letter in store.quarantine.dead_letters()] == list(range(6, 16))
