"""Which of several candidates serves, of those that pass: what is equal is told by standard errors, not by a constant.

Candidates lie on one line between parent and result, on which the mean over all slices hardly moves: the news that a
larger step learns is paid for with older text. Of nearly equal means the lowest is chance, and always taking the
smaller step would cost plasticity round after round. But what is "nearly" differs: documents of a large model that move
together tell two hundredths of a nat apart with ease, and forty noisy ones do not.
"""

from collections.abc import Callable, Collection, Mapping

from gate.keys import NO_KEYS, KeyOf
from gate.statistics.comparisons import Comparison, mean_of, nll_difference
from learner.directory.report import SliceScores

Pairwise = Callable[[str, str], Comparison]
"""From two candidates' names to how much worse the first is than the second, on average over slices."""


def best_candidate(names: Collection[str], *, everywhere: Pairwise, on_older: Pairwise) -> str:
    """The best of several candidates: the lowest mean loss over all slices, and of equals the one that learned most.

    Equal are means that lie above the lowest by no more than the standard error of their paired difference. Of equals
    the smallest share of the parent is taken, unless it is worse than another of them on the older slices by more than
    the standard error of that: then the other learned as well and forgot less.

    The figures that are then reported come from the documents that chose. That flatters the chosen one's gain by less
    than 0.001 nats where candidates lie on one line, and by 0.006 (a tenth of the half-width of its limit) were they
    unlike each other, with 36 documents a slice; its limits err in 1 % where 5 % is stated
    (`tests/unit/gate/test_choice.py`). So no documents are set apart for the choice alone: halves would widen every
    limit by two fifths.

    Args:
        names: of the candidates: the parent's share in each.
        everywhere: differences of mean loss over all slices.
        on_older: the same over the older slices alone.
    """
    some = min(names)
    lowest = min(names, key=lambda name: (everywhere(name, some).estimate, name))
    equal = [name for name in names if not _worse(everywhere(name, lowest))]
    spared = [name for name in equal if not any(_worse(on_older(name, other)) for other in equal)]
    # Of figures that are no numbers nothing is equal to anything.
    return min(spared or equal or [lowest])


def _worse(difference: Comparison) -> bool:
    return not difference.estimate <= difference.standard_error


def pairwise(slices: Mapping[str, SliceScores], key_of: KeyOf = NO_KEYS) -> Pairwise:
    """Differences between candidates' mean losses over these slices, each slice weighing the same.

    Slices without tokens are left out.
    """
    scored = [each.candidates for each in slices.values() if any(row.tokens for row in each.parent)]

    def difference(candidate: str, other: str) -> Comparison:
        return mean_of([nll_difference(rows[candidate], rows[other], key_of) for rows in scored])

    return difference
