"""The gate on a classifier of which several labels may fit a document: the first to serve must have learned them."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from gate.checks.check import Check
from learner.directory.report import Report, SliceScores
from memory.ledger.records import DocumentScore
from streams.decoding.several_labels import write_set
from tests.unit.gate.test_judge import SLICES, classified, verdict_on

SHARES = {"river": 0.5, "weather": 0.3, "strike": 0.1}
"""How many of the documents have each label."""

Answer = Callable[[frozenset[str], random.Random], Iterable[str]]


def learned(share: float) -> Answer:
    """Gives that share of the labels which fit, and none besides."""
    return lambda fitting, rng: [name for name in sorted(fitting) if rng.random() < share]


def always(*names: str) -> Answer:
    """Gives every document the same labels."""
    return lambda *_: names


def by_chance(_fitting: frozenset[str], rng: random.Random) -> Iterable[str]:
    """Gives each label to half of the documents, whether it fits or not."""
    return [name for name in SHARES if rng.random() < 0.5]


def first_round(answer: Answer, *, parent: Answer = by_chance) -> Report:
    """A round from a base; the candidate's losses are better than the base's on every slice, whatever it answers."""

    def scores(ids: Iterable[int], by: Answer, nll: float) -> tuple[DocumentScore, ...]:
        rows = []
        for id_ in sorted(ids):
            rng = random.Random(id_)
            fitting = frozenset(name for name, share in SHARES.items() if rng.random() < share)
            rows.append(DocumentScore(id_, nll + rng.random() / 10, 1, write_set(by(fitting, rng)), write_set(fitting)))
        return tuple(rows)

    slices = {
        each.name: SliceScores(
            base=scores(each.documents, parent, 0.9),
            parent=scores(each.documents, parent, 0.9),
            candidates={"0.00": scores(each.documents, answer, 0.6)},
        )
        for each in SLICES
    }
    return replace(classified({}), slices=slices)


def majority_checks(report: Report) -> list[Check]:
    """What was asked of the first to serve."""
    return [check for check in verdict_on(report).checks if check.name == "balanced_majority"]


def test_one_that_has_learned_its_labels_serves_first() -> None:
    """Though it gives half of the documents not all that fits, and seldom the most frequent set."""
    verdict = verdict_on(first_round(learned(0.8)))
    assert verdict.decision == "accept", verdict.sentence
    (check,) = majority_checks(first_round(learned(1.0)))
    assert check.figure == -0.5
    assert check.passed


@pytest.mark.parametrize(
    "answer", [always(), always("river"), always(*SHARES), by_chance], ids=["none", "one", "all", "chance"]
)
def test_one_that_always_answers_alike_or_by_chance_never_serves_first(answer: Answer) -> None:
    """With no label a document of rare labels is mostly answered rightly, with all of them none is missed."""
    report = first_round(answer, parent=always("strike"))
    assert verdict_on(report).decision == "refuse"
    (check,) = majority_checks(report)
    assert not check.passed
    assert abs(check.figure) < 0.06


def test_a_base_that_knows_its_labels_is_not_asked() -> None:
    """As with one label for each document."""
    assert majority_checks(first_round(learned(0.9), parent=learned(0.9))) == []
    assert len(majority_checks(first_round(learned(0.9), parent=by_chance))) == 1
