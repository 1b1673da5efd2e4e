"""How many prompts it takes to rule out that a skill was lost: with fewer a loss can go wholly unseen. Pure, no numpy.

No interval can see a loss that struck none of the prompts at hand. Of n independent prompts the chance that none is
among a share p of all that broke is (1 - p)^n: as large as the chance of error at p = 1 - chance^(1/n) (the exact limit
of Clopper & Pearson 1934 for none of n).
"""

import math


def unseen_drop(prompts: int, confidence: float) -> float:
    """The largest drop that may go unseen in so many prompts with a chance of 1 - confidence, 0 to 1."""
    return 1 - (1 - confidence) ** (1 / prompts) if prompts else 1.0


def prompts_needed(bound: float, confidence: float) -> int:
    """The fewest prompts in which a drop of `bound` goes unseen with a chance of at most 1 - confidence.

    Args:
        bound: above 0, below 1.
        confidence: of each candidate's limit, above 0, below 1.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - bound))


def confidence_of_each(confidence: float, candidates: int) -> float:
    """How sure the limit of each of a round's candidates is, as they share the chance of error."""
    return 1 - (1 - confidence) / max(candidates, 1)
