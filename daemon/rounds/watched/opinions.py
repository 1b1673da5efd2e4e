"""What people say of a watched generation's answers, beside what they say meanwhile of the serving one's."""

import hashlib
from collections.abc import Iterable

import numpy as np

from daemon.rounds.watched.observed import GROUPS
from gate.live.judge_live import FurtherRate
from gate.statistics.comparisons import Floats
from memory.intake.feedback import GiverCounts
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
    ours = _by_group(store.feedback.of_givers(canary.generation, canary.since))
    theirs = _by_group(store.feedback.of_givers(canary.beside, canary.since))
    if not (ours.any() and theirs.any()):
        return ()
    return (FurtherRate(NAME, bound, ours, theirs, must_be_proven=False),)


def _by_group(givers: Iterable[GiverCounts]) -> Floats:
    """Judged and rejected answers by group of people: what one person says is no independent evidence."""
    counts = np.zeros((GROUPS, 2))
    for each in givers:
        group = int.from_bytes(hashlib.blake2b(each.giver.encode(), digest_size=8).digest(), "big") % GROUPS
        counts[group] += (each.judged, each.rejected)
    return counts
