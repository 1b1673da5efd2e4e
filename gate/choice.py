"""Which of several candidates serves, of those that pass: what is equal is told by standard errors, not by a constant.

Candidates lie on one line between parent and result, on which the mean of newest and older text hardly moves: the news
that a larger step learns is paid for with older text. Of nearly equal means the lowest is chance, and always taking the
smaller step would cost plasticity round after round. But what is "nearly" differs: documents of a large model that move
together tell two hundredths of a nat apart with ease, and forty noisy ones do not.
"""

from collections.abc import Callable, Collection, Mapping

from gate.keys import NO_KEYS, KeyOf
from gate.statistics.comparisons import Comparison, mean_of, nll_difference
from learner.directory.report import SliceScores

Pairwise = Callable[[str, str], Comparison]
"""From two candidates' names to how much worse the first is than the second, on average over slices."""


def best_candidate(names: Collection[str], *, on_newest: Pairwise | None, on_older: Pairwise | None) -> str:
    """The best of several candidates: what is learned and what is kept weigh the same, however many slices there are.

    The lowest is taken of half the mean loss over the newest slices and half that over the older ones. Equal are those
    that lie above it by no more than the standard error of their paired difference. Of equals the smallest share of
    the parent is taken, unless another of them forgot less and learned as well: told by the standard errors of their
    differences on older and on newest slices.

    The figures that are then reported come from the documents that chose. That flatters the chosen one's gain by less
    than 0.001 nats where candidates lie on one line, and by 0.006 (a tenth of the half-width of its limit) were they
    unlike each other, with 36 documents a slice; its limits err in 1 % where 5 % is stated
    (`tests/unit/gate/test_choice.py`). So no documents are set apart for the choice alone: halves would widen every
    limit by two fifths.

    Args:
        names: of the candidates: the parent's share in each.
        on_newest: differences of mean loss over the newest slices; None where there are none.
        on_older: the same over the older slices.
    """
    parts = [part for part in (on_newest, on_older) if part is not None]

    def difference(name: str, other: str) -> Comparison:
        return mean_of([part(name, other) for part in parts])

    def outdone(name: str, other: str) -> bool:
        forgot_more = on_older is not None and _worse(on_older(name, other))
        return forgot_more and (on_newest is None or not _worse(on_newest(other, name)))

    some = min(names)
    lowest = min(names, key=lambda name: (difference(name, some).estimate, name))
    equal = [name for name in names if not _worse(difference(name, lowest))]
    best = [name for name in equal if not any(outdone(name, other) for other in equal)]
    # Of figures that are no numbers nothing is equal to anything.
    return min(best or equal or [lowest])


def _worse(difference: Comparison) -> bool:
    return not difference.estimate <= difference.standard_error


def pairwise(slices: Mapping[str, SliceScores], key_of: KeyOf = NO_KEYS) -> Pairwise | None:
    """Differences between candidates' mean losses over these slices, each slice weighing the same.

    Slices without tokens are left out; None where none has any.
    """
    scored = [each.candidates for each in slices.values() if any(row.tokens for row in each.parent)]
    if not scored:
        return None

    def difference(candidate: str, other: str) -> Comparison:
        return mean_of([nll_difference(rows[candidate], rows[other], key_of) for rows in scored])

    return difference
