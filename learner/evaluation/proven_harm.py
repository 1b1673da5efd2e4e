"""Whether what was scored of a candidate proves already that it cannot pass, whatever the rest would say. Pure.

A candidate has to keep every bound, so that one which is broken beyond doubt ends the matter. Beyond doubt is more than
the gate asks for: the rise less several standard errors, keys counted and not documents, still is beyond the bound. The
gate looks at the same scores again, and by its own intervals.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from learner.directory.harm_bounds import HarmBound
from memory.ledger.records import DocumentScore

Scores = Mapping[str, Sequence[DocumentScore]]
"""Of one model, by slice."""


def proven_harm(bounds: Iterable[HarmBound], candidate: Scores, *, parent: Scores, base: Scores) -> str:
    """Tell where a candidate is proven to break a bound: the slices, joined by " + "; empty where it is not.

    Args:
        bounds: of the round; one of slices that are not all scored yet tells nothing.
        candidate: what was scored of it so far.
        parent, base: what they scored.
    """
    for bound in bounds:
        if not all(name in candidate for name in bound.slices):
            continue
        for theirs, most in ((parent, bound.over_parent), (base, bound.over_base)):
            if most is not None and _least_rise(bound, candidate, theirs) > most:
                return " + ".join(bound.slices)
    return ""


def in_order_of_proof(bounds: Iterable[HarmBound], slices: Iterable[str]) -> list[str]:
    """The slices in the order in which they are scored: first those that can end it, as the bounds come."""
    listed = list(slices)
    bound = dict.fromkeys(name for each in bounds for name in each.slices if name in listed)
    return [*bound, *(name for name in listed if name not in bound)]


def _least_rise(bound: HarmBound, ours: Scores, theirs: Scores) -> float:
    """How much the mean loss rose at the least, in nats; minus infinity where that cannot be told."""
    rises = np.array(list(_by_key(bound, ours, theirs).values()), dtype=np.float64).reshape(-1, 2)
    nats, tokens = rises.sum(axis=0)
    if len(rises) < 2 or not tokens or not np.isfinite(nats):
        return -math.inf
    mean = nats / tokens
    # Of a quotient, to first order, keys drawn anew: as `gate.statistics.comparisons.ratio` has it.
    influence = (rises[:, 0] - mean * rises[:, 1]) / tokens
    error = math.sqrt(float((influence**2).sum()) * len(rises) / (len(rises) - 1))
    return float(mean - bound.errors * error)


def _by_key(bound: HarmBound, ours: Scores, theirs: Scores) -> dict[int, tuple[float, int]]:
    """By key, by how many nats its documents together have become worse, and their tokens."""
    summed: dict[int, tuple[float, int]] = {}
    for name in bound.slices:
        before = {score.id: score for score in theirs[name]}
        for score in ours[name]:
            key = bound.keys.get(score.id, score.id)
            nats, tokens = summed.get(key, (0.0, 0))
            if score.tokens:
                summed[key] = nats + score.nll - before[score.id].nll, tokens + score.tokens
    return summed
