"""Stored names before a person."""

import pytest

from daemon.control.wording import begun, check_words, not_kept
from daemon.rounds.begin_or_wait import DRY_RUN, Trigger
from gate.checks.check import AGAINST, DROPS
from memory.metrics import DROPPED

TEXT_CHECKS = ("plausible_mean_nll", "plausible_upper_nll", "plausible_repetitive_share")


@pytest.mark.parametrize("trigger", [*Trigger, DRY_RUN])
def test_what_began_a_round_is_said_in_words(trigger: str) -> None:
    """No stored name is left."""
    assert begun(trigger).startswith(("by ", "as "))
    assert "_" not in begun(trigger)
    assert not begun(trigger).startswith("by by")


def test_every_check_of_the_gate_has_words() -> None:
    """Each of its own, without an abbreviation that nobody explains."""
    names = [*TEXT_CHECKS, *AGAINST, *(f"{measure}_{to}" for measure in DROPS for to in AGAINST if to != "learned")]
    words = [check_words(name) for name in names]
    assert len(set(words)) == len(names)
    assert all("_" not in each and "nll" not in each and each not in names for each in words)


def test_every_cause_for_which_text_is_not_kept_is_explained() -> None:
    """Of one document, and of several."""
    for cause in DROPPED:
        assert not_kept({cause: 2}).startswith("2 ")
        assert cause not in not_kept({cause: 1})
    assert not_kept({"surplus": 0}) == ""
    assert not_kept({"surplus": 51, "evicted": 56}) == (
        "51 beyond what slices and replay may hold, 56 that made room for later ones"
    )
