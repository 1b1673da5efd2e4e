"""Evidence at the edge of what numbers can say: it never opens the gate, nor stops it."""

import math
from dataclasses import replace

from gate.judge import HeldOut
from learner.directory.report import Report
from memory.ledger.records import DocumentScore
from tests.unit.gate.test_judge import GOOD, SLICES, report, scores, verdict_on

HUGE = 1.5e308


def on_news(what: Report, model: str, rows: tuple[DocumentScore, ...]) -> Report:
    """The report with other scores of a model on the older news."""
    name = SLICES[1].name
    was = what.slices[name]
    now = replace(was, parent=rows) if model == "parent" else replace(was, candidates={model: rows})
    return replace(what, slices={**what.slices, name: now})


def but_for_one(place: int) -> tuple[DocumentScore, ...]:
    """Common losses, but for one document near the largest that a number holds."""
    rows = list(scores(SLICES[1].documents, 0.0, noise=0.0))
    rows[place] = replace(rows[place], nll=HUGE)
    return tuple(rows)


def test_a_limit_that_is_no_number_keeps_no_bound() -> None:
    """Sums overflow in some resamples: the estimate is within bounds, its limit is not known."""
    overflowing = on_news(report({"0.00": GOOD}), "parent", but_for_one(0))
    verdict = verdict_on(on_news(overflowing, "0.00", but_for_one(1)))
    unknown = [check for check in verdict.checks if check.name == "parent" and math.isnan(check.upper)]
    assert unknown
    assert not any(check.passed for check in unknown)
    assert verdict.decision == "refuse"


def test_a_slice_of_documents_without_tokens_says_nothing_about_the_mean() -> None:
    """It is judged together with others, and its own mean is not asked for."""
    empty = HeldOut("memo@1-1", "period", "memo", frozenset({900}))
    what = report({"0.00": GOOD, "0.25": GOOD}, slices=(*SLICES, empty))
    nothing = tuple(replace(score, nll=0.0, tokens=0) for score in scores(empty.documents, 0.0))
    silent = replace(
        what.slices[empty.name], base=nothing, parent=nothing, candidates={"0.00": nothing, "0.25": nothing}
    )
    verdict = verdict_on(replace(what, slices={**what.slices, empty.name: silent}), slices=(*SLICES, empty))
    assert (verdict.decision, verdict.candidate) == ("accept", "0.00")
