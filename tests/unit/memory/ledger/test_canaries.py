"""A watched generation in the ledger: accepted, serving once it is promoted, never by itself after it went back."""

import pytest

from memory.errors import WrongState
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import GenerationState
from memory.ledger.states import RoundState
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, round_of, text

PLAN = CanaryPlan("canary", 0.25)


def watch(store: Store, stream: Stream) -> int:
    """A round whose generation is watched."""
    at = stream.offset
    store.append(stream.of([text(n) for n in range(at, at + 60)]))
    return accept(store, begin(store), canary=PLAN)


@pytest.fixture
def served(store: Store, stream: Stream) -> Store:
    """A store whose generation 1 serves."""
    round_of(store, stream, [text(n) for n in range(60)])
    return store


def state(store: Store, number: int) -> GenerationState:
    """Of a generation."""
    return store.generations.read(number).state


def test_an_accepted_round_begins_a_watch_and_what_served_serves_on(served: Store, stream: Stream) -> None:
    """The round is over, its text has settled, and its generation stands beside the serving one."""
    number = watch(served, stream)
    canary = served.canaries.watched()
    assert canary is not None
    assert (canary.generation, canary.beside, canary.mode, canary.share) == (number, 1, "canary", 0.25)
    assert (canary.outcome, canary.ended_at, canary.ended_by) == ("watched", None, "")
    assert served.generations.serving() == 1
    assert state(served, number) is GenerationState.CANARY
    assert served.rounds.read(canary.round).state is RoundState.ACCEPTED
    assert served.counts().fresh_samples == 0
    assert served.canaries.of_round(canary.round) == canary
    assert served.canaries.of_round(1) is None


def test_no_round_begins_while_a_generation_is_watched(served: Store, stream: Stream) -> None:
    """What it would start from is not decided yet."""
    watch(served, stream)
    served.append(stream.of([text(n) for n in range(500, 560)]))
    with pytest.raises(WrongState, match="Generation 2 is watched in traffic"):
        begin(served)
    served.canaries.promote(2, by="the test")
    assert begin(served).parent_generation == 2


def test_a_promoted_generation_serves(served: Store, stream: Stream) -> None:
    """Once, with the verdict and whose word it was."""
    watch(served, stream)
    served.canaries.note(2, {"watched_s": 3.0}, {"sentence": "so far so good"})
    served.canaries.promote(2, {"sentence": "proven"}, by="its watch")
    assert served.generations.serving() == 2
    assert state(served, 2) is GenerationState.ACCEPTED
    assert served.canaries.watched() is None
    ended = served.canaries.of_round(2)
    assert ended is not None
    assert (ended.outcome, ended.ended_by) == ("promoted", "its watch")
    assert (ended.verdict, ended.watch) == ({"sentence": "proven"}, {"watched_s": 3.0})
    assert ended.ended_at is not None
    with pytest.raises(WrongState, match="not watched"):
        served.canaries.promote(2, by="the test")
    # What comes late changes nothing.
    served.canaries.note(2, {}, {})
    assert served.canaries.of_round(2) == ended


def test_one_that_went_back_is_flagged_and_what_served_serves_on(served: Store, stream: Stream) -> None:
    """And the next round starts from that."""
    watch(served, stream)
    served.canaries.roll_back(2, {"sentence": "worse"}, by="its watch")
    assert served.generations.serving() == 1
    assert state(served, 2) is GenerationState.ROLLED_BACK
    assert served.generations.rolled_back() == {2}
    served.append(stream.of([text(n) for n in range(500, 560)]))
    draw = begin(served)
    assert draw.parent_generation == 1
    assert accept(served, draw) == 3


def test_a_persons_rollback_ends_the_watch(served: Store, stream: Stream) -> None:
    """With no generation named it is the canary that is gone back from; naming it lets it serve."""
    watch(served, stream)
    assert served.generations.rollback(by="a person") == (2, 1)
    assert (state(served, 1), state(served, 2)) == (GenerationState.ACCEPTED, GenerationState.ROLLED_BACK)
    last = served.generations.last_rollback()
    assert last is not None
    assert (last.left, last.to, last.by) == (2, 1, "a person")
    watch(served, stream)
    assert served.generations.rollback(3, by="a person") == (1, 3)
    assert (served.generations.serving(), state(served, 1)) == (3, GenerationState.ACCEPTED)
    watch(served, stream)
    assert served.generations.rollback(0) == (3, 0)
    assert served.canaries.watched() is None
    assert (state(served, 3), state(served, 4)) == (GenerationState.ROLLED_BACK, GenerationState.ROLLED_BACK)


def test_a_rollback_that_is_refused_leaves_the_watch_alone(served: Store, stream: Stream) -> None:
    """All or nothing."""
    watch(served, stream)
    served.generations.retire([0])
    with pytest.raises(WrongState, match="retired"):
        served.generations.rollback(0)
    watched = served.canaries.watched()
    assert watched is not None
    assert watched.generation == 2


def test_a_watched_generation_is_not_retired(served: Store, stream: Stream) -> None:
    """Its files are needed."""
    watch(served, stream)
    with pytest.raises(WrongState, match="Generation 2 is watched"):
        served.generations.retire([2])
