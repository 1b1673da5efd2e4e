"""Candidates that were scored no further: none that could have passed, and the others judged as they were."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gate.checks.proven_harm import harm_bounds, stopped_scoring
from gate.checks.stopped_scoring import stopped_sentences
from gate.judge import GateSettings, HeldOut, judge
from gate.round_figures import read_figures
from gate.verdict import Verdict
from learner.directory.report import Report, StoppedCandidate
from learner.evaluation.proven_harm import in_order_of_proof, proven_harm
from memory.ledger.records import DocumentScore
from tests.unit.gate.simulated_rounds import Course, Round, of_a_classifier, of_a_language_model

KEYS = 54
STATED = 0.05
TRIALS = 100
SETTINGS = GateSettings(resamples=300)
HARMFUL = Round(
    "causal-lm", Course(-0.8, 0.2, 0.15), (Course(0.0, 0.4, 0.1), *(Course(0.0, 0.0, 0.08),) * 3), settings=SETTINGS
)
"""Harm to the anchor of 0.4, 0.23, 0.1 and 0.03 nats: beyond the bound of 0.08 but for the last candidate."""


def as_learned(report: Report, slices: list[HeldOut], settings: GateSettings) -> Report:
    """The report of a learner that scores candidates no further than it has to."""
    bounds, names = harm_bounds(slices, settings), list(report.slices)
    parent = {name: report.slices[name].parent for name in names}
    base = {name: report.slices[name].base for name in names}
    scored: dict[str, dict[str, tuple[DocumentScore, ...]]] = {}
    stopped: list[StoppedCandidate] = []
    for at, candidate in enumerate(report.candidates, 1):
        held = bounds if len(stopped) < at - 1 or at < len(report.candidates) else ()
        scored[candidate] = {}
        for name in in_order_of_proof(held, names):
            scored[candidate][name] = report.slices[name].candidates[candidate]
            left = tuple(each for each in names if each not in scored[candidate])
            if left and (on := proven_harm(held, scored[candidate], parent=parent, base=base)):
                stopped.append(StoppedCandidate(candidate, on, left))
                break
    kept = {
        name: replace(each, candidates={who: rows[name] for who, rows in scored.items() if name in rows})
        for name, each in report.slices.items()
    }
    return replace(report, slices=kept, stopped=tuple(stopped))


def drawn(what: Round, number: int, keys: int = KEYS) -> tuple[Report, list[HeldOut]]:
    """One such round."""
    return what.report(np.random.default_rng(number), keys), what.slices(keys)


def verdict_on(report: Report, slices: list[HeldOut], settings: GateSettings = SETTINGS) -> Verdict:
    """The gate's word."""
    return judge(report, slices, known={}, history=[], settings=settings)


@pytest.mark.parametrize("make", [of_a_language_model, of_a_classifier])
@pytest.mark.parametrize("step", [2.0, 4.0])
def test_none_is_stopped_that_could_have_passed(
    make: Callable[[np.random.Generator, float], Round], step: float
) -> None:
    """Scored whole and judged alone, each of them is refused; and the verdict is what it was without them."""
    stopped = same = 0
    for number in range(4):
        what = replace(make(np.random.default_rng(number), step), settings=SETTINGS)
        whole, slices = drawn(what, number)
        report = as_learned(whole, slices, SETTINGS)
        before, after = verdict_on(whole, slices), verdict_on(report, slices)
        same += (before.decision, before.candidate) == (after.decision, after.candidate)
        stopped += len(report.stopped)
        for each in report.stopped:
            alone = {
                name: replace(scores, candidates={each.candidate: scores.candidates[each.candidate]})
                for name, scores in whole.slices.items()
            }
            assert verdict_on(replace(whole, slices=alone), slices).decision == "refuse"
    assert stopped or make is of_a_classifier
    assert same >= 3


def test_a_stopped_candidate_is_refused_for_the_bound_that_it_broke() -> None:
    """With figure and interval, and what was left out; another is accepted."""
    whole, slices = drawn(HARMFUL, 1)
    report = as_learned(whole, slices, SETTINGS)
    verdict = verdict_on(report, slices)
    assert [each.candidate for each in report.stopped] == ["0.00", "0.25"]
    assert (verdict.decision, verdict.candidate) == ("accept", "0.75")
    worst = verdict.stopped[0]
    assert worst.broken is not None
    assert (worst.broken.slice, worst.broken.passed) == ("anchor", False)
    assert worst.broken.bound < worst.broken.lower < worst.broken.figure < worst.broken.upper
    assert worst.unscored == tuple(name for name in whole.slices if name != "anchor")
    told = list(stopped_sentences(verdict.to_json()))
    assert told[0].startswith("Candidate 0.00 was scored no further: on slice anchor it is ")
    assert told[0].endswith("Left out: 4 slices.")


def test_figures_of_a_round_stay_whole() -> None:
    """Means where something was scored, nothing where not, and no share of documents that flipped on a part alone."""
    report = as_learned(*drawn(HARMFUL, 1), SETTINGS)
    figures = read_figures(report, "0.75")
    means = figures.means["slices"]
    assert means["anchor"]["0.00"] > means["anchor"]["parent"]
    assert means["domain-1@1-1"]["0.00"] is None
    assert set(figures.means["flips"]) == {"0.50", "0.75"}


def test_a_stop_that_is_not_proven_lets_nothing_pass() -> None:
    """A learner may say what it likes: without scores that prove it the candidate lacks evidence, and is told so."""
    harmless = Round("causal-lm", Course(-0.8, 0.2, 0.15), (Course(0.0, 0.0, 0.08),) * 4, settings=SETTINGS)
    report, slices = drawn(harmless, 1)
    assert verdict_on(report, slices).candidate == "0.00"
    for on in ("anchor", "domain-1@1-1", "nowhere"):
        told = verdict_on(replace(report, stopped=(StoppedCandidate("0.00", on, ()),)), slices)
        assert told.candidate not in {"0.00", None}
        assert [each.broken for each in told.stopped] == [None]
    every = tuple(StoppedCandidate(name, "anchor", ()) for name in report.candidates)
    assert verdict_on(replace(report, stopped=every), slices).decision == "refuse"


@pytest.mark.parametrize("damage", ["nan", "short", "twice"])
def test_damaged_scores_of_a_stopped_candidate_prove_nothing(damage: str) -> None:
    """And hold up nobody else."""
    report = as_learned(*drawn(HARMFUL, 1), SETTINGS)
    rows = report.slices["anchor"].candidates["0.00"]
    damaged = {"nan": (replace(rows[0], nll=float("nan")), *rows[1:]), "short": rows[1:], "twice": (rows[0], *rows)}
    anchor = replace(
        report.slices["anchor"], candidates={**report.slices["anchor"].candidates, "0.00": damaged[damage]}
    )
    verdict = verdict_on(replace(report, slices={**report.slices, "anchor": anchor}), HARMFUL.slices(KEYS))
    assert (verdict.decision, verdict.candidate) == ("accept", "0.75")
    assert verdict.stopped[0].broken is None
    assert verdict.stopped[1].broken is not None


def test_bounds_are_set_on_what_is_judged_whatever_comes() -> None:
    """The anchor first; a slice of too few keys with those that it is joined to; nothing without an anchor."""
    slices = HARMFUL.slices(KEYS)
    small = replace(slices[1], documents=frozenset(sorted(slices[1].documents)[:5]))
    bounds = harm_bounds([slices[0], small, *slices[2:]], SETTINGS)
    assert bounds[0].slices == ("anchor",)
    assert {len(each.slices) for each in bounds[1:]} == {1, 2}
    assert bounds[0].over_base == SETTINGS.max_rise_anchor
    assert all(each.over_base is None for each in bounds[1:])
    assert all("new@4-4" not in each.slices for each in bounds)
    assert harm_bounds(slices[1:], SETTINGS) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "older",
    [
        (Course(0.32, 0.0, 0.1), *(Course(0.0, 0.0, 0.08),) * 3),
        (Course(0.2, 0.1, 0.1), Course(0.32, 0.0, 0.1), *(Course(0.0, 0.0, 0.08),) * 2),
    ],
)
def test_the_chance_of_error_stays_what_is_stated(older: tuple[Course, ...]) -> None:
    """The candidate nearest to the parent truly lies at the bound of 0.08, and has the chance for itself alone."""
    wrong = stopped = 0
    for number in range(TRIALS):
        whole, slices = drawn(Round("causal-lm", HARMFUL.newest, older, settings=SETTINGS), number, 50)
        report = as_learned(whole, slices, SETTINGS)
        stopped += len(report.stopped)
        wrong += verdict_on(report, slices).decision == "accept"
    assert stopped > TRIALS
    assert wrong / TRIALS <= 1.5 * STATED


def test_what_is_told_agrees_with_what_the_gate_finds() -> None:
    """The learner asks for more than the gate: what it stops is proven in each of many rounds."""
    for number in range(20):
        report = as_learned(*drawn(HARMFUL, number), SETTINGS)
        assert report.stopped
        assert all(each.broken for each in stopped_scoring(report, HARMFUL.slices(KEYS), SETTINGS))
