"""How sure each judgement of the same candidates must be, where they are judged again as evidence comes.

Who tests one thing again and again on growing evidence until it passes is bound to see it pass (optional stopping:
Armitage, McPherson & Rowe 1969, "Repeated significance tests on accumulating data"). So the looks share a chance of
error, whatever they have in common (Bonferroni). The first has all of what is stated, as every round has, most of which
are never judged again; each later one has LATER of it, so that all together err in at most 1 + 2 × 1/4 = 1.5 times the
stated chance. As the looks share their text, and what is proven to do harm is dropped, they err in 1.1 to 1.3 times the
stated one; were each look taken at that, in 1.7 to 2.2 times (`tests/unit/gate/test_looks.py` simulates both).

Only the newest text grows between two looks. Older slices are the same documents again, with the same result at the
same confidence: there no chance is added, and none is taken away.

The price is that a second look with as much text again as the first proves what the first could not by a factor of
1.14 at most, where a new round would have 1.41. It costs no training, and its candidate is the one that was judged.
"""

from collections.abc import Iterable
from statistics import NormalDist
from typing import Final

from gate.checks.check import MAJORITY
from gate.held_out import HeldOut
from gate.settings import GateSettings
from gate.verdict import Verdict

LOOKS: Final = 3
"""How often the same candidates are judged at most."""
LATER: Final = 0.25
"""The chance of error of each look after the first, as a share of the stated one."""


def confidence_at(settings: GateSettings, look: int) -> float:
    """With which confidence text that came since the last look must keep each bound.

    Args:
        settings: with the stated confidence.
        look: how often the candidates have been judged with this time, 1 to LOOKS.
    """
    return 1 - (1 - settings.confidence) * (1.0 if look == 1 else LATER)


def more_for_next_look(confidence: float, next_confidence: float) -> float:
    """How many times the keys that just sufficed at one look suffice at the next.

    Limits are as wide as the normal's quantile and draw near with the square root of the keys.

    Args:
        confidence: of each candidate's limits at this look, as the candidates share the chance of error.
        next_confidence: the same at the next.
    """
    quantile, next_quantile = map(NormalDist().inv_cdf, (confidence, next_confidence))
    # At a confidence of one half any limit suffices.
    return 1.0 if quantile <= 0 else (next_quantile / quantile) ** 2


def may_prove(verdict: Verdict, slices: Iterable[HeldOut], *, look: int) -> bool:
    """Whether more of the newest text may prove the candidates of a round that was refused for want of it.

    Not where an older slice was too small: it does not grow.

    Args:
        verdict: on the round.
        slices: that it was judged on.
        look: how often its candidates have been judged by then.
    """
    if look >= LOOKS or not verdict.evidence:
        return False
    newest = {piece.name for piece in slices if piece.kind == "newest"}
    failed = [check for check in verdict.checks if not check.passed]
    return all(check.name == MAJORITY or newest & set(check.slice.split(" + ")) for check in failed)
