"""What the end of a round reads from its report."""

import math
from dataclasses import replace

import pytest

from checkpoints.card import DataRange
from gate.forgetting import Flips
from gate.round_figures import read_figures
from learner.directory.report import Outcome, PrequentialDocument, Report, SliceScores, TrainingSummary
from memory.ledger.records import DocumentScore, SliceScore, Trained


def test_the_summary_holds_no_documents() -> None:
    """The ledger keeps means by slice and model, and figures of the fresh text by source."""
    report = Report(
        round=1,
        kind="causal-lm",
        outcome=Outcome.TRAINED,
        detail="",
        device="cpu",
        prequential=(PrequentialDocument(9, "wiki", 6.0, 2, 0.0),),
        slices={
            "anchor": SliceScores(
                base=(DocumentScore(1, 2.0, 1),),
                parent=(DocumentScore(1, math.nan, 1),),
                candidates={"0.00": (DocumentScore(1, 1.0, 1),)},
            )
        },
        training=None,
        touched=None,
        untrainable=frozenset(),
    )
    summary = read_figures(report, None).summary(DataRange())
    assert summary["slices"] == {"anchor": {"base": 2.0, "parent": None, "0.00": 1.0}}
    assert "accuracy" not in summary
    assert summary["prequential"]["by_source"]["wiki"]["mean_nll"] == 3.0


def answered(*answers: str) -> tuple[DocumentScore, ...]:
    """A classifier's answers to documents of which the first two are calm and the third is a flood."""
    labels = ("calm", "calm", "flood")
    return tuple(DocumentScore(at, 0.5, 1, answer, labels[at]) for at, answer in enumerate(answers))


def test_the_summary_of_a_classifier_holds_its_answers_and_the_balance_of_labels() -> None:
    """Accuracy and macro-F1 by slice and model, flips by candidate, documents by label."""
    base, good = answered("calm", "calm", "calm"), answered("calm", "flood", "flood")
    report = Report(
        round=1,
        kind="classifier",
        outcome=Outcome.TRAINED,
        detail="",
        device="cpu",
        prequential=(),
        slices={"anchor": SliceScores(base=base, parent=base, candidates={"0.00": good})},
        training=None,
        touched=None,
        untrainable=frozenset(),
    )
    summary = read_figures(report, None).summary(DataRange(labels={"calm": 7, "flood": 3}, replayed_labels={"calm": 2}))
    assert summary["accuracy"]["anchor"] == pytest.approx({"base": 2 / 3, "parent": 2 / 3, "0.00": 2 / 3})
    assert summary["macro_f1"]["anchor"] == pytest.approx({"base": 0.4, "parent": 0.4, "0.00": 2 / 3})
    assert summary["flips"]["0.00"] == pytest.approx({"worse": 1 / 3, "better": 1 / 3, "documents": 3})
    assert summary["labels"] == {
        "fresh": {"calm": 7, "flood": 3},
        "replay": {"calm": 2},
        "holdout": {"anchor": {"calm": 2, "flood": 1}},
    }


def judged(bytes_per_token: float = 4.0) -> Report:
    """A report of one slice, one candidate, and a base that has no finite score."""
    return Report(
        round=3,
        kind="causal-lm",
        outcome=Outcome.TRAINED,
        detail="",
        device="cpu",
        prequential=(),
        slices={
            "anchor": SliceScores(
                base=(DocumentScore(1, math.nan, 2),),
                parent=(DocumentScore(1, 6.0, 2),),
                candidates={"0.00": (DocumentScore(1, 4.0, 2),)},
            )
        },
        training=TrainingSummary(60, 100, 50, 2.0, 75.0, {"new": 3.5}, 8, 1024, bytes_per_token),
        touched=frozenset({1, 2}),
        untrainable=frozenset({3}),
    )


def test_every_model_has_its_row_and_its_documents() -> None:
    """Of base, parent and the candidate that is named; what is not finite is no row."""
    figures = read_figures(judged(), "0.00")
    assert figures.candidate is not None
    assert figures.candidate.slices == {"anchor": SliceScore(2.0, 2, 1)}
    assert figures.candidate.documents == (DocumentScore(1, 4.0, 2),)
    assert figures.parent.slices == {"anchor": SliceScore(3.0, 2, 1)}
    assert (figures.base.slices, figures.base.documents) == ({}, ())
    assert figures.flips == Flips(0.0, 1.0, 1)


def test_without_a_candidate_nothing_is_said_of_one() -> None:
    """Where none was judged."""
    figures = read_figures(judged(), None)
    assert (figures.candidate, figures.flips) == (None, None)


def test_what_was_trained_on_is_known_only_where_the_learner_says_so() -> None:
    """A report that does not say is of a learner for which all that was drawn counts."""
    assert read_figures(judged(), None).trained == Trained(frozenset({1, 2}), frozenset({3}))
    assert read_figures(replace(judged(), touched=None), None).trained is None


@pytest.mark.parametrize(
    ("figure", "kept"), [(0.1, 0.1), (100.0, 100.0), (0.09, None), (101.0, None), (math.nan, None)]
)
def test_bytes_per_token_that_no_text_has_are_not_kept(figure: float, kept: float | None) -> None:
    """The memory counts tokens by them."""
    assert read_figures(judged(figure), None).bytes_per_token == kept
