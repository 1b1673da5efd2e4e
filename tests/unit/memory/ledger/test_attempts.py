"""Rounds in few words."""

from memory.ledger.states import RoundState
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, refuse, text


def test_each_tells_what_it_began_from_and_what_came_of_it(store: Store, stream: Stream) -> None:
    """The same as the rounds themselves, without what is long; the latest first, bounded."""
    store.generations.register_base(digest="base", source_path="model")
    for number in range(3):
        store.append(stream.of([text(100 * number + each) for each in range(20)]))
        draw = begin(store, number)
        if number == 1:
            refuse(store, draw)
        else:
            accept(store, draw)
    found = store.rounds.attempts(10)
    assert [(each.number, each.state, each.parent, each.generation) for each in found] == [
        (3, RoundState.ACCEPTED, 1, 2),
        (2, RoundState.REFUSED, 1, None),
        (1, RoundState.ACCEPTED, 0, 1),
    ]
    for each in found:
        whole = store.rounds.read(each.number)
        assert (each.offsets, each.begun_at, each.ended_at) == (whole.offsets, whole.begun_at, whole.ended_at)
        assert each.offsets
    assert store.rounds.attempts(1) == found[:1]
