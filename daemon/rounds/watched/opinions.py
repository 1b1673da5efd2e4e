"""What people say of a watched generation's answers, beside what they say meanwhile of the serving one's."""

from collections.abc import Iterable

import numpy as np

from daemon.rounds.watched.observed import GROUPS
from gate.live.judge_live import FurtherRate
from gate.statistics.comparisons import Floats
from memory.intake.feedback import GroupJudged
from memory.ledger.history.canaries import CanaryRecord
from memory.store import Store

NAME = "rejected"


def rejections(store: Store, canary: CanaryRecord, bound: float) -> tuple[FurtherRate, ...]:
    """The share of answers that people rejected, of those that they judged; none while either side has no word.

    Args:
        store: where feedback is kept.
        canary: which two generations, and since when.
        bound: by how much it may be higher.
    """
    ours = _counts(store.feedback.by_group(canary.generation, canary.since))
    theirs = _counts(store.feedback.by_group(canary.beside, canary.since))
    if not (ours.any() and theirs.any()):
        return ()
    return (FurtherRate(NAME, bound, ours, theirs, must_be_proven=False),)


def _counts(judged: Iterable[GroupJudged]) -> Floats:
    """Judged and rejected answers by group of those who had asked: who says so can be made up by who says it."""
    counts = np.zeros((GROUPS, 2))
    for each in judged:
        counts[each.group % GROUPS] += (each.judged, each.rejected)
    return counts
