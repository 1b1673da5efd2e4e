"""Forgetting and backward transfer are measured on the same documents, so that a model that stays has none."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.kept_knowledge import ScoredDocuments, average, forgotten_by_slice, transferred_by_slice
from gate.scores import knowledge
from memory.ledger.records import DocumentScore, Generation, GenerationState
from memory.samples.slice_names import ANCHOR, last_round, name_of


def ledger(rounds: list[int]) -> list[Generation]:
    """The base and one generation for each of these rounds."""
    numbers = enumerate([None, *rounds])
    return [
        Generation(number, GenerationState.ACCEPTED, number - 1 if number else None, round_, "", "", 0.0, {})
        for number, round_ in numbers
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Generation], dict[str, dict[int, int]], dict[int, set[int]]]:
    """Accepted rounds, slices of one or several of them each, and which documents each generation has scored."""
    rounds = sorted(draw(st.sets(st.integers(1, 12), min_size=1, max_size=5)))
    edges = sorted(draw(st.sets(st.sampled_from(rounds), min_size=1)) | {rounds[-1]})
    starts = [1, *(edge + 1 for edge in edges[:-1])]
    names = [ANCHOR, *(name_of("news", first, last) for first, last in zip(starts, edges, strict=True))]
    slices = {name: {100 * at + n: 100 * at + n for n in range(20)} for at, name in enumerate(names)}
    generations = ledger(rounds)
    every = [document for documents in slices.values() for document in documents]
    scored = {each.number: set(draw(st.lists(st.sampled_from(every), max_size=60))) for each in generations}
    return generations, slices, scored


def nll(document: int) -> float:
    """A document's loss under a model that stays as it is."""
    return 300 * random.Random(document).random()


@given(histories())
def test_a_model_that_stays_as_it_is_forgets_nothing_and_learns_nothing(
    history: tuple[list[Generation], dict[str, dict[int, int]], dict[int, set[int]]],
) -> None:
    """Whatever was drawn in each round, and however slices merged: exactly 0, with limits that are 0."""
    generations, slices, scored = history
    scores = {
        number: {document: DocumentScore(document, nll(document), 100) for document in documents}
        for number, documents in scored.items()
    }
    known = knowledge([], generations, generations[-1].number, ScoredDocuments(slices, scores))
    for measured in (known.forgetting, known.backward_transfer):
        assert measured is None or measured.estimate == 0
        assert measured is None or measured.keys < 2 or (measured.lower, measured.upper) == (0, 0)


def documents_of(shifts: Mapping[int, float], documents: range) -> dict[int, dict[int, DocumentScore]]:
    """Scores by generation, each so many nats a token above a common level."""
    return {
        generation: {n: DocumentScore(n, nll(n) + 100 * shift, 100) for n in documents}
        for generation, shift in shifts.items()
    }


def test_forgetting_is_against_the_best_before_and_transfer_against_who_learned_it() -> None:
    """Of a merged slice that is the generation of its last round."""
    generations = ledger([1, 2, 3])
    scored = ScoredDocuments({"news@1-2": {n: n for n in range(50)}}, documents_of({1: 0.0, 2: 0.1, 3: 0.3}, range(50)))
    known = knowledge([], generations, 3, scored)
    assert known.forgetting is not None
    assert known.backward_transfer is not None
    assert known.forgetting.estimate == pytest.approx(0.3)
    assert known.backward_transfer.estimate == pytest.approx(-0.2)
    assert known.forgetting.lower == pytest.approx(0.3)


def test_what_only_one_of_two_has_scored_is_left_out() -> None:
    """Harder documents that are drawn later are no forgetting."""
    early = documents_of({0: 0.0}, range(50))
    late = {1: {n: DocumentScore(n, nll(n) + (500 if n >= 50 else 20), 100) for n in range(100)}}
    scored = ScoredDocuments({ANCHOR: {n: n for n in range(100)}}, early | late)
    forgotten = average(forgotten_by_slice(scored, [0, 1], lambda _: 0))
    assert forgotten is not None
    assert forgotten.estimate == pytest.approx(0.2)
    assert forgotten.documents == 50


def test_documents_that_were_cut_otherwise_are_not_compared() -> None:
    """Another number of tokens is another text."""
    scores = documents_of({0: 0.0, 1: 0.0}, range(10))
    scores[1][3] = DocumentScore(3, 1.0, 7)
    scores[1][4] = DocumentScore(4, math.nan, 100)
    compared = ScoredDocuments({ANCHOR: {n: n for n in range(10)}}, scores).compared(ANCHOR, 1, 0)
    assert compared is not None
    assert compared.documents == 8


def test_a_generation_that_scored_a_handful_is_no_measure() -> None:
    """The best on three documents is mostly the luckiest."""
    scores = documents_of({0: 0.0, 2: 0.0}, range(60)) | documents_of({1: -2.0}, range(3))
    forgotten = forgotten_by_slice(ScoredDocuments({ANCHOR: {n: n for n in range(60)}}, scores), [0, 1, 2], lambda _: 0)
    assert forgotten[ANCHOR].estimate == 0


def test_limits_grow_where_documents_have_few_keys() -> None:
    """An author's documents rise and fall together."""
    scores = documents_of({0: 0.0, 1: 0.0}, range(60))
    scores[1] = {n: DocumentScore(n, row.nll + 30 * random.Random(n % 6).gauss(), 100) for n, row in scores[1].items()}
    alone, together = (
        average(forgotten_by_slice(ScoredDocuments({ANCHOR: keys}, scores), [0, 1], lambda _: 0))
        for keys in ({n: n for n in range(60)}, {n: n % 6 for n in range(60)})
    )
    assert alone is not None
    assert together is not None
    assert together.estimate == pytest.approx(alone.estimate)
    assert together.upper - together.lower > 1.5 * (alone.upper - alone.lower)


def test_nothing_is_transferred_by_the_generation_that_learned_a_slice_itself() -> None:
    """Nothing came after it yet."""
    scored = ScoredDocuments({"news@1-1": {1: 1}}, documents_of({0: 0.0, 1: 0.0}, range(5)))
    assert transferred_by_slice(scored, [0, 1], last_round) == {}
    assert average({}) is None
