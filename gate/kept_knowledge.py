"""What a generation forgot, measured on the very documents that the generations before it have scored. Torch-free.

R's columns are means over what was drawn in each round, which changes: another number of slices draws other documents,
and merged slices have parts that some generation never saw. A model that did not change at all would seem to forget, or
to learn. So two generations are compared document by document, and what only one of them has scored is left out.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gate.best_so_far import KnownScores, is_enough
from gate.keys import KeyOf
from gate.settings import MINIMUM_KEYS
from gate.statistics.bootstrap import Interval, Resampling, interval
from gate.statistics.comparisons import Comparison, mean_of, nll_difference
from memory.ledger.records import DocumentScore

CONFIDENCE: Final = 0.95
"""Of each of the two limits that are shown."""

LearnedAt = Callable[[str], int | None]
"""From a slice's name to the place in the lineage of the generation that learned its last part; None: none has."""


@dataclass(frozen=True, slots=True)
class ScoredDocuments:
    """Held-out documents, and how generations scored them.

    Attributes:
        slices: by the slice's name, its documents, each with the number of its key.
        scores: by generation; all of them taken in sequences of one length.
    """

    slices: Mapping[str, KeyOf]
    scores: KnownScores

    def compared(self, slice_name: str, later: int, earlier: int) -> Comparison | None:
        """How much worse the later generation is on what both have scored of a slice; None where there is nothing."""
        key_of = self.slices.get(slice_name, {})
        pairs = list(self._pairs(key_of, later, earlier))
        if not pairs:
            return None
        return nll_difference([new for new, _ in pairs], [old for _, old in pairs], key_of)

    def _pairs(self, documents: KeyOf, later: int, earlier: int) -> Iterator[tuple[DocumentScore, DocumentScore]]:
        ours, theirs = self.scores.get(later, {}), self.scores.get(earlier, {})
        for document in documents:
            new, old = ours.get(document), theirs.get(document)
            # Other tokens: it was cut otherwise then, and its loss is not of the same text.
            if new is None or old is None or not new.tokens or new.tokens != old.tokens:
                continue
            if math.isfinite(new.nll) and math.isfinite(old.nll):
                yield new, old


NOTHING_SCORED: Final = ScoredDocuments({}, {})


def forgotten_by_slice(
    documents: ScoredDocuments, lineage: Sequence[int], learned_at: LearnedAt
) -> dict[str, Comparison]:
    """How much worse the last generation is than the best before it, for each slice that was trained past.

    Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", eq. 3, on common documents. Positive is bad.

    Args:
        documents: what was scored.
        lineage: the generations that led to the last of them, oldest first.
        learned_at: places in it.
    """
    last = len(lineage) - 1
    forgotten = {}
    for name in sorted(documents.slices):
        learned = learned_at(name)
        if learned is not None and learned < last:
            earlier = [documents.compared(name, lineage[last], generation) for generation in lineage[:last]]
            if known := _broad([each for each in earlier if each is not None]):
                # The best before it, not the latest: small losses add up, each within its bound.
                forgotten[name] = max(known, key=lambda each: each.estimate)
    return forgotten


def _broad(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those that rest on enough to stand for the slice: the largest of a few documents' figures is mostly chance."""
    widest = max((len(each.keys) for each in comparisons), default=0)
    return [each for each in comparisons if is_enough(len(each.keys), widest, MINIMUM_KEYS)]


def transferred_by_slice(
    documents: ScoredDocuments, lineage: Sequence[int], learned_at: LearnedAt
) -> dict[str, Comparison]:
    """How much better the last generation is on each slice than the one that learned the slice's last part.

    Lopez-Paz & Ranzato 2017, "Gradient Episodic Memory", eq. 2, on common documents. Positive is good. Slices are left
    out of which that generation's scores are gone with its files, as those of all but the best so far go.
    """
    last = len(lineage) - 1
    transferred = {}
    for name in sorted(documents.slices):
        learned = learned_at(name)
        if learned is not None and learned < last:
            compared = documents.compared(name, lineage[last], lineage[learned])
            if compared is not None:
                transferred[name] = compared.negated()
    return transferred


def average(by_slice: Mapping[str, Comparison]) -> Interval | None:
    """The mean over slices with limits of 95 % each, by resampling keys; None where there is none.

    Raises nothing where there is one key alone: its limits are then infinitely far.
    """
    if not by_slice:
        return None
    mean = mean_of([by_slice[name] for name in sorted(by_slice)])
    if len(mean.keys) < Resampling().minimum_keys:
        return Interval(mean.estimate, -math.inf, math.inf, mean.documents, len(mean.keys))
    return interval(mean, Resampling(CONFIDENCE))
