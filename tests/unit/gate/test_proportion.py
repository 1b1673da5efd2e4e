"""What is lost on older text is in proportion to what is gained on the newest: small gains buy no large harm."""

from dataclasses import replace

import numpy as np
import pytest

from gate.judge import GateSettings, Verdict, judge
from tests.unit.gate.simulated_rounds import Course, Round

SETTINGS = GateSettings(resamples=400)


def round_of(gain: float, *harms: float, spread: float = 0.08, settings: GateSettings = SETTINGS) -> Round:
    """A language model's round of a single candidate, with its true gain, and harm to the anchor and older slices."""
    older = tuple(Course(harm, 0.0, spread) for harm in harms)
    return Round("causal-lm", Course(-gain, 0.0, spread), older, shares=(0.0,), settings=settings)


def verdict_on(what: Round, keys: int = 120, seed: int = 0) -> Verdict:
    """What the gate says of it."""
    report = what.report(np.random.default_rng(seed), keys)
    return judge(report, what.slices(keys), known={}, history=[], settings=what.settings)


def failed(verdict: Verdict) -> set[str]:
    """Names of the checks that failed."""
    return {check.name for check in verdict.checks if not check.passed}


@pytest.mark.parametrize("seed", range(3))
def test_a_hundredth_of_gain_does_not_buy_seven_hundredths_of_harm(seed: int) -> None:
    """It kept every absolute bound: 0.07 on the anchor for 0.008 on new text."""
    what = round_of(0.008, 0.06, 0.06, spread=0.03)
    verdict = verdict_on(what, seed=seed)
    assert verdict.decision == "refuse"
    assert failed(verdict) == {"proportion"}
    assert not verdict.unproven
    assert "that its gain sets" in verdict.sentence
    lenient = replace(what, settings=SETTINGS.model_copy(update={"max_harm_per_gain": 1000.0}))
    assert verdict_on(lenient, seed=seed).decision == "accept"


def test_each_older_group_and_the_average_is_held_to_the_gain() -> None:
    """Bound and figure are in nats, as those beside them."""
    verdict = verdict_on(round_of(0.2, 0.02, 0.0, 0.01))
    checks = {check.slice: check for check in verdict.checks if check.name == "proportion"}
    assert set(checks) == {
        "anchor", "domain-1@1-1", "domain-2@2-2", "anchor + domain-1@1-1 + domain-2@2-2",
    }  # fmt: skip
    gain = -next(check.figure for check in verdict.checks if check.name == "learned")
    rises = {check.slice: check.figure for check in verdict.checks if check.name == "parent"}
    for name, check in checks.items():
        assert check.bound == pytest.approx(0.01 + 0.5 * gain)
        if name in rises:
            assert check.figure == pytest.approx(rises[name])
        assert check.lower < check.figure < check.upper
        assert check.passed


def test_the_ratio_is_a_setting() -> None:
    """Half of the gain by default; all of it, for who wants to learn more than to keep."""
    what = round_of(0.06, 0.06, 0.0, spread=0.03)
    assert failed(verdict_on(what)) == {"proportion"}
    whole = replace(what, settings=SETTINGS.model_copy(update={"max_harm_per_gain": 1.0}))
    assert failed(verdict_on(whole)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.03, 0.3])
def test_noise_refuses_no_harmless_round(gain: float) -> None:
    """However small the gain: of rounds that did no harm at most one in twenty is held to have done some."""
    verdicts = [verdict_on(round_of(gain, 0.0, 0.0, 0.0, 0.0), keys=54, seed=seed) for seed in range(30)]
    assert sum("proportion" in failed(verdict) for verdict in verdicts) <= 2
