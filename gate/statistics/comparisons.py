"""What differs between two models on the same documents, as a function of how much each key counts. Torch-free.

Keys, not tokens or documents, are what evidence is counted in: tokens of one document rise and fall together, and so do
documents of one key (an author, a thread, a product). Both models are scored on the same documents, so that what makes
a document hard cancels in their difference (Koehn 2004, "Statistical significance tests for machine translation
evaluation").
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gate.keys import NO_KEYS, KeyOf
from memory.ledger.records import DocumentScore
from streams.decoding.several_labels import is_set, members

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ROWS: Final = 256
"""Rows of weights that are made at once: bounds the memory to ROWS × keys × 8 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One model's figure minus another's, for any weights of the keys.

    Attributes:
        keys: their numbers, ascending, (keys,).
        documents: how many documents they have.
        figure: from weights, (rows, keys), none negative, to differences, (rows,).
        influence: by how much the difference moves, to first order, if a key counts once more, (keys,).
    """

    keys: Ints
    documents: int
    figure: Callable[[Floats], Floats]
    influence: Floats

    @property
    def estimate(self) -> float:
        """The difference where each key counts once."""
        with _quiet():
            return float(self.figure(np.ones((1, len(self.keys))))[0])

    @property
    def standard_error(self) -> float:
        """Of the estimate, keys drawn anew: sqrt(n / (n - 1) times the sum of squared influences).

        Infinite for a single key.
        """
        keys = len(self.keys)
        with _quiet():
            return math.sqrt(float((self.influence**2).sum()) * keys / (keys - 1)) if keys > 1 else math.inf

    def negated(self) -> "Comparison":
        """The other model's figure minus this one's: a drop is a negative gain."""
        return Comparison(self.keys, self.documents, lambda weights: -self.figure(weights), -self.influence)


def nll_difference(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], key_of: KeyOf = NO_KEYS
) -> Comparison:
    """The difference in mean loss, in nats per token: sum of differences over sum of tokens."""
    ours, theirs = pair_by_document(candidate, reference)
    tokens = np.array([score.tokens for score in ours], dtype=np.float64)
    # The difference, document by document: what makes one hard for both models cancels.
    nll = np.array([mine.nll - other.nll for mine, other in zip(ours, theirs, strict=True)])
    return ratio(nll, tokens, _documents_of(ours), key_of)


def accuracy_difference(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], key_of: KeyOf = NO_KEYS
) -> Comparison:
    """The candidate's accuracy minus the reference's; negative: the candidate is worse."""
    ours, theirs = pair_by_document(candidate, reference)
    pairs = zip(ours, theirs, strict=True)
    difference = np.array([bool(mine.correct) - bool(other.correct) for mine, other in pairs], dtype=np.float64)
    return ratio(difference, np.ones_like(difference), _documents_of(ours), key_of)


def f1_difference(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], key_of: KeyOf = NO_KEYS
) -> Comparison:
    """The candidate's macro-F1 minus the reference's (see `gate.measures.macro_f1`)."""
    return _of_answers(candidate, reference, key_of, _macro_f1)


def balanced_difference(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], key_of: KeyOf = NO_KEYS
) -> Comparison:
    """The candidate's balanced accuracy minus the reference's; negative: the candidate is worse.

    Balanced accuracy is the mean over labels of the share of each label's documents that are answered rightly
    (Brodersen et al. 2010, "The Balanced Accuracy and Its Posterior Distribution"). Whoever always answers alike, and
    whoever answers at random, comes to one in so many labels as there are, however rare some of them be.

    Where any number of labels fits a document each is a question of its own, whether it fits, and counts by the mean of
    the share of documents with it that are answered rightly and of that of those without it: always answering alike
    comes to a half. A label that all documents have, or none, asks nothing and is left out.
    """
    several = any(is_set(score.label) for score in candidate)
    measure = _balanced_accuracies_of_sets if several else _balanced_accuracies
    return _of_answers(candidate, reference, key_of, measure)


def ratio(numerators: Floats, denominators: Floats, documents: Ints, key_of: KeyOf = NO_KEYS) -> Comparison:
    """sum(numerators) / sum(denominators), both of shape (documents,), as the keys count."""
    keys, owner = _keys_of(documents, key_of)
    over, under = _sum_by_key(numerators, owner, len(keys)), _sum_by_key(denominators, owner, len(keys))

    def figure(weights: Floats) -> Floats:
        quotients: Floats = (weights @ over) / (weights @ under)
        return quotients

    # The derivative by a key's weight, at weights of 1: (n_k - r d_k) / sum(d), so that influences sum to 0.
    with _quiet():
        quotient = over.sum() / under.sum()
        influence: Floats = (over - quotient * under) / under.sum()
    return Comparison(keys, len(documents), figure, influence)


def mean_of(parts: Sequence[Comparison]) -> Comparison:
    """The unweighted mean of several groups' (slices') differences; a key that is in several counts alike in each.

    Raises:
        ValueError: no parts.
    """
    if not parts:
        raise ValueError("the mean of no estimates is not defined")
    return sum_of(parts, [1 / len(parts)] * len(parts))


def sum_of(parts: Sequence[Comparison], factors: Sequence[float]) -> Comparison:
    """Several differences, each times its factor, added up; a key that is in several counts alike in each."""
    keys = np.unique(np.concatenate([part.keys for part in parts]))
    places = [np.searchsorted(keys, part.keys) for part in parts]
    # Added up: who writes in several slices moves the sum by all of them.
    influence = np.zeros(len(keys))
    with _quiet():
        for part, place, factor in zip(parts, places, factors, strict=True):
            influence[place] += factor * part.influence

    def figure(weights: Floats) -> Floats:
        figures = [part.figure(weights[:, place]) for part, place in zip(parts, places, strict=True)]
        sums: Floats = np.asarray(factors) @ np.array(figures)
        return sums

    return Comparison(keys, sum(part.documents for part in parts), figure, influence)


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


def _quiet() -> np.errstate:
    """NaN and infinity are kept without a warning: they pass no bound."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore")


def _documents_of(scores: Sequence[DocumentScore]) -> Ints:
    return np.array([score.id for score in scores], dtype=np.int64)


def _keys_of(documents: Ints, key_of: KeyOf) -> tuple[Ints, Ints]:
    """The different keys, ascending, and the place among them of each document's."""
    each = np.array([key_of.get(document, document) for document in documents.tolist()], dtype=np.int64)
    keys, owner = np.unique(each, return_inverse=True)  # ascending: the same resample whatever order documents came in
    return keys, owner


def _sum_by_key(values: Floats, owner: Ints, keys: int) -> Floats:
    """Rows (documents, …) summed over the documents of each key: (keys, …)."""
    sums = np.zeros((keys, *values.shape[1:]))
    np.add.at(sums, owner, values)
    return sums


@dataclass(frozen=True, slots=True)
class _Answers:
    """A classifier's answers by key and class, (keys, classes) each: all that any measure below is made of.

    Attributes:
        true: documents that have the class.
        right: those of them that were answered with it.
        answered: documents that were answered with it, rightly or not.
        without: documents that do not have the class.
        right_without: those of them that were not answered with it.
    """

    true: Floats
    right: Floats
    answered: Floats
    without: Floats
    right_without: Floats


Measure = Callable[[Floats, _Answers], Floats]


def _of_answers(
    candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], key_of: KeyOf, measure: Measure
) -> Comparison:
    ours, theirs = pair_by_document(candidate, reference)
    classes = sorted(frozenset[str]().union(*(members(score.label) for score in ours)))
    keys, owner = _keys_of(_documents_of(ours), key_of)
    true = _one_hot([score.label for score in ours], classes)
    mine, other = (
        _answers(true, _one_hot([score.predicted for score in scores], classes), owner, len(keys))
        for scores in (ours, theirs)
    )

    def figure(weights: Floats) -> Floats:
        return measure(weights, mine) - measure(weights, other)

    return Comparison(keys, len(ours), figure, _influence_by_counting_twice(figure, len(keys)))


def _answers(true: Floats, given: Floats, owner: Ints, keys: int) -> _Answers:
    columns = (true, true * given, given, 1 - true, (1 - true) * (1 - given))
    return _Answers(*(_sum_by_key(column, owner, keys) for column in columns))


def _influence_by_counting_twice(figure: Callable[[Floats], Floats], keys: int) -> Floats:
    """What a figure that is no mean becomes if one key after another counts twice, minus what it is: (keys,)."""
    influence = np.empty(keys)
    plain = figure(np.ones((1, keys)))[0]
    for start in range(0, keys, ROWS):
        weights = np.ones((min(ROWS, keys - start), keys))
        rows = np.arange(len(weights))
        weights[rows, start + rows] = 2
        influence[start : start + len(weights)] = figure(weights) - plain
    return influence


def _one_hot(labels: Sequence[str | None], classes: Sequence[str]) -> Floats:
    sets = [members(label) for label in labels]
    return np.array([[name in fitting for name in classes] for fitting in sets], dtype=np.float64)


def _balanced_accuracies(weights: Floats, answers: _Answers) -> Floats:
    """Balanced accuracy for each row of weights, over the classes that it has true labels of: (rows,)."""
    occurs = weights @ answers.true
    recall = _share(weights @ answers.right, occurs)
    means: Floats = recall.sum(axis=1) / np.maximum((occurs > 0).sum(axis=1), 1)
    return means


def _balanced_accuracies_of_sets(weights: Floats, answers: _Answers) -> Floats:
    """Balanced accuracy for each row of weights, over labels that some documents have and some do not: (rows,)."""
    having, lacking = weights @ answers.true, weights @ answers.without
    differ = (having > 0) & (lacking > 0)
    each = (_share(weights @ answers.right, having) + _share(weights @ answers.right_without, lacking)) / 2
    means: Floats = (each * differ).sum(axis=1) / np.maximum(differ.sum(axis=1), 1)
    return means


def _share(part: Floats, whole: Floats) -> Floats:
    """Part / whole, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _macro_f1(weights: Floats, answers: _Answers) -> Floats:
    """Macro-F1 for each row of weights, over the classes that it has true labels of: (rows,)."""
    occurs = weights @ answers.true
    f1 = _share(2 * (weights @ answers.right), occurs + weights @ answers.answered) * (occurs > 0)
    means: Floats = f1.sum(axis=1) / np.maximum((occurs > 0).sum(axis=1), 1)
    return means
