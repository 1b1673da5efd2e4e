"""What the scores of one model on one slice amount to. Pure, torch-free."""

import math
from collections import Counter
from collections.abc import Sequence

from memory.ledger.records import DocumentScore
from streams.decoding.several_labels import members


def mean_nll(scores: Sequence[DocumentScore]) -> float:
    """Mean negative log-likelihood in nats per token: all losses over all tokens, not a mean of means.

    Long documents weigh more, as they do in perplexity. NaN where no token was scored or a loss is not
    finite.
    """
    tokens = sum(score.tokens for score in scores)
    losses = [score.nll for score in scores]
    if tokens == 0 or not all(map(math.isfinite, losses)):
        return math.nan
    try:
        return math.fsum(losses) / tokens
    except OverflowError:
        return math.inf


def accuracy(scores: Sequence[DocumentScore]) -> float | None:
    """Share of documents that a classifier had right, 0 to 1; None for a language model or no documents."""
    answers = [score.correct for score in scores]
    if not answers or None in answers:
        return None
    return sum(answer is True for answer in answers) / len(answers)


def macro_f1(scores: Sequence[DocumentScore]) -> float | None:
    """Unweighted mean over classes of F1 = 2·TP / (2·TP + FP + FN), 0 to 1.

    Averaged over the classes that occur as true labels, so that two models are averaged over the same ones;
    an answer outside them still costs its true class a miss. Where several labels fit, each counts by itself. None for
    a language model, for no documents, and where none has a label.
    """
    if not scores or any(score.correct is None for score in scores):
        return None
    pairs = [(members(score.label), members(score.predicted)) for score in scores]
    true = Counter(name for fitting, _ in pairs for name in fitting)
    answered = Counter(name for _, given in pairs for name in given)
    right = Counter(name for fitting, given in pairs for name in fitting & given)
    if not true:
        return None
    return math.fsum(2 * right[name] / (true[name] + answered[name]) for name in true) / len(true)
