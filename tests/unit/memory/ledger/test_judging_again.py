"""A round that judges again what an earlier one trained: its text by id, what is held out drawn anew."""

import pytest

from memory.errors import NotJudgedAgain
from memory.ledger.records import DrawSpec, RoundDraw, Trained
from memory.ledger.states import RoundState
from memory.samples.records import Role
from memory.store import Store
from tests.unit.memory.helpers import NOW, TOPIC, Stream, accept, begin, edited, judge, round_of, text, value

PART = ("fresh", "replay", "early_stop")


def again(store: Store, kept: int) -> RoundDraw:
    """Begin a round that judges `kept` again."""
    return store.rounds.begin_again(kept, trigger="test", now=NOW, judgeable=lambda *_: True)


def unproven(store: Store, draw: RoundDraw) -> None:
    """Refuse a round for want of evidence."""
    judge(store, draw.number)
    store.rounds.refuse(draw.number, verdict={"evidence": 9}, report={}, against_text=False)


@pytest.fixture
def kept(store: Store, stream: Stream) -> RoundDraw:
    """A round with replayed text that was refused for want of evidence, and text that came after it."""
    round_of(store, stream, [text(n) for n in range(200)])
    store.append(stream.of([text(n) for n in range(200, 400)]))
    draw = begin(store, seed=5)
    assert draw.replay
    unproven(store, draw)
    store.append(stream.of([text(n) for n in range(400, 600)]))
    return draw


def held(draw: RoundDraw) -> set[int]:
    """What a round is judged on."""
    return {sample.id for piece in draw.slices for sample in piece.samples}


def test_it_has_the_text_of_the_round_and_more_to_be_judged_on(store: Store, kept: RoundDraw) -> None:
    """Parent, seed and recipe too, whatever has come since."""
    draw = again(store, kept.number)
    assert [getattr(draw, part) for part in PART] == [getattr(kept, part) for part in PART]
    assert (draw.seed, draw.parent_generation, draw.offsets) == (kept.seed, kept.parent_generation, kept.offsets)
    assert held(kept) < held(draw)
    line, earlier = store.rounds.read(draw.number), store.rounds.read(kept.number)
    assert (line.state, line.trained_in, line.recipe) == (RoundState.DRAWN, kept.number, earlier.recipe)
    assert (line.fresh_samples, line.fresh_tokens) == (earlier.fresh_samples, earlier.fresh_tokens)
    parts = [{one.sample_id: one.part for one in store.rounds.samples(each.number)} for each in (draw, kept)]
    assert {id_: part for id_, part in parts[0].items() if part != "slice"} == {
        id_: part for id_, part in parts[1].items() if part != "slice"
    }
    assert {id_ for id_, part in parts[0].items() if part == "slice"} == held(draw)


def test_samples_count_what_they_counted_when_they_were_trained_on(store: Store, stream: Stream) -> None:
    """Whatever a round would let them count now."""
    store.append(stream.of([text(n) for n in range(200)]))
    draw = begin(store, spec=DrawSpec(early_stop_share=0.1, early_stop_documents=9, weights={TOPIC.topic: 3.0}))
    unproven(store, draw)
    judged = again(store, draw.number)
    assert [getattr(judged, part) for part in PART] == [getattr(draw, part) for part in PART]
    weights = {one.part: one.weight for one in store.rounds.samples(judged.number)}
    assert (weights["fresh"], weights["early_stop"]) == (3, 3)


def test_the_third_time_tells_of_the_round_that_trained(store: Store, kept: RoundDraw) -> None:
    """Not of the second, which only judged."""
    second = again(store, kept.number)
    unproven(store, second)
    assert store.rounds.read(again(store, second.number).number).trained_in == kept.number


def test_what_is_accepted_settles_what_was_trained_on_alone(store: Store, kept: RoundDraw) -> None:
    """Text that came since stays fresh, and what is held out of it stays newest."""
    fresh = value(store, "SELECT count(*) FROM samples WHERE role = ?", Role.FRESH)
    draw = again(store, kept.number)
    used = frozenset(sample.id for sample in draw.fresh)
    generation = accept(store, draw, trained=Trained(used))
    assert store.generations.serving() == generation
    assert store.generations.read(generation).round == draw.number
    assert value(store, "SELECT count(*) FROM samples WHERE role = ?", Role.FRESH) == fresh - len(used)
    assert any(piece.kind == "newest" for piece in begin(store, seed=9).slices)


def test_erased_text_is_not_judged_again(store: Store, stream: Stream) -> None:
    """Nor accepted therefore: what was trained on it goes with it. Nothing has begun."""
    keys = ["alice" if n % 20 == 0 else None for n in range(200)]
    store.append(stream.of([text(n) for n in range(200)], keys=keys))
    draw = begin(store)
    unproven(store, draw)
    assert draw.number in store.people.forget("alice").rounds
    with pytest.raises(NotJudgedAgain, match="erased"):
        again(store, draw.number)
    assert not store.rounds.unfinished()
    assert [round_.number for round_ in store.rounds.listed()] == [draw.number]


def test_text_that_was_set_aside_is_not_judged_again(store: Store, kept: RoundDraw) -> None:
    """A person has yet to say what becomes of it."""
    with store.file.database.write() as tx:
        tx.execute("UPDATE samples SET role = ? WHERE id = ?", (Role.ASIDE, kept.fresh[0].id))
    with pytest.raises(NotJudgedAgain, match="not fresh any more"):
        again(store, kept.number)


def test_another_parent_ends_it(store: Store, kept: RoundDraw) -> None:
    """Compared with what serves now, it would be judged by a step that nobody took."""
    store.generations.rollback(0)
    with pytest.raises(NotJudgedAgain, match="does not serve"):
        again(store, kept.number)


def test_held_out_text_that_comes_near_what_was_trained_on_is_left_out(
    store: Store, stream: Stream, kept: RoundDraw
) -> None:
    """It would measure what was learned by heart: here the trained text cannot give way any more."""
    copies = [edited(sample.text, seed) for seed, sample in enumerate(kept.fresh[:40])]
    first = value(store, "SELECT max(id) FROM samples")
    store.append(stream.of(copies))
    came = value(store, "SELECT count(*) FROM holdout WHERE sample > ?", first)
    assert came, "none of the copies was held out: nothing was proven"
    draw = again(store, kept.number)
    assert not {id_ for id_ in held(draw) if id_ > first}
    assert [sample.id for sample in draw.fresh] == [sample.id for sample in kept.fresh]


def test_what_cannot_be_judged_does_not_begin(store: Store, kept: RoundDraw) -> None:
    """Asked of the slices as they are drawn; their period stays open."""
    before = store.counts()
    with pytest.raises(NotJudgedAgain, match="too little is held out"):
        store.rounds.begin_again(kept.number, trigger="test", now=NOW, judgeable=lambda *_: False)
    assert store.counts() == before
    assert not store.rounds.unfinished()
