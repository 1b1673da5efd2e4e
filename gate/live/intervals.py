"""How sure a difference between the answers of two generations is, counted by group of callers.

Callers are divided between the two, not paired as documents are: each side has its own mean and its own error. Answers
to one caller rise and fall together, and so evidence is counted in groups of callers, each of which may have many. Text
that arrives meanwhile both read: there differences are taken in pairs, and counted in groups of keys.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from gate.statistics.bootstrap import Resampling, interval, t_quantile
from gate.statistics.comparisons import Floats
from gate.statistics.comparisons import ratio as paired_ratio

FEWEST_GROUPS: Final = 8
"""Groups of callers without which nothing is proven: of fewer nobody can tell how much callers differ."""


@dataclass(frozen=True, slots=True)
class LiveInterval:
    """An estimate with a lower and an upper confidence limit, each one-sided; infinite where nothing is known."""

    estimate: float
    lower: float
    upper: float


UNKNOWN: Final = LiveInterval(math.nan, -math.inf, math.inf)


def rate_difference(ours: Floats, theirs: Floats, confidence: float) -> LiveInterval:
    """The watched generation's rate of bad answers minus the serving one's.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: made of two
    Wilson intervals, and so no narrower where nothing bad was seen. Of answers that rise and fall together there are
    counted as many as would tell as much alone (Kish's design effect).

    Args:
        ours: of the watched one, by group: answers, and bad ones among them, shape (groups, 2).
        theirs: of the serving one, alike.
        confidence: of each limit, 0.5 to 1 exclusive.
    """
    if ours[:, 0].sum() == 0 or theirs[:, 0].sum() == 0:
        return UNKNOWN
    z = NormalDist().inv_cdf(confidence)
    mine, low, high = _wilson(ours, z)
    other, their_low, their_high = _wilson(theirs, z)
    difference = mine - other
    return LiveInterval(
        difference,
        difference - math.hypot(mine - low, their_high - other),
        difference + math.hypot(high - mine, other - their_low),
    )


def rate(side: Floats, confidence: float) -> LiveInterval:
    """How often something was so, with Wilson's limits.

    Of what one person said again and again there is counted as much as would tell as much alone (Kish's design effect).

    Args:
        side: by person: how often they were asked, and how often it was so, shape (people, 2).
        confidence: of each limit, 0.5 to 1 exclusive.
    """
    return UNKNOWN if side[:, 0].sum() == 0 else LiveInterval(*_wilson(side, NormalDist().inv_cdf(confidence)))


def ratio(ours: Floats, theirs: Floats, confidence: float) -> LiveInterval:
    """The watched generation's typical figure divided by the serving one's: the ratio of geometric means.

    Welch's t on the means of logarithms, with errors by group (Liang & Zeger 1986).

    Args:
        ours: of the watched one, by group: how many, and the sum of their logarithms, shape (groups, 2).
        theirs: of the serving one, alike.
        confidence: of each limit, 0.5 to 1 exclusive.
    """
    if min(_groups(ours), _groups(theirs)) < 2:
        return UNKNOWN if not (ours[:, 0].sum() and theirs[:, 0].sum()) else _without_limits(ours, theirs)
    mine, variance, freedom = _mean(ours)
    other, their_variance, their_freedom = _mean(theirs)
    together = variance + their_variance
    doubt = 0.0
    if together > 0:
        welch = together**2 / (variance**2 / freedom + their_variance**2 / their_freedom)
        doubt = t_quantile(confidence, max(1, math.floor(welch))) * math.sqrt(together)
    difference = mine - other
    return LiveInterval(_exp(difference), _exp(difference - doubt), _exp(difference + doubt))


def loss_difference(sums: Floats, confidence: float) -> LiveInterval:
    """The watched generation's mean loss minus the serving one's on the same text, in nats a token.

    Both have read the same documents, so that what makes one hard cancels: the gate's own interval for such pairs. In
    the far tails of late looks, for which its resamples are too few, it is Student's, which no limit is nearer than.

    Args:
        sums: by group of keys: tokens, and the sum of the differences of their losses, shape (groups, 2).
        confidence: of each limit, 0.5 to 1 exclusive.
    """
    seen = np.flatnonzero(sums[:, 0])
    if not len(seen):
        return UNKNOWN
    comparison = paired_ratio(sums[seen, 1], sums[seen, 0], seen)
    if len(seen) < FEWEST_GROUPS:
        return LiveInterval(comparison.estimate, -math.inf, math.inf)
    found = interval(comparison, Resampling(confidence, minimum_keys=FEWEST_GROUPS))
    return LiveInterval(found.estimate, found.lower, found.upper)


def enough_groups(*sides: Floats) -> bool:
    """Whether callers are many enough on each side, which has counts in its first column."""
    return all(_groups(side) >= FEWEST_GROUPS for side in sides)


def _groups(side: Floats) -> int:
    return int(np.count_nonzero(side[:, 0]))


def _without_limits(ours: Floats, theirs: Floats) -> LiveInterval:
    difference = ours[:, 1].sum() / ours[:, 0].sum() - theirs[:, 1].sum() / theirs[:, 0].sum()
    return LiveInterval(_exp(float(difference)), -math.inf, math.inf)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _wilson(side: Floats, z: float) -> tuple[float, float, float]:
    """A rate with Wilson's limits, by as many answers as are independent."""
    answers, bad = float(side[:, 0].sum()), float(side[:, 1].sum())
    rate = bad / answers
    effective = answers / _design_effect(side, rate)
    centre = (rate + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z * math.sqrt(rate * (1 - rate) / effective + (z / (2 * effective)) ** 2) / (1 + z * z / effective)
    return rate, max(0.0, centre - half), min(1.0, centre + half)


def _design_effect(side: Floats, rate: float) -> float:
    """How many times the variance of independent answers these have; at least 1."""
    groups, answers = _groups(side), float(side[:, 0].sum())
    if groups < 2 or not 0 < rate < 1:
        return 1.0
    residuals = side[:, 1] - rate * side[:, 0]
    variance = float((residuals**2).sum()) * groups / (groups - 1) / answers**2
    return max(1.0, variance / (rate * (1 - rate) / answers))


def _mean(side: Floats) -> tuple[float, float, int]:
    """The mean over answers, its variance by group, and the degrees of freedom."""
    groups, answers = _groups(side), float(side[:, 0].sum())
    mean = float(side[:, 1].sum()) / answers
    residuals = side[:, 1] - mean * side[:, 0]
    return mean, float((residuals**2).sum()) * groups / (groups - 1) / answers**2, groups - 1
