"""Paired bootstrap over documents: how sure a difference between two models is. Torch-free.

Documents, not tokens, are resampled: tokens of one document rise and fall together, and counting them as
independent would make every interval too narrow. Both models are scored on the same documents, so their
difference is resampled, in which what makes a document hard cancels (Koehn 2004, "Statistical significance
tests for machine translation evaluation").
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.ledger.records import DocumentScore
from streams.decoding.label_sets import is_set, members

Floats = NDArray[np.float64]

CHUNK: Final = 256
"""Resamples drawn at once: bounds the memory to CHUNK × documents × 8 bytes, whatever the resamples."""


class TooFewDocuments(ValueError):
    """There are fewer documents than an interval can honestly be drawn from."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a lower and an upper confidence limit, each one-sided.

    Attributes:
        estimate: of all documents, without resampling.
        lower: the true value is above it with the asked confidence.
        upper: the true value is below it with the asked confidence.
        documents: how many documents it rests on.
    """

    estimate: float
    lower: float
    upper: float
    documents: int


@dataclass(frozen=True, slots=True)
class Resampling:
    """How to resample.

    Attributes:
        confidence: of each one-sided limit, 0.5 to 1 exclusive.
        resamples: how many; the tail beyond a limit should hold some twenty of them.
        seed: of the generator; equal seeds give equal limits.
        minimum_documents: fewer raise `TooFewDocuments`; at least 2.
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    minimum_documents: int = 2

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}, not within [0.5, 1)")
        if self.resamples < 100 or self.minimum_documents < 2:
            raise ValueError("a bootstrap needs 100 resamples and 2 documents or more")


@dataclass(frozen=True, slots=True)
class Replicates:
    """An estimate and what it became in each resample, so that several can be combined before the limits.

    Attributes:
        values: (resamples,).
        freedom: documents minus the number of independently resampled groups.
    """

    estimate: float
    values: Floats
    documents: int
    freedom: int

    def interval(self, confidence: float) -> Interval:
        """One-sided limits: percentiles of the replicates, moved outwards for small samples.

        A percentile interval is too narrow by sqrt((n-1)/n) and by the normal's thinner tails; the level
        Phi(-sqrt(n/(n-1)) · t) instead of 1 - confidence corrects for both (Hesterberg 2015, "What Teachers
        Should Know About the Bootstrap", expanded percentile interval).
        """
        n = self.freedom + 1
        tail = NormalDist().cdf(-math.sqrt(n / self.freedom) * t_quantile(confidence, self.freedom))
        with np.errstate(invalid="ignore"):
            lower, upper = np.quantile(self.values, [tail, 1 - tail])
        return Interval(self.estimate, float(lower), float(upper), self.documents)


def nll_replicates(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], how: Resampling
) -> Replicates:
    """Replicates of the difference in mean loss: sum of differences over sum of tokens."""
    ours, theirs = pair_by_document(candidate, reference)
    tokens = np.array([score.tokens for score in ours], dtype=np.float64)
    # The difference, document by document: what makes one hard for both models cancels.
    nll = np.array([mine.nll - other.nll for mine, other in zip(ours, theirs, strict=True)])
    return ratio_replicates(nll, tokens, how)


def accuracy_replicates(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], how: Resampling
) -> Replicates:
    """Replicates of the candidate's accuracy minus the reference's; negative: the candidate is worse."""
    ours, theirs = pair_by_document(candidate, reference)
    pairs = zip(ours, theirs, strict=True)
    difference = np.array([bool(mine.correct) - bool(other.correct) for mine, other in pairs], dtype=np.float64)
    return ratio_replicates(difference, np.ones_like(difference), how)


def f1_replicates(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], how: Resampling
) -> Replicates:
    """Replicates of the candidate's macro-F1 minus the reference's (see `gate.measures.macro_f1`)."""
    ours, theirs = pair_by_document(candidate, reference)
    classes = sorted(frozenset[str]().union(*(members(score.label) for score in ours)))
    true = _one_hot([score.label for score in ours], classes)
    mine = _one_hot([score.predicted for score in ours], classes)
    other = _one_hot([score.predicted for score in theirs], classes)

    def difference(weights: Floats) -> Floats:
        return _macro_f1(weights, true, mine) - _macro_f1(weights, true, other)

    return _replicates(difference, len(ours), how)


def balanced_replicates(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], how: Resampling
) -> Replicates:
    """Replicates of the candidate's balanced accuracy minus the reference's; negative: the candidate is worse.

    Balanced accuracy is the mean over labels of the share of each label's documents that are answered rightly
    (Brodersen et al. 2010, "The Balanced Accuracy and Its Posterior Distribution"). Whoever always answers alike, and
    whoever answers at random, comes to one in so many labels as there are, however rare some of them be.

    Where any number of labels fits a document each is a question of its own, whether it fits, and counts by the mean of
    the share of documents with it that are answered rightly and of that of those without it: always answering alike
    comes to a half. A label that all documents have, or none, asks nothing and is left out.
    """
    ours, theirs = pair_by_document(candidate, reference)
    classes = sorted(frozenset[str]().union(*(members(score.label) for score in ours)))
    true = _one_hot([score.label for score in ours], classes)
    mine = _one_hot([score.predicted for score in ours], classes)
    other = _one_hot([score.predicted for score in theirs], classes)
    balanced = _balanced_accuracies_of_sets if any(is_set(score.label) for score in ours) else _balanced_accuracies

    def difference(weights: Floats) -> Floats:
        return balanced(weights, true, mine) - balanced(weights, true, other)

    return _replicates(difference, len(ours), how)


def ratio_replicates(numerators: Floats, denominators: Floats, how: Resampling) -> Replicates:
    """Replicates of sum(numerators) / sum(denominators), both of shape (documents,), resampled together."""

    def ratio(weights: Floats) -> Floats:
        quotients: Floats = (weights @ numerators) / (weights @ denominators)
        return quotients

    return _replicates(ratio, len(numerators), how)


def mean_of(parts: Sequence[Replicates]) -> Replicates:
    """The unweighted mean of estimates of independent groups (slices), resampled within each.

    Raises:
        ValueError: no parts, or of different numbers of resamples.
    """
    if not parts:
        raise ValueError("the mean of no estimates is not defined")
    return Replicates(
        estimate=math.fsum(part.estimate for part in parts) / len(parts),
        values=np.mean(np.stack([part.values for part in parts]), axis=0),
        documents=sum(part.documents for part in parts),
        freedom=sum(part.freedom for part in parts),
    )


def pair_by_document(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore]
) -> tuple[list[DocumentScore], list[DocumentScore]]:
    """Both lists in the order of the documents' ids, so that the order of arrival cannot change a result.

    Raises:
        ValueError: they are not of the same documents, or a document has two token counts.
    """
    ours, theirs = (sorted(scores, key=lambda score: score.id) for scores in (candidate, reference))
    if [(score.id, score.tokens) for score in ours] != [(score.id, score.tokens) for score in theirs]:
        raise ValueError("a paired comparison needs scores of the same documents with the same token counts")
    return ours, theirs


def t_quantile(probability: float, freedom: int) -> float:
    """Student's t quantile by its expansion around the normal's; good to 1 % from 5 degrees of freedom on.

    Abramowitz & Stegun 1964, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _replicates(statistic: Callable[[Floats], Floats], documents: int, how: Resampling) -> Replicates:
    """Apply `statistic`, which maps weights (resamples, documents) to (resamples,), to resampled weights."""
    if documents < how.minimum_documents:
        raise TooFewDocuments(f"{documents} documents, at least {how.minimum_documents} are needed")
    generator = np.random.default_rng(how.seed)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # NaN and inf are kept, and pass no bound
        values = np.concatenate(
            [
                statistic(_weights(generator, min(CHUNK, how.resamples - done), documents))
                for done in range(0, how.resamples, CHUNK)
            ]
        )
        estimate = float(statistic(np.ones((1, documents)))[0])
    return Replicates(estimate, values, documents, documents - 1)


def _weights(generator: np.random.Generator, resamples: int, documents: int) -> Floats:
    """How often each document was drawn in each resample: (resamples, documents)."""
    # Counting how often each was drawn, and weighing by it, spares gathering the documents of each resample.
    drawn = generator.integers(documents, size=(resamples, documents))
    drawn += np.arange(resamples)[:, None] * documents
    counts = np.bincount(drawn.ravel(), minlength=resamples * documents)
    return counts.reshape(resamples, documents).astype(np.float64)


def _one_hot(labels: Sequence[str | None], classes: Sequence[str]) -> Floats:
    sets = [members(label) for label in labels]
    return np.array([[name in fitting for name in classes] for fitting in sets], dtype=np.float64)


def _balanced_accuracies(weights: Floats, true: Floats, answered: Floats) -> Floats:
    """Balanced accuracy of each resample, over the classes that the resample has true labels of: (resamples,)."""
    occurs = weights @ true
    means: Floats = _recall(weights, true, answered).sum(axis=1) / np.maximum((occurs > 0).sum(axis=1), 1)
    return means


def _balanced_accuracies_of_sets(weights: Floats, true: Floats, answered: Floats) -> Floats:
    """Balanced accuracy of each resample, over labels that some documents have and some do not: (resamples,)."""
    differ = (weights @ true > 0) & (weights @ (1 - true) > 0)
    each = (_recall(weights, true, answered) + _recall(weights, 1 - true, 1 - answered)) / 2
    means: Floats = (each * differ).sum(axis=1) / np.maximum(differ.sum(axis=1), 1)
    return means


def _recall(weights: Floats, true: Floats, answered: Floats) -> Floats:
    """The share of each class's documents that are answered rightly, 0 where there are none: (resamples, classes)."""
    occurs = weights @ true
    return np.divide(weights @ (true * answered), occurs, out=np.zeros_like(occurs), where=occurs > 0)


def _macro_f1(weights: Floats, true: Floats, answered: Floats) -> Floats:
    """Macro-F1 of each resample, over the classes that the resample has true labels of: (resamples,)."""
    occurs = weights @ true
    right, given = weights @ (true * answered), weights @ answered
    f1 = np.divide(2 * right, occurs + given, out=np.zeros_like(right), where=occurs > 0)
    means: Floats = f1.sum(axis=1) / np.maximum((occurs > 0).sum(axis=1), 1)
    return means
