"""Whether a classifier's answers to new text go with the labels that the text has, whatever it is sure of.

On a kind of text that it never saw a classifier errs, and may be sure of it: its answers then say nothing about the
labels, neither for nor against them. Where they do say something, they are for the labels, or these were turned round.
Torch-free and numpy-free.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

LEAST_DOCUMENTS: Final = 10
"""With fewer of a label, or of all others, nothing is said about it."""
UNRELATED: Final = 0.3
"""An association below this is none; for the figures behind it see docs/learning-log.md, "Labels turned round"."""

Answered = Sequence[tuple[str, str]]
"""Of each document the classifier's answer and the label that it has."""


def contrary_share(answered: Answered) -> float:
    """How much more often a label is answered where it is not given than where it is, of the label where that is most.

    Youden's J (1950, "Index for rating diagnostic tests") of the answers for each label, its sign reversed: -1 where
    the label is answered where it is given and nowhere else, 0 where the answers do not depend on the label, 1 where
    they are turned round. Returns NaN where no label has enough documents beside enough of others.
    """
    answers, labels = Counter(answer for answer, _ in answered), Counter(label for _, label in answered)
    right = Counter(label for answer, label in answered if answer == label)
    shares = [
        (answers[label] - right[label]) / (len(answered) - count) - right[label] / count
        for label, count in labels.items()
        if min(count, len(answered) - count) >= LEAST_DOCUMENTS
    ]
    return max(shares, default=math.nan)


def association(answered: Answered) -> float:
    """How far answers depend on labels: 0 not at all, 1 wholly.

    Cramér's V without its bias in small samples (Bergsma 2013, "A bias-correction for Cramér's V and Tschuprow's T").
    Labels with fewer than `LEAST_DOCUMENTS` are left out; returns NaN where fewer than two are left, and 0 where all is
    answered alike.
    """
    enough = {label for label, count in Counter(label for _, label in answered).items() if count >= LEAST_DOCUMENTS}
    pairs = [(answer, label) for answer, label in answered if label in enough]
    answers, labels = Counter(answer for answer, _ in pairs), Counter(label for _, label in pairs)
    if len(labels) < 2:
        return math.nan
    if len(answers) < 2:
        return 0.0
    count, together = len(pairs), Counter(pairs)
    share = math.fsum(
        (together[answer, label] - of_answer * of_label / count) ** 2 / (of_answer * of_label)
        for answer, of_answer in answers.items()
        for label, of_label in labels.items()
    )
    rows, columns = (len(each) - (len(each) - 1) ** 2 / (count - 1) for each in (answers, labels))
    by_chance = (len(answers) - 1) * (len(labels) - 1) / (count - 1)
    return math.sqrt(max(0.0, share - by_chance) / (min(rows, columns) - 1))
