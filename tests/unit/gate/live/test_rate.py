"""How often something was so, with limits that know who said it."""

import numpy as np
import pytest

from gate.live.intervals import UNKNOWN, rate


def test_limits_are_wilsons() -> None:
    """Against a published example: 15 of 148 (Newcombe 1998, table I, method 3)."""
    found = rate(np.array([[148.0, 15.0]]), 0.975)
    assert (found.lower, found.upper) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert found.estimate == pytest.approx(15 / 148)


def test_what_one_person_said_again_and_again_counts_for_less() -> None:
    """Two who always disagree know no more than two words; nothing at all is known of nothing."""
    alone = rate(np.array([[40.0, 20.0]]), 0.975)
    opposed = rate(np.array([[20.0, 20.0], [20.0, 0.0]]), 0.975)
    assert opposed.upper - opposed.lower > 2 * (alone.upper - alone.lower)
    assert rate(np.zeros((0, 2)), 0.975) is UNKNOWN
