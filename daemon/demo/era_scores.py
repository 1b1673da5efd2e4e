"""R by eras: what each generation scores on the held-out text of each era, whatever slices it was kept in."""

import math
from collections.abc import Iterable

from gate.forgetting import ScoreMatrix
from gate.measures import mean_nll
from learner.directory.report import Report
from memory.ledger.records import DocumentScore
from memory.samples.slice_names import ANCHOR


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
        # The parent's row too: what it scored on the new era before anything of that was trained on.
        self._fill(number - 1, (d for scores in slices for d in scores.parent))
        self._fill(number, (d for scores in slices for d in scores.candidates[candidate]))

    @property
    def matrix(self) -> ScoreMatrix:
        """R so far: mean NLL in nats per token, NaN where nothing was scored."""
        size = self._rounds + 1
        rows = tuple(tuple(row[:size]) for row in self._rows[:size])
        return ScoreMatrix(rows, tuple(range(size)), higher_is_better=False)

    def means(self, report: Report, candidate: str) -> dict[int, float]:
        """Mean NLL by era of another model that was scored on documents of rounds taken in before."""
        return self._means(d for scores in report.slices.values() for d in scores.candidates[candidate])

    def _fill(self, row: int, documents: Iterable[DocumentScore]) -> None:
        for era, mean in self._means(documents).items():
            if math.isnan(self._rows[row][era]):
                self._rows[row][era] = mean

    def _means(self, documents: Iterable[DocumentScore]) -> dict[int, float]:
        by_era: dict[int, list[DocumentScore]] = {}
        for document in documents:
            by_era.setdefault(self._era_of[document.id], []).append(document)
        return {era: mean_nll(scores) for era, scores in by_era.items()}
