"""Whether a classifier's answers to new text are for or against the labels that the text has, whatever it is sure of.

On a kind of text that it cannot read a classifier errs, and may be sure of it: its answers then depend on nothing and
say nothing about the labels. Where they depend on the labels, they are for them, or these were turned round. A round
draws what earlier ones left beside what has come since: so that the one does not speak for the other, documents are
asked by when they arrived as well.

Torch-free and numpy-free.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LEAST_DOCUMENTS: Final = 10
"""A label with fewer is left out."""
UNRELATED: Final = 0.2
"""An association below this is none; for the figures behind it see docs/learning-log.md, "Labels turned round"."""
DEVIATIONS: Final = 4
"""Standard deviations that chi-square must lie above what chance makes of it, before answers are said to depend on
labels: chance does it in less than one text of a hundred."""

STRETCHES: Final = (2, 4)
"""A stretch of arrivals is a half or a quarter of them; each begins in the middle of the one before."""
DEVIATIONS_OF_STRETCH: Final = 6
"""The same as `DEVIATIONS`, of a stretch: there are ten of them."""
ERRORS: Final = 2
"""Standard errors that kappa must lie below 0, before a stretch's answers are said to be against its labels."""

Answered = Sequence[tuple[str, str]]
"""Of each document the classifier's answer and the label that it has."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How answers and labels go together, of the labels that have enough documents.

    Attributes:
        kappa: how much more often they are the same than by chance (Cohen 1960, "A coefficient of agreement for
            nominal scales"): 1 always, 0 as by chance, below 0 less often.
        association: how far answers depend on labels, whichever of them on which: 0 not at all, 1 wholly. Cramér's V
            without its bias in small samples (Bergsma 2013, "A bias-correction for Cramér's V and Tschuprow's T").
        error: kappa's standard error where answers do not depend on labels (Fleiss, Cohen and Everitt 1969, "Large
            sample standard errors of kappa and weighted kappa").
        deviations: standard deviations that chi-square lies above what chance alone makes of it.
    """

    kappa: float
    association: float
    error: float
    deviations: float

    @property
    def tells(self) -> bool:
        """Whether the answers say anything about the labels."""
        return self.deviations >= DEVIATIONS and self.association >= UNRELATED

    @property
    def is_surely_against(self) -> bool:
        """Whether the answers are against the labels, and chance did that in hardly any of a text's stretches."""
        return self.tells and self.deviations >= DEVIATIONS_OF_STRETCH and self.kappa <= -ERRORS * self.error

    @property
    def contrary_share(self) -> float:
        """Of what the answers say about the labels, the share that is against them; NaN where they say nothing.

        0: they depend on the labels as far as they are the same; 1: as far as they are others.
        """
        return min(1.0, max(0.0, (1 - self.kappa / self.association) / 2)) if self.tells else math.nan


def contrary_share(answered: Answered) -> float:
    """The share that is against the labels, of all of a text or of the worst of its stretches that are surely so.

    A stretch has fewer documents, and labels as unequal as they came: it counts where its answers are more against
    its labels than for them, which a misread label does not bring about.

    Args:
        answered: of each document in the order of arrival.

    Returns:
        0 to 1; NaN where the answers say nothing.
    """
    whole = agreement(answered)
    parts = [found for stretch in _stretches(answered) if (found := agreement(stretch)) and found.is_surely_against]
    shares = [found.contrary_share for found in parts + ([whole] if whole and whole.tells else [])]
    return max(shares, default=math.nan)


def _stretches(answered: Answered) -> Iterator[Answered]:
    for parts in STRETCHES:
        for half in range(2 * parts - 1):
            begin, end = (len(answered) * at // (2 * parts) for at in (half, half + 2))
            yield answered[begin:end]


def agreement(answered: Answered) -> Agreement | None:
    """How answers and labels go together; None where fewer than two labels have enough documents."""
    enough = {label for label, count in Counter(label for _, label in answered).items() if count >= LEAST_DOCUMENTS}
    together = Counter((answer, label) for answer, label in answered if label in enough)
    if len(enough) < 2:
        return None
    count, answers, labels = together.total(), Counter[str](), Counter[str]()
    for (answer, label), documents in together.items():
        answers[answer] += documents
        labels[label] += documents
    same = sum(together[label, label] for label in labels) / count
    by_chance = sum(answers[label] * labels[label] for label in labels) / count**2
    chi_square = count * math.fsum(
        (together[answer, label] - of_answer * of_label / count) ** 2 / (of_answer * of_label)
        for answer, of_answer in answers.items()
        for label, of_label in labels.items()
    )
    freedom = (len(answers) - 1) * (len(labels) - 1)
    spread = (
        by_chance
        + by_chance**2
        - math.fsum(answers[label] * labels[label] * (answers[label] + labels[label]) / count**3 for label in labels)
    )
    return Agreement(
        kappa=(same - by_chance) / (1 - by_chance),
        association=_cramers_v(chi_square, count, len(answers), len(labels)),
        error=math.sqrt(max(0.0, spread) / count) / (1 - by_chance),
        deviations=(chi_square - freedom) / math.sqrt(2 * freedom) if freedom else 0.0,
    )


def _cramers_v(chi_square: float, count: int, answers: int, labels: int) -> float:
    if answers < 2:
        return 0.0
    rows, columns = (each - (each - 1) ** 2 / (count - 1) for each in (answers, labels))
    above_chance = chi_square / count - (answers - 1) * (labels - 1) / (count - 1)
    return math.sqrt(max(0.0, above_chance) / (min(rows, columns) - 1))
