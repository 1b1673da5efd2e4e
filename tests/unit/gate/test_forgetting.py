"""Measures over R: hand-computed, and laws that hold for any matrix."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.forgetting import (
    Flips,
    ScoreMatrix,
    average_forgetting,
    backward_transfer,
    flip_rate,
    forgetting,
    forward_transfer,
    plasticity,
)
from memory.ledger.records import DocumentScore

NAN = math.nan

# Columns: anchor, then the text of rounds 1, 2, 3. Losses in nats.
LOSSES = ScoreMatrix(
    (
        (3.0, 4.0, 4.4, 4.6),
        (3.1, 3.5, 4.2, 4.5),
        (3.0, 3.6, 3.7, 4.3),
        (3.3, 3.9, 3.6, 3.8),
    ),
    learned_at=(0, 1, 2, 3),
    higher_is_better=False,
)


def test_forgetting_of_losses_by_hand() -> None:
    """Now minus the best earlier: 3.3 - 3.0, 3.9 - 3.5, 3.6 - 3.7; the newest slice cannot be forgotten yet."""
    assert forgetting(LOSSES, 3) == pytest.approx({0: 0.3, 1: 0.4, 2: -0.1})
    assert average_forgetting(LOSSES, 3) == pytest.approx(0.2)


def test_transfer_and_plasticity_of_losses_by_hand() -> None:
    """Backward against R[j,j], forward from the base to just before training, plasticity on the diagonal."""
    assert backward_transfer(LOSSES, 3) == pytest.approx(((3.0 - 3.3) + (3.5 - 3.9) + (3.7 - 3.6)) / 3)
    assert forward_transfer(LOSSES, 3) == pytest.approx(((4.0 - 4.0) + (4.4 - 4.2) + (4.6 - 4.3)) / 3)
    assert plasticity(LOSSES, 3) == pytest.approx((3.5 + 3.7 + 3.8) / 3)


def test_accuracies_by_hand() -> None:
    """The same measures where more is better: 0.9 - 0.7 forgotten, 0.8 after 0.6 transferred back."""
    accuracies = ScoreMatrix(((0.9, 0.5), (0.7, 0.8), (0.6, 0.6)), (0, 1), higher_is_better=True)
    assert forgetting(accuracies, 1) == pytest.approx({0: 0.2})
    assert average_forgetting(accuracies, 2) == pytest.approx((0.3 + 0.2) / 2)
    assert backward_transfer(accuracies, 2) == pytest.approx((-0.3 - 0.2) / 2)
    assert forward_transfer(accuracies, 2) == pytest.approx(0.0)
    assert plasticity(accuracies, 2) == pytest.approx(0.8)


def test_the_best_earlier_score_counts_not_the_first() -> None:
    """First minus last would say -0.2 here: forgetting is against the best."""
    matrix = ScoreMatrix(((3.5,), (3.0,), (3.3,)), (0,), higher_is_better=False)
    assert forgetting(matrix, 2) == pytest.approx({0: 0.3})


def test_nothing_was_forgotten_before_the_first_round() -> None:
    """A base model alone has no measure but its scores."""
    assert average_forgetting(LOSSES, 0) is None
    assert backward_transfer(LOSSES, 0) is None
    assert forward_transfer(LOSSES, 0) is None
    assert plasticity(LOSSES, 0) is None


def test_scores_that_were_never_taken_are_left_out() -> None:
    """A hole in R shortens the average instead of spoiling it."""
    matrix = ScoreMatrix(((3.0, NAN), (3.2, 3.5), (3.4, NAN)), (0, 1), higher_is_better=False)
    assert forgetting(matrix, 2) == pytest.approx({0: 0.4})
    assert backward_transfer(matrix, 2) == pytest.approx(-0.4)
    assert forward_transfer(matrix, 2) is None


@pytest.mark.parametrize(("scores", "learned_at"), [(((1.0, 2.0), (1.0,)), (0, 1)), (((1.0,),), (-1,))])
def test_a_malformed_matrix_is_refused(scores: tuple[tuple[float, ...], ...], learned_at: tuple[int, ...]) -> None:
    """Before a wrong figure is shown to anyone."""
    with pytest.raises(ValueError, match=r"each row|row 0"):
        ScoreMatrix(scores, learned_at, higher_is_better=False)


@st.composite
def matrices(draw: st.DrawFn) -> ScoreMatrix:
    """Any R of losses, with a slice for the anchor and one for each round."""
    size = draw(st.integers(2, 5))
    row = st.lists(st.floats(0, 20), min_size=size, max_size=size).map(tuple)
    scores = draw(st.lists(row, min_size=size, max_size=size).map(tuple))
    return ScoreMatrix(scores, tuple(range(size)), higher_is_better=False)


def mirrored(matrix: ScoreMatrix) -> ScoreMatrix:
    """The same quality expressed so that more is better."""
    scores = tuple(tuple(-score for score in row) for row in matrix.scores)
    return ScoreMatrix(scores, matrix.learned_at, higher_is_better=True)


@given(matrices())
def test_signs_do_not_depend_on_how_quality_is_written(matrix: ScoreMatrix) -> None:
    """A loss and its negative as an accuracy give the same forgetting and the same transfer."""
    last = len(matrix.scores) - 1
    for measure in (average_forgetting, backward_transfer, forward_transfer):
        assert measure(matrix, last) == pytest.approx(measure(mirrored(matrix), last))


@given(matrices())
def test_forgetting_is_at_least_negative_backward_transfer(matrix: ScoreMatrix) -> None:
    """The best earlier score is at least the one right after training."""
    last = len(matrix.scores) - 1
    lost, moved = average_forgetting(matrix, last), backward_transfer(matrix, last)
    assert lost is not None
    assert moved is not None
    assert lost >= -moved - 1e-9


@given(matrices(), st.floats(0.01, 5))
def test_forgetting_grows_by_what_the_present_loses(matrix: ScoreMatrix, more: float) -> None:
    """Each present loss higher by x is x more forgetting."""
    last = len(matrix.scores) - 1
    worse = ScoreMatrix(
        (*matrix.scores[:-1], tuple(score + more for score in matrix.scores[-1])),
        matrix.learned_at,
        higher_is_better=False,
    )
    before, after = average_forgetting(matrix, last), average_forgetting(worse, last)
    assert before is not None
    assert after == pytest.approx(before + more)


@given(matrices(), st.floats(-5, 5))
def test_differences_do_not_depend_on_the_level(matrix: ScoreMatrix, level: float) -> None:
    """A constant added to all of R changes plasticity alone, by as much."""
    last = len(matrix.scores) - 1
    scores = tuple(tuple(score + level for score in row) for row in matrix.scores)
    moved = ScoreMatrix(scores, matrix.learned_at, higher_is_better=False)
    for measure in (average_forgetting, backward_transfer, forward_transfer):
        assert measure(moved, last) == pytest.approx(measure(matrix, last), abs=1e-6)
    assert plasticity(moved, last) == pytest.approx((plasticity(matrix, last) or 0) + level, abs=1e-6)


def test_flips_of_a_language_model_need_the_margin() -> None:
    """0.2 nats per token worse, 0.2 better, 0.05 neither."""
    parent = [DocumentScore(n, 30.0, 10) for n in (1, 2, 3)]
    candidate = [DocumentScore(1, 32.0, 10), DocumentScore(2, 28.0, 10), DocumentScore(3, 30.5, 10)]
    assert flip_rate(parent, candidate, margin=0.1) == Flips(1 / 3, 1 / 3, 3)


def test_flips_of_a_classifier_are_changed_answers() -> None:
    """Right to wrong, wrong to right, and one that stays wrong."""
    parent = [DocumentScore(1, 0.1, 1, "a", "a"), DocumentScore(2, 0.1, 1, "b", "a"), DocumentScore(3, 1, 1, "b", "a")]
    candidate = [DocumentScore(1, 9, 1, "b", "a"), DocumentScore(2, 9, 1, "a", "a"), DocumentScore(3, 1, 1, "c", "a")]
    assert flip_rate(parent, candidate) == Flips(1 / 3, 1 / 3, 3)


def test_documents_that_cannot_be_compared_do_not_flip() -> None:
    """Scored by one alone, without tokens, or not finite."""
    parent = [DocumentScore(1, 3.0, 1), DocumentScore(2, 0.0, 0), DocumentScore(3, NAN, 1)]
    candidate = [DocumentScore(2, 0.0, 0), DocumentScore(3, 1.0, 1), DocumentScore(4, 9.0, 1)]
    assert flip_rate(parent, candidate) == Flips(0.0, 0.0, 0)


SCORES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.integers(1, 50)), max_size=20)


@given(SCORES, st.floats(0, 2))
def test_exchanging_the_models_exchanges_the_flips(documents: list[tuple[float, float, int]], margin: float) -> None:
    """What got worse one way got better the other way, and shares never exceed 1 together."""
    parent = [DocumentScore(at, a, count) for at, (a, _, count) in enumerate(documents)]
    candidate = [DocumentScore(at, b, count) for at, (_, b, count) in enumerate(documents)]
    there, back = flip_rate(parent, candidate, margin=margin), flip_rate(candidate, parent, margin=margin)
    assert (there.worse, there.better) == (back.better, back.worse)
    assert there.worse + there.better <= 1 + 1e-9
