"""Measures of one model on one slice."""

import math

import pytest

from gate.measures import accuracy, macro_f1, mean_nll
from memory.ledger.records import DocumentScore


def test_the_mean_loss_weighs_tokens_not_documents() -> None:
    """(2 + 90) nats over 100 tokens."""
    assert mean_nll([DocumentScore(1, 2.0, 10), DocumentScore(2, 90.0, 90)]) == pytest.approx(0.92)


@pytest.mark.parametrize(
    "scores", [[], [DocumentScore(1, 0.0, 0)], [DocumentScore(1, math.inf, 1)], [DocumentScore(1, math.nan, 1)]]
)
def test_no_tokens_or_no_finite_loss_is_nan(scores: list[DocumentScore]) -> None:
    """It is not zero, which would be perfect."""
    assert math.isnan(mean_nll(scores))


def test_losses_too_large_to_add_are_infinite() -> None:
    """An overflow is a very bad score, not an error."""
    assert mean_nll([DocumentScore(1, 1.7e308, 1), DocumentScore(2, 1.7e308, 1)]) == math.inf


def labelled(answers: str, labels: str) -> list[DocumentScore]:
    """A classifier's scores, one letter for each answer and label."""
    return [DocumentScore(at, 0.5, 1, a, b) for at, (a, b) in enumerate(zip(answers, labels, strict=True))]


def test_accuracy_and_macro_f1_by_hand() -> None:
    """a: 2·1/(2+1), b: 2·1/(1+2), c: 0; each class counts the same."""
    scores = labelled("abba", "aabc")
    assert accuracy(scores) == pytest.approx(0.5)
    assert macro_f1(scores) == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)


def test_an_answer_outside_the_true_classes_adds_no_class() -> None:
    """It costs its true class a miss, and two models stay averaged over the same classes."""
    assert macro_f1(labelled("az", "aa")) == pytest.approx(2 / 3)


@pytest.mark.parametrize("scores", [[], [DocumentScore(1, 3.0, 5)]])
def test_a_language_model_has_no_accuracy(scores: list[DocumentScore]) -> None:
    """None, not zero."""
    assert accuracy(scores) is None
    assert macro_f1(scores) is None
