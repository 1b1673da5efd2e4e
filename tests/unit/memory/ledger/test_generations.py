"""The ledger of generations."""

from pathlib import Path

import pytest

from memory.errors import UnknownGeneration, WrongState
from memory.ledger.records import DocumentScore, GenerationState, SliceScore
from memory.ledger.restored import FoundGeneration
from memory.ledger.scorings import Scoring
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, open_store, refuse, round_of, text, with_anchor


def rounds(store: Store, stream: Stream, number: int) -> None:
    """So many accepted rounds."""
    for _ in range(number):
        at = stream.offset
        round_of(store, stream, [text(n) for n in range(at, at + 60)])


def states(store: Store) -> list[str]:
    """Of each generation, in order."""
    return [generation.state.value for generation in store.generations.listed()]


def test_the_base_is_generation_zero_and_serves(store: Store) -> None:
    """Registering the same again changes nothing; another model is refused."""
    store.generations.register_base(digest="base", source_path="/elsewhere")
    assert store.generations.serving() == 0
    assert store.generations.read(0).source_path == "/models/base"
    with pytest.raises(WrongState, match="belongs to one base model"):
        store.generations.register_base(digest="other", source_path="/models/other")


def test_registering_the_base_again_does_not_move_the_pointer(store: Store, stream: Stream) -> None:
    """A restart keeps what serves."""
    rounds(store, stream, 1)
    store.generations.register_base(digest="base", source_path="/models/base")
    assert store.generations.serving() == 1


def test_numbers_are_never_used_again(store: Store, stream: Stream) -> None:
    """Not after a refusal, nor after a candidate that was judged anew."""
    store.append(stream.of([text(n) for n in range(60)]))
    draw = begin(store)
    assert [store.generations.reserve(draw.number) for _ in range(2)] == [1, 2]
    refuse(store, draw)
    store.append(stream.of([text(n) for n in range(100, 160)]))
    assert accept(store, begin(store)) == 3
    assert store.generations.read(3).parent == 0
    assert store.generations.read(1).state is GenerationState.RESERVED


def test_a_rollback_goes_to_the_parent_and_flags_what_it_left(store: Store, stream: Stream) -> None:
    """Step by step down to the base, which has nothing before it."""
    rounds(store, stream, 2)
    assert store.generations.rollback() == (2, 1)
    assert store.generations.read(2).state is GenerationState.ROLLED_BACK
    assert store.generations.rollback() == (1, 0)
    with pytest.raises(WrongState, match="nothing before it"):
        store.generations.rollback()


def test_a_person_may_go_to_any_generation_that_served(store: Store, stream: Stream) -> None:
    """Forward again too; not to one that was never accepted, is retired, serves, or does not exist."""
    rounds(store, stream, 3)
    store.generations.rollback(1)
    assert states(store) == ["accepted", "accepted", "rolled_back", "rolled_back"]
    assert store.generations.rollback(3) == (1, 3)
    assert states(store) == ["accepted"] * 4
    store.append(stream.of([text(n) for n in range(1_000, 1_060)]))
    reserved = store.generations.reserve(begin(store).number)
    store.generations.retire([2])
    for number, error in ((reserved, WrongState), (2, WrongState), (3, WrongState), (99, UnknownGeneration)):
        with pytest.raises(error):
            store.generations.rollback(number)
    assert store.generations.serving() == 3


def test_the_next_round_starts_from_what_serves_after_a_rollback(store: Store, stream: Stream) -> None:
    """Lineage branches; numbers go on."""
    rounds(store, stream, 2)
    store.generations.rollback(1)
    rounds(store, stream, 1)
    assert (store.generations.read(3).parent, store.generations.serving()) == (1, 3)


def test_the_serving_generation_is_not_retired(store: Store, stream: Stream) -> None:
    """What serves keeps its files."""
    rounds(store, stream, 1)
    with pytest.raises(WrongState, match="serves"):
        store.generations.retire([0, 1])
    assert store.generations.read(0).state is GenerationState.ACCEPTED


def test_retirement_keeps_the_line_and_its_scores_but_not_those_of_documents(store: Store, stream: Stream) -> None:
    """R stays whole; what is large goes."""
    rounds(store, stream, 2)
    store.generations.retire([1])
    assert store.generations.document_scores(1) == {}
    assert store.generations.read(1).scores
    assert {row.generation for row in store.generations.score_matrix()} == {1, 2}


def test_the_best_so_far_on_a_slice_outlives_its_files(store: Store, stream: Stream) -> None:
    """Small losses add up: the scores stay until a later generation is better there."""
    for at, nll in enumerate((2.0, 2.1, 2.2)):
        store.append(stream.of([text(n) for n in range(at * 60, at * 60 + 60)]))
        accept(store, begin(store), nll)
    store.generations.retire([1])
    assert store.generations.document_scores(1)
    store.append(stream.of([text(n) for n in range(180, 240)]))
    accept(store, begin(store), 1.9)
    store.generations.retire([2])
    assert store.generations.document_scores(1) == store.generations.document_scores(2) == {}


def test_what_was_gone_back_from_is_no_measure(store: Store, stream: Stream) -> None:
    """Its scores go with its files, however good they are."""
    for at, nll in enumerate((2.1, 2.0, 2.2)):
        store.append(stream.of([text(n) for n in range(at * 60, at * 60 + 60)]))
        accept(store, begin(store), nll)
    store.generations.retire([2])
    assert store.generations.document_scores(2)
    store.generations.rollback(1)
    store.generations.retire([3])
    assert store.generations.document_scores(2) == store.generations.document_scores(3) == {}


def test_scores_can_be_added_and_replaced(store: Store) -> None:
    """The base's score on a new slice arrives with a later round."""
    store.generations.save_scores(0, {"anchor": SliceScore(3.0, 10, 1)})
    store.generations.save_scores(0, {"anchor": SliceScore(2.5, 10, 1), "news@1-1": SliceScore(4.0, 5, 1, 0.5, 0.4)})
    assert {row.slice: row.score.mean_nll for row in store.generations.score_matrix()} == {
        "anchor": 2.5,
        "news@1-1": 4.0,
    }
    assert store.generations.read(0).scores["news@1-1"].macro_f1 == 0.4


def test_scores_of_documents_that_are_gone_are_ignored(store: Store, stream: Stream) -> None:
    """A slice may have given a document up while the learner was scoring it."""
    store.append(stream.of([text(n) for n in range(400)]))
    held = [one.id for part in begin(store).slices for one in part.samples]
    store.generations.save_document_scores(
        0, [DocumentScore(held[0], 5.0, 3, was_right=True), DocumentScore(10**9, 1.0, 1)]
    )
    assert store.generations.document_scores(0) == {held[0]: DocumentScore(held[0], 5.0, 3, was_right=True)}


def test_held_out_documents_are_told_by_slice_with_their_keys(tmp_path: Path) -> None:
    """Of the anchor and of what was closed; what is newest has been learned by nobody."""
    stream = Stream()
    with open_store(tmp_path / "a.db", holdout_share=0.4, anchor_minimum=1) as store:
        with_anchor(store)
        for start in (0, 80):
            keys = [f"author {n % 7}" for n in range(80)]
            store.append(stream.of([text(start + n) for n in range(80)], keys=keys))
            draw = begin(store)
            if not start:
                accept(store, draw)
        told = store.generations.held_out_documents()
        assert set(told) == {"anchor", "news@1-1"}
        hashes = {one.id: one.key_hash for part in draw.slices for one in part.samples}
        period = told["news@1-1"]
        assert len(set(period.values())) == len({hashes[sample] for sample in period if sample in hashes})
        assert all(first <= sample for sample, first in period.items())


def test_what_a_classifier_answered_is_kept_with_its_scores(store: Store, stream: Stream) -> None:
    """Later ones are held to its macro-F1, for which it must be known what was answered, not only how often rightly."""
    store.append(stream.of([text(n) for n in range(60)], labels=["a"] * 60))
    draw = begin(store)
    one, other = (sample.id for sample in draw.slices[0].samples[:2])
    store.generations.save_document_scores(
        0, [DocumentScore(one, 0.5, 1, "a", "a"), DocumentScore(other, 2, 1, "b", "a")]
    )
    known = store.generations.document_scores(0)
    assert [(known[each].predicted, known[each].correct) for each in (one, other)] == [("a", True), ("b", False)]


def test_each_score_says_how_it_was_taken(store: Store, stream: Stream) -> None:
    """A later one that was taken otherwise replaces the one, and leaves the others as they were."""
    store.append(stream.of([text(n) for n in range(400)]))
    first, second, *_ = [sample.id for part in begin(store).slices for sample in part.samples]
    before, after = Scoring("cpu", "float32", 512, 1), Scoring("cuda", "bfloat16", 512, 2)
    rows = [DocumentScore(first, 5.0, 3), DocumentScore(second, 6.0, 3)]
    store.generations.save_document_scores(0, rows, scored=before)
    store.generations.save_document_scores(0, [DocumentScore(second, 5.5, 3)], scored=after)
    assert store.generations.scores_by_way(0) == {
        before: {first: DocumentScore(first, 5.0, 3)},
        after: {second: DocumentScore(second, 5.5, 3)},
    }
    store.generations.save_scores(
        0, {"anchor": SliceScore(2.0, 1, 1), "news@1-1": SliceScore(2.0, 1, 1)}, scored=before
    )
    store.generations.save_scores(0, {"anchor": SliceScore(2.1, 1, 1)}, scored=after)
    store.generations.save_scores(0, {"news@2-2": SliceScore(2.1, 1, 1)})
    assert {row.slice: row.scored for row in store.generations.score_matrix()} == {
        "anchor": after,
        "news@1-1": before,
        "news@2-2": None,
    }


def test_a_generation_that_is_taken_up_brings_no_scores_of_its_number(store: Store, stream: Stream) -> None:
    """An older copy of the store had another generation under it."""
    store.append(stream.of([text(n) for n in range(400)]))
    generation = accept(store, begin(store))
    assert store.generations.document_scores(generation)
    found = FoundGeneration(generation, 0, 9, "another", 1.0, {"anchor": SliceScore(1.0, 1, 1)})
    store.generations.take_up([found])
    assert store.generations.document_scores(generation) == {}
    assert [row.slice for row in store.generations.score_matrix() if row.generation == generation] == ["anchor"]
