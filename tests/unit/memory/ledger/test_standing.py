"""Where the ledger stands."""

import itertools

from memory.ledger.states import RoundState
from memory.store import Store
from tests.unit.memory.helpers import NOW, Stream, accept, begin, judge, refuse, text


def feed(store: Store, stream: Stream) -> None:
    """Enough for another round."""
    store.append(stream.of([text(stream.offset + n) for n in range(60)]))


def test_before_the_first_round_the_base_is_what_was_accepted_last(store: Store) -> None:
    """A service whose rounds are all refused has a model as old as its installation."""
    standing = store.rounds.standing()
    assert (standing.serving, standing.rounds_begun, standing.ended) == (0, 0, {})
    assert standing.accepted_at == NOW


def test_each_outcome_has_the_time_of_its_latest_round(store: Store, stream: Stream) -> None:
    """Rounds that are not over have none."""
    feed(store, stream)
    refuse(store, begin(store))
    store.file.clock = lambda: NOW + 50
    refuse(store, begin(store))
    feed(store, stream)
    store.file.clock = lambda: NOW + 70
    accept(store, begin(store))
    feed(store, stream)
    begin(store)
    standing = store.rounds.standing()
    assert standing.ended == {RoundState.REFUSED: NOW + 50, RoundState.ACCEPTED: NOW + 70}
    assert standing.accepted_at == NOW + 70


def test_whatever_happens_in_the_ledger_it_stands_otherwise(store: Store, stream: Stream) -> None:
    """Rounds that begin and end, a rollback, a person's word: each shows."""
    ticks = itertools.count(NOW)
    store.file.clock = lambda: float(next(ticks))
    seen = [store.rounds.standing()]

    def moved() -> None:
        assert store.rounds.standing() not in seen
        seen.append(store.rounds.standing())

    for _ in range(2):
        feed(store, stream)
        draw = begin(store)
        moved()
        accept(store, draw)
        moved()
    store.generations.rollback()
    moved()
    feed(store, stream)
    waiting = begin(store)
    judge(store, waiting.number)
    store.rounds.hold(waiting.number, verdict={}, report={})
    moved()
    store.rounds.release(waiting.number)
    moved()
