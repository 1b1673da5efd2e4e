"""How rounds end, and what stays known of them."""

from pathlib import Path

import pytest

from memory.errors import UnknownGeneration, UnknownRound, WrongState
from memory.ledger.records import GenerationState
from memory.ledger.states import RoundState
from memory.samples.records import Role
from memory.store import Store
from tests.unit.memory.helpers import (
    NOW,
    Stream,
    accept,
    begin,
    column,
    judge,
    open_store,
    refuse,
    round_of,
    text,
    value,
)

TEXTS = [text(n) for n in range(200)]


def test_an_accepted_round_moves_everything_at_once(store: Store, stream: Stream) -> None:
    """Round, generation, serving pointer, samples, slices, scores."""
    store.append(stream.of(TEXTS))
    draw = begin(store)
    generation = accept(store, draw, report={"steps": 60})
    line, accepted = store.rounds.read(1), store.generations.read(generation)
    assert (line.state, line.generation, line.ended_at, line.report) == (
        RoundState.ACCEPTED,
        generation,
        NOW,
        {"steps": 60},
    )
    assert (accepted.state, accepted.parent, accepted.round) == (GenerationState.ACCEPTED, 0, 1)
    assert store.generations.serving() == generation
    assert store.counts().fresh_samples == 0
    assert accepted.scores.keys() == {part.name for part in draw.slices}
    assert len(store.generations.document_scores(generation)) == sum(len(part.samples) for part in draw.slices)


def test_acceptance_that_fails_late_changes_nothing(
    store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction: the round can be judged again."""
    store.append(stream.of(TEXTS))
    draw = begin(store)
    before = store.counts()
    with monkeypatch.context() as patch:
        patch.setattr("memory.samples.slices.settle", failing)
        with pytest.raises(RuntimeError):
            accept(store, draw)
    assert store.counts() == before
    assert (store.generations.serving(), store.rounds.read(1).state) == (0, RoundState.JUDGED)
    assert store.generations.read(1).state is GenerationState.RESERVED
    assert store.generations.score_matrix() == []


def failing(*_: object) -> None:
    """Stands for any fault late in a transaction."""
    raise RuntimeError("late")


def test_a_round_is_accepted_once(store: Store, stream: Stream) -> None:
    """A second acceptance is an error, not a second settling."""
    draw = round_of(store, stream, TEXTS)
    with pytest.raises(WrongState, match="accepted already"):
        store.rounds.accept(draw.number, generation=1, digest="", scores={}, verdict={}, report={})


def test_an_unjudged_round_is_not_accepted(store: Store, stream: Stream) -> None:
    """The ledger keeps the order of steps."""
    store.append(stream.of(TEXTS))
    draw = begin(store)
    generation = store.generations.reserve(draw.number)
    with pytest.raises(WrongState, match="Round 1 is drawn"):
        store.rounds.accept(1, generation=generation, digest="", scores={}, verdict={}, report={})


def test_only_a_generation_reserved_by_the_round_is_accepted(store: Store, stream: Stream) -> None:
    """Neither the base, nor another round's, nor one that does not exist."""
    store.append(stream.of(TEXTS))
    judge(store, begin(store).number)
    for number, error in ((0, WrongState), (7, UnknownGeneration)):
        with pytest.raises(error):
            store.rounds.accept(1, generation=number, digest="", scores={}, verdict={}, report={})


def test_a_candidate_whose_parent_was_rolled_back_is_not_accepted(store: Store, stream: Stream) -> None:
    """It was compared with something that does not serve any more, and carries on what was rolled back."""
    round_of(store, stream, TEXTS)
    store.append(stream.of([text(n) for n in range(300, 400)]))
    draw = begin(store)
    store.generations.rollback()
    with pytest.raises(WrongState, match="does not serve any more"):
        accept(store, draw)
    assert store.generations.serving() == 0


def test_a_refused_round_loses_nothing(store: Store, stream: Stream) -> None:
    """Its fresh text is drawn again, with what came since."""
    store.append(stream.of(TEXTS))
    first = begin(store)
    assert refuse(store, first) == 0
    line = store.rounds.read(1)
    assert (line.state, line.detail, line.verdict) == (RoundState.REFUSED, "worse", {"accepted": False})
    store.append(stream.of([text(n) for n in range(300, 340)]))
    second = begin(store)
    ids = [{one.id for one in draw.fresh + draw.early_stop} for draw in (first, second)]
    assert ids[0] < ids[1]
    assert store.generations.serving() == 0


@pytest.mark.parametrize("state", [RoundState.FAILED, RoundState.ABANDONED])
def test_a_round_that_broke_off_loses_nothing(store: Store, stream: Stream, state: RoundState) -> None:
    """Its text stays fresh, it is no refusal, and the next round may begin."""
    store.append(stream.of(TEXTS))
    first = begin(store)
    store.rounds.advance(1, RoundState.TRAINING)
    assert [line.number for line in store.rounds.unfinished()] == [1]
    store.rounds.advance(1, state, detail="killed")
    assert store.rounds.unfinished() == []
    assert (store.rounds.read(1).detail, store.rounds.read(1).ended_at) == ("killed", NOW)
    assert value(store, "SELECT count(*) FROM refusals") == 0
    second = begin(store)
    assert {one.id for one in second.fresh + second.early_stop} == {one.id for one in first.fresh + first.early_stop}


def test_a_failed_round_says_why(store: Store, stream: Stream) -> None:
    """The reason is in the ledger."""
    store.append(stream.of(TEXTS))
    begin(store)
    store.rounds.fail(1, reason="out of memory twice")
    assert store.rounds.read(1).detail == "out of memory twice"


def test_steps_out_of_order_are_refused(store: Store, stream: Stream) -> None:
    """And outcomes have their own methods."""
    store.append(stream.of(TEXTS))
    begin(store)
    with pytest.raises(WrongState, match="cannot become judged"):
        store.rounds.advance(1, RoundState.JUDGED)
    with pytest.raises(WrongState, match="its own method"):
        store.rounds.advance(1, RoundState.ACCEPTED)
    with pytest.raises(UnknownRound, match="no round 5"):
        store.rounds.advance(5, RoundState.TRAINING)


def test_rounds_are_listed_newest_first(store: Store, stream: Stream) -> None:
    """Page by page, and counted by state."""
    for number in range(4):
        round_of(store, stream, [text(n) for n in range(number * 50, number * 50 + 50)])
    assert [line.number for line in store.rounds.listed(limit=2)] == [4, 3]
    assert [line.number for line in store.rounds.listed(limit=2, offset=2)] == [2, 1]
    assert store.rounds.by_state()["accepted"] == 4
    assert store.rounds.by_state()["refused"] == 0


def test_what_made_a_round_stays_known_when_the_text_is_gone(tmp_path: Path, stream: Stream) -> None:
    """Ids, partitions, offsets and hashed keys outlive eviction from replay."""
    with open_store(tmp_path / "a.db", replay_samples=0) as store:
        store.append(stream.of(TEXTS, keys=[f"user {n % 50}" for n in range(200)]))
        draw = begin(store)
        accept(store, draw)
        assert value(store, "SELECT count(*) FROM samples WHERE role != ?", Role.HOLDOUT) == 0
        known = {one.sample_id: one for one in store.rounds.samples(1)}
        assert {n for n, one in known.items() if one.part == "fresh"} == {one.id for one in draw.fresh}
        assert {n for n, one in known.items() if one.part == "slice"} == {
            one.id for part in draw.slices for one in part.samples
        }
        assert all(one.partition == stream.partition and one.key_hash is not None for one in known.values())


def test_lineage_is_bounded(tmp_path: Path, stream: Stream) -> None:
    """Beyond the retention only the ledger's line stays."""
    with open_store(tmp_path / "a.db", lineage_rounds=2) as store:
        for number in range(4):
            round_of(store, stream, [text(n) for n in range(number * 50, number * 50 + 50)])
        assert set(column(store, "SELECT DISTINCT round FROM round_samples")) == {3, 4}
        assert store.rounds.read(1).fresh_samples > 0
        assert store.rounds.samples(1) == []


def test_the_prequential_history_tells_every_round_that_measured_it(store: Store, stream: Stream) -> None:
    """Newest first, with the round's state, so that only good text sets the bounds."""
    report = {"prequential": {"mean_nll": 3.5, "tokens": 70, "by_source": {"news": {"mean_nll": 3.5, "tokens": 70}}}}
    store.append(stream.of(TEXTS))
    accept(store, begin(store), report=report)
    store.append(stream.of([text(n) for n in range(300, 340)]))
    judge(store, begin(store).number)
    store.rounds.hold(2, verdict={}, report={"prequential": {"mean_nll": 9.0, "tokens": 5}})
    history = store.rounds.prequential_history()
    assert [(one.round, one.state, one.mean_nll) for one in history] == [
        (2, RoundState.WAITING, 9.0),
        (1, RoundState.ACCEPTED, 3.5),
    ]
    assert history[1].by_source == {"news": (3.5, 70)}
    assert [one.round for one in store.rounds.prequential_history(limit=1)] == [2]


def test_a_loss_that_is_no_number_is_left_out_of_the_history(store: Store, stream: Stream) -> None:
    """One diverged measurement must not hide all others."""
    nan = float("nan")
    for number, told in enumerate(
        (
            {"mean_nll": nan, "tokens": 1},
            {"mean_nll": 2.0, "tokens": 1, "by_source": {"news": {"mean_nll": nan, "tokens": 1}}},
        )
    ):
        store.append(stream.of([text(n) for n in range(number * 50, number * 50 + 50)]))
        accept(store, begin(store), report={"prequential": told})
    assert [(one.round, one.by_source) for one in store.rounds.prequential_history()] == [(2, {})]
