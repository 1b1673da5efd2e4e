"""How many keys a slice needs, by what its checks could not prove."""

import math
from dataclasses import replace

import pytest

from gate.checks.check import MAJORITY, Check
from gate.keys_wanted import keys_at_first, keys_wanted, read_checks
from gate.verdict import refused

MINIMUM = 36
PASSED = Check("parent", "anchor", 0.0, 0.08, -0.04, 0.04, 100, passed=True, unit="nats per token", keys=100)
UNPROVEN = replace(PASSED, slice="news@4", figure=0.02, upper=0.09, passed=False, keys=60)
PROVEN = replace(PASSED, slice="news@3", figure=0.2, upper=0.4, passed=False, keys=60)


def test_a_classifier_needs_more_than_a_language_model() -> None:
    """The loss of one answer scatters more than a mean over many tokens."""
    assert (keys_at_first("causal-lm", MINIMUM), keys_at_first("classifier", MINIMUM)) == (54, 144)


DOUBTED = replace(PASSED, name="alone", figure=0.09, upper=0.3)
"""By itself a slice that is judged with others is refused only where it is proven to be beyond the bound."""


@pytest.mark.parametrize("checks", [(), (PASSED,), (PROVEN,), (replace(UNPROVEN, figure=math.nan),), (DOUBTED,)])
def test_nothing_unproven_asks_for_no_more_than_at_first(checks: tuple[Check, ...]) -> None:
    """Neither what passed with room to spare, nor what no evidence could have helped."""
    assert keys_wanted("causal-lm", MINIMUM, checks) == 54


def test_what_was_unproven_asks_for_the_keys_that_would_have_proven_it() -> None:
    """Its doubt must shrink from 0.07 to 0.06, with the square root of the keys."""
    assert keys_wanted("causal-lm", MINIMUM, [PASSED, UNPROVEN, PROVEN]) == math.ceil(60 * (0.07 / 0.06) ** 2)


def test_no_more_than_twice_as_many_are_asked_for_at_once() -> None:
    """Figures move: one that lies on its bound would ask for all text there is."""
    assert keys_wanted("causal-lm", MINIMUM, [replace(UNPROVEN, figure=0.0799)]) == 120


def test_what_many_keys_just_proved_is_not_asked_of_fewer_the_next_time() -> None:
    """A bound that 200 keys kept narrowly stays kept."""
    narrow = replace(PASSED, keys=200, figure=0.02, upper=0.078)
    assert 180 < keys_wanted("causal-lm", MINIMUM, [narrow]) <= 200


def test_slices_that_were_judged_together_share_what_was_needed() -> None:
    """Three slices of 60 keys in all need not have 60 more each."""
    joined = replace(UNPROVEN, slice="a@1 + b@1 + c@1", keys=180, figure=0.0799)
    assert keys_wanted("causal-lm", MINIMUM, [joined]) == 120
    everything = replace(UNPROVEN, name=MAJORITY, slice="held-out text", keys=240, figure=0.0799)
    assert keys_wanted("causal-lm", MINIMUM, [joined, PASSED, everything]) == 120


def test_checks_are_read_back_from_the_ledger() -> None:
    """Those of candidates; of a verdict that another version wrote, none."""
    learned = replace(PASSED, name="learned", slice="news@4", bound=0.0, figure=-0.1)
    verdict = refused("0.25", [learned, UNPROVEN]).to_json()
    assert read_checks(verdict) == (learned, UNPROVEN)
    assert read_checks({"checks": [{"name": "parent", "slice": "anchor"}]}) == ()
    assert read_checks({}) == ()
