"""How many keys it takes to prove a bound: older slices with fewer are judged together.

Where a classifier's documents differ by half a nat from one to the next, no 36 of them can rule out a harm of 0.08,
however harmless the candidate: it would be refused as unproven for ever. How many can follows from the spread of the
differences alone, not from their mean, so that a candidate cannot choose its judges by what it did on average.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Final

from gate.statistics.comparisons import Comparison

POWER: Final = 0.9
"""The chance with which a group is to clear a candidate that did no harm."""

MOST_TIMES: Final = 1e6
"""Times its bound by which a difference may spread: what is more is no number to reckon with."""


def keys_to_prove(bound: float, spread: float, confidence: float) -> int:
    """How many keys clear a harmless candidate of having broken a bound, with the chance `POWER`.

    n = ((z_confidence + z_power) spread / bound)²: at a true difference of 0 the upper limit then keeps the bound.

    Args:
        bound: of the difference, above 0; for a bound of 0 no number is enough, and 0 is returned.
        spread: standard deviation over keys of the paired differences.
        confidence: of the limit.
    """
    if bound <= 0 or not math.isfinite(spread):
        return 0
    quantiles = NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(POWER)
    times = min(max(quantiles, 0.0) * spread / bound, MOST_TIMES)
    return math.ceil(times * times)


def spread_within(comparisons: Iterable[Comparison]) -> float:
    """The standard deviation over keys of paired differences within slices, 0 where no slice has two keys.

    A slice's standard error times the root of its keys; slices weigh by their keys. What differs between slices is left
    out: it is what they are compared for.
    """
    several = [each for each in comparisons if len(each.keys) > 1]
    keys = sum(len(each.keys) for each in several)
    # Multiplied, not raised to a power, which would raise an error where it overflows.
    squares = [each.standard_error * each.standard_error * len(each.keys) * len(each.keys) for each in several]
    return math.sqrt(sum(squares) / keys) if keys else 0.0
