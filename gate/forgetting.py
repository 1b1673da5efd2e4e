"""What a stream of rounds did to old knowledge: measures over the score matrix R. Pure, torch-free.

R[i,j] is the score of generation i on slice j. Row 0 is the base model; rows follow the order of acceptance.
Scores may be losses or accuracies: `higher_is_better` says which, and signs flip for losses, so that positive
forgetting is always bad and positive transfer always good. Everything is averaged in nats (or accuracy) as
given; who wants perplexity exponentiates last. NaN marks a score that was never taken; what depends on it is left
out, and a measure with nothing left to average is None.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from memory.ledger.records import DocumentScore

MARGIN: Final = 0.1
"""Nats per token by which a document's loss has to move for it to count as better or worse."""


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """The matrix R and when each slice was learned.

    Attributes:
        scores: rows are generations, columns slices; NaN where no score was taken.
        learned_at: for each column the row that was trained on the last of that slice's period; 0 for what the
            base model already knew (the anchor).
        higher_is_better: True for accuracies, False for losses.
    """

    scores: tuple[tuple[float, ...], ...]
    learned_at: tuple[int, ...]
    higher_is_better: bool

    def __post_init__(self) -> None:
        if any(len(row) != len(self.learned_at) for row in self.scores):
            raise ValueError(f"each row of R needs {len(self.learned_at)} scores, one for each slice")
        if any(row < 0 for row in self.learned_at):
            raise ValueError("a slice is learned at row 0 or later")

    def gain(self, later: float, earlier: float) -> float:
        """How much better `later` is than `earlier`; negative when worse."""
        return later - earlier if self.higher_is_better else earlier - later

    def trained_past(self, generation: int) -> list[int]:
        """The columns that were learned before this row, and so can have been forgotten at it."""
        return [j for j, row in enumerate(self.learned_at) if row < generation]


def forgetting(matrix: ScoreMatrix, generation: int) -> dict[int, float]:
    """Forgetting of each slice that was trained past: its best earlier score minus its score now.

    f[i,j] = max over l < i of R[l,j], minus R[i,j]; for losses R[i,j] - min over l < i of R[l,j].
    Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", eq. 3. Negative: better than ever.

    Returns:
        By column; slices with no earlier or no present score are left out.
    """
    now = matrix.scores[generation]
    result = {}
    for j in matrix.trained_past(generation):
        # Not only the latest: small losses add up, and each alone is within its bound.
        earlier = [row[j] for row in matrix.scores[:generation] if not math.isnan(row[j])]
        if earlier and not math.isnan(now[j]):
            best = max(earlier) if matrix.higher_is_better else min(earlier)
            result[j] = -matrix.gain(now[j], best)
    return result


def average_forgetting(matrix: ScoreMatrix, generation: int) -> float | None:
    """Mean of `forgetting` over the slices that were trained past. Positive is bad. Chaudhry et al. 2018."""
    return _mean(forgetting(matrix, generation).values())


def backward_transfer(matrix: ScoreMatrix, generation: int) -> float | None:
    """What later rounds did to earlier slices: mean over j < i of R[i,j] - R[j,j], flipped for losses.

    Positive is good: later text helped. Lopez-Paz & Ranzato 2017, "Gradient Episodic Memory", eq. 2.
    """
    now = matrix.scores[generation]
    return _mean(matrix.gain(now[j], matrix.scores[matrix.learned_at[j]][j]) for j in matrix.trained_past(generation))


def forward_transfer(matrix: ScoreMatrix, generation: int) -> float | None:
    """What is known of a slice before it is trained on: mean of R[j-1,j] - R[base,j], flipped for losses.

    Over the slices learned in rows 1 to i. Positive is good. After Lopez-Paz & Ranzato 2017, eq. 3, with the
    base model's score in the place of a random model's.
    """
    return _mean(
        matrix.gain(matrix.scores[row - 1][j], matrix.scores[0][j])
        for j, row in enumerate(matrix.learned_at)
        if 0 < row <= generation
    )


def plasticity(matrix: ScoreMatrix, generation: int) -> float | None:
    """How well new text is learned: mean of R[j,j] over slices learned in rows 1 to i, in R's own unit."""
    return _mean(matrix.scores[row][j] for j, row in enumerate(matrix.learned_at) if 0 < row <= generation)


@dataclass(frozen=True, slots=True)
class Flips:
    """What changed document by document, which averages hide.

    Attributes:
        worse: share of documents, 0 to 1, that the parent had right (or better by the margin).
        better: share of documents that the candidate has right (or better by the margin).
        documents: how many were compared.
    """

    worse: float
    better: float
    documents: int


@dataclass(frozen=True, slots=True)
class ChangedDocument:
    """One document under two models.

    Attributes:
        before, after: its scores.
        direction: -1 where it flipped to worse, 1 to better, 0 where neither.
    """

    before: DocumentScore
    after: DocumentScore
    direction: int


def changed_documents(
    parent: Iterable[DocumentScore], candidate: Iterable[DocumentScore], *, margin: float = MARGIN
) -> list[ChangedDocument]:
    """The documents that both scored, in the candidate's order, each with whether it flipped; see `flip_rate`."""
    before = {score.id: score for score in parent}
    return [
        ChangedDocument(before[score.id], score, change)
        for score in candidate
        if score.id in before and (change := _change(before[score.id], score, margin)) is not None
    ]


def flip_rate(parent: Iterable[DocumentScore], candidate: Iterable[DocumentScore], *, margin: float = MARGIN) -> Flips:
    """Share of documents that flipped from right to wrong, and from wrong to right.

    A classifier's document flips with its answer (Yan et al. 2021, "Positive-Congruent Training"); a language
    model's when its loss moves by more than `margin` nats per token. Documents that only one of the two
    scored, or that have no tokens or no finite loss, are left out.
    """
    changes = [changed.direction for changed in changed_documents(parent, candidate, margin=margin)]
    if not changes:
        return Flips(0.0, 0.0, 0)
    return Flips(changes.count(-1) / len(changes), changes.count(1) / len(changes), len(changes))


def _change(before: DocumentScore, after: DocumentScore, margin: float) -> int | None:
    """-1 for worse, 1 for better, 0 for neither, None where it cannot be told."""
    if before.correct is not None and after.correct is not None:
        return after.correct - before.correct
    if not before.tokens or not after.tokens:
        return None
    change = before.nll / before.tokens - after.nll / after.tokens
    if not math.isfinite(change):
        return None
    return (change > margin) - (change < -margin)


def _mean(values: Iterable[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None
