"""R by eras: what each generation scores on the held-out text of each era, whatever slices it was kept in."""

import math
from collections.abc import Iterable

from learner.forgetting import ScoreMatrix
from learner.report import DocumentScore, Report

ANCHOR = "anchor"


class EraScores:
    """R with one row a generation (the base first) and one column an era (text from before the stream first).

    A held-out document belongs to the era of the first round whose report scores it.
    """

    def __init__(self, eras: int) -> None:
        self._rows = [[math.nan] * (eras + 1) for _ in range(eras + 1)]
        self._era_of: dict[int, int] = {}
        self._rounds = 0

    def add(self, report: Report, candidate: str) -> None:
        """Take in the next accepted round and the candidate that was accepted."""
        self._rounds += 1
        number = self._rounds
        for name, scores in report.slices.items():
            for document in scores.base:
                self._era_of.setdefault(document.id, 0 if name == ANCHOR else number)
        slices = report.slices.values()
        self._fill(0, (d for scores in slices for d in scores.base))
        self._fill(number - 1, (d for scores in slices for d in scores.parent))
        self._fill(number, (d for scores in slices for d in scores.candidates[candidate]))

    @property
    def matrix(self) -> ScoreMatrix:
        """R so far: mean NLL in nats per token, NaN where nothing was scored."""
        size = self._rounds + 1
        rows = tuple(tuple(row[:size]) for row in self._rows[:size])
        return ScoreMatrix(rows, tuple(range(size)), higher_is_better=False)

    def _fill(self, row: int, documents: Iterable[DocumentScore]) -> None:
        nll: dict[int, float] = {}
        tokens: dict[int, int] = {}
        for document in documents:
            era = self._era_of[document.id]
            nll[era] = nll.get(era, 0.0) + document.nll
            tokens[era] = tokens.get(era, 0) + document.tokens
        for era, total in tokens.items():
            if total and math.isnan(self._rows[row][era]):
                self._rows[row][era] = nll[era] / total
