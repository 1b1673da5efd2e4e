"""Candidates that are judged again: what several looks may err in together, and where another one is of use."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from gate.checks.check import MAJORITY, Check
from gate.judge import judge
from gate.looks import LATER, LOOKS, confidence_at, may_prove, more_for_next_look
from gate.settings import GateSettings
from gate.verdict import Verdict, evidence_wanted
from learner.directory.report import Report
from tests.unit.gate.test_judge import SLICES, report

SETTINGS = GateSettings()
ANCHOR, OLD, NEWEST = SLICES


def passes_at_the_bound(stated: float, chances: list[float], growth: float) -> float:
    """How often a candidate that is as bad as the bound passes at one look or another, of 200,000.

    Its figure at a look is the mean of what has come by then. Where it is beyond the bound harm is proven enough for
    the gate, and there is no further look.
    """
    evidence = growth ** np.arange(len(chances))
    steps = np.random.default_rng(11).standard_normal((200_000, len(chances)))
    figures = np.cumsum(steps * np.sqrt(np.diff(evidence, prepend=0)), axis=1) / np.sqrt(evidence)
    there, passed = np.ones(len(figures), bool), 0
    for look, chance in enumerate(chances):
        limit = NormalDist().inv_cdf(1 - stated * chance)
        passing = there & (figures[:, look] > limit)
        passed += int(passing.sum())
        there &= ~passing & (figures[:, look] > 0)
    return passed / len(figures)


@pytest.mark.parametrize("growth", [1.25, 2.0])
@pytest.mark.parametrize("candidates", [1, 3])
def test_all_looks_together_err_hardly_more_than_one(growth: float, candidates: int) -> None:
    """At most 1.5 times what is stated; each at the stated chance they would err in 1.6 times and more."""
    stated = (1 - SETTINGS.confidence) / candidates
    chances = [(1 - confidence_at(SETTINGS, look)) / (1 - SETTINGS.confidence) for look in range(1, LOOKS + 1)]
    assert sum(chances) <= 1.5
    assert passes_at_the_bound(stated, chances, growth) <= 1.35 * stated
    assert passes_at_the_bound(stated, [1.0] * LOOKS, growth) >= 1.6 * stated


def test_the_first_look_has_all_of_the_stated_chance_and_each_later_one_a_part() -> None:
    """No round pays for what most rounds never need."""
    assert confidence_at(SETTINGS, 1) == SETTINGS.confidence
    assert confidence_at(SETTINGS, 2) == confidence_at(SETTINGS, 3) == pytest.approx(1 - LATER * 0.05)


def judged(what: Report, look: int) -> Verdict:
    """The gate's word at one look."""
    return judge(what, SLICES, known={}, history=[], settings=GateSettings(resamples=400), look=look)


def test_only_text_that_came_since_has_to_prove_more() -> None:
    """Older slices are the same documents as before: what they proved once they prove again."""
    first, second = (judged(report({"0.00": {NEWEST.name: -0.3}}), look) for look in (1, 2))
    assert (first.decision, first.look, second.look) == ("accept", 1, 2)
    times = {
        (before.name, before.slice): (after.upper - after.figure) / (before.upper - before.figure)
        for before, after in zip(first.checks, second.checks, strict=True)
        if before.upper > before.figure
    }
    assert times.pop(("learned", NEWEST.name)) > 1.1
    assert set(times.values()) == {1.0}


def unevenly_better(*names: str) -> Report:
    """Candidates, each alike, that are better on the newest text on average, but now much and now not at all."""
    whole = report({"0.00": {NEWEST.name: -0.05}})
    rows = {name: piece.candidates["0.00"] for name, piece in whole.slices.items()}
    rows[NEWEST.name] = tuple(
        replace(row, nll=row.nll + (23 if at % 2 else -23)) for at, row in enumerate(rows[NEWEST.name])
    )
    slices = {name: replace(piece, candidates=dict.fromkeys(names, rows[name])) for name, piece in whole.slices.items()}
    return replace(whole, slices=slices)


def test_as_much_more_is_asked_for_as_the_next_look_needs() -> None:
    """Its limits are wider: with what would just have done now it would be unproven again."""
    verdict = judged(unevenly_better("0.00"), 1)
    more = more_for_next_look(*(confidence_at(SETTINGS, look) for look in (1, 2)))
    assert verdict.unproven
    assert 1.5 < more < 2.5
    everywhere = [more] * len(verdict.checks)
    assert verdict.evidence == evidence_wanted(verdict.checks, everywhere) > evidence_wanted(verdict.checks)
    assert more_for_next_look(*(confidence_at(SETTINGS, look) for look in (2, 3))) == 1


def test_candidates_that_do_alike_ask_for_no_less_than_one_of_them() -> None:
    """As their limits are his, so is what the next look needs: an equal part of the chance each would ask for less."""
    one, three = judged(unevenly_better("0.00"), 1), judged(unevenly_better("0.00", "0.25", "0.50"), 1)
    assert three.checks == one.checks
    assert three.evidence == one.evidence


def failed(name: str, where: str) -> Check:
    """A check that could not be proven."""
    return Check(name, where, 0.0, 0.08, -0.1, 0.1, 60, passed=False, unit="nats per token", keys=60)


@pytest.mark.parametrize(
    ("checks", "look", "may"),
    [
        ([failed("learned", NEWEST.name)], 1, True),
        ([failed("learned", NEWEST.name)], 2, True),
        ([failed("learned", NEWEST.name)], 3, False),
        ([failed("learned", f"{NEWEST.name} + other@2-2")], 1, True),
        ([failed("parent", OLD.name)], 1, False),
        ([failed("learned", NEWEST.name), failed("anchor", "anchor")], 1, False),
        ([failed(MAJORITY, "held-out text")], 1, True),
        ([], 1, True),
    ],
)
def test_another_look_is_of_use_where_what_failed_grows(checks: list[Check], look: int, *, may: bool) -> None:
    """An older slice has no more documents the next time; and nobody looks for ever."""
    verdict = Verdict("refuse", None, tuple(checks), "", unproven=True, evidence=72)
    assert may_prove(verdict, SLICES, look=look) is may
    assert not may_prove(replace(verdict, evidence=0), SLICES, look=look)
