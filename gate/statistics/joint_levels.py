"""How the candidates of a round share the chance of error: by what they truly do alike, not by their number.

Candidates are points on one line between the parent and the trained result. Each bound would let one of them pass by
luck with the chance that the setting leaves, and several more often; but their differences to a reference rise and fall
with the same documents (correlations of 0.94 to 0.998 in the demo), so that what deceives the gate of one deceives it
of all. Dividing the chance by their number (Bonferroni) then asks for evidence that nobody needs: limits are 23 % wider
for three candidates, and 27 % for four. So the share of the chance that each gets is found by resampling the keys for
all candidates at once, and taking the level at which none of them errs with the stated confidence (the step-down
method's first step of Westfall & Young 1993, "Resampling-Based Multiple Testing", with p-values).

One comparison at a time is enough. Let each figure, as a function of the share of the way from parent to result, fall
and then rise, if it falls at all: losses are convex along the line near the parent, where a round stays, and so are
their means and their differences to a fixed reference. Where the parent keeps a bound, those that break it are then the
ones beyond some point of the line. Of all bounds that are broken take the one whose point is nearest to the parent:
every bad candidate breaks that one, so that the chance that any bad candidate passes is at most the chance that any
passes that single comparison. Where the parent itself breaks bounds (against the best so far or the base, as small
losses add up; or where more than no gain is asked) bad candidates lie on both sides, those nearer than some point
and those beyond another, and each side gets half of the chance. Whether the parent does is told by the same limits,
with the parent as one more candidate: if it does, and passes for one that does not, the nearer side's half has erred.

Of accuracy and macro-F1, which move in whole documents, nothing of the kind is taken for granted: they keep Bonferroni.
"""

from collections.abc import Sequence

import numpy as np

from gate.statistics.comparisons import ROWS, Comparison, Floats

STILL = 1e-12
"""A difference that moves by less, in whatever unit, is the same whichever keys are drawn: it cannot err."""


def joint_level(comparisons: Sequence[Comparison], chance: float, *, resamples: int, seed: int) -> float:
    """The chance of error that each of several comparisons may have for any of them to err with a given chance.

    Args:
        comparisons: of several candidates with one reference on the same keys.
        chance: that any of them errs, above 0 and below 1.
        resamples: of the keys, by the weights of `gate.statistics.bootstrap`.
        seed: of the generator; equal seeds give equal levels.

    Returns:
        From `chance` / comparisons, where they have nothing to do with one another, to `chance`, where they are one.
    """
    influences = np.column_stack([comparison.influence for comparison in comparisons])
    least = chance / len(comparisons)
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.sqrt((influences**2).sum(axis=0))
    if not np.isfinite(sizes).all():
        return least
    moving = influences[:, sizes > STILL] / sizes[sizes > STILL]
    if moving.shape[1] < 2:
        return chance
    beyond = _shares_beyond(_deviations(moving, resamples, seed))
    return float(np.clip(np.quantile(beyond.min(axis=1), chance), least, chance))


def _deviations(influences: Floats, resamples: int, seed: int) -> Floats:
    """By how much each comparison moves, to first order, if the keys are drawn anew: (resamples, comparisons)."""
    generator = np.random.default_rng(seed)
    moved = np.empty((resamples, influences.shape[1]))
    for start in range(0, resamples, ROWS):
        rows = slice(start, min(start + ROWS, resamples))
        moved[rows] = generator.standard_exponential((rows.stop - rows.start, len(influences))) @ influences
    return moved


def _shares_beyond(deviations: Floats) -> Floats:
    """For each deviation the share of its own comparison's that are as large: its p-value, (resamples, comparisons)."""
    largest_first = np.argsort(-deviations, axis=0, kind="stable")
    ranks = np.empty_like(deviations)
    np.put_along_axis(ranks, largest_first, np.arange(1.0, len(deviations) + 1)[:, None], axis=0)
    shares: Floats = ranks / len(deviations)
    return shares
