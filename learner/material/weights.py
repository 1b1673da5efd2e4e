"""What samples count in what a step minimises: a sample of weight w as if it came w times. Pure.

Each place to predict has its document's weight, whatever row and pass it is in; what a step's sum of losses is divided
by counts places by their weights too. So a sample of weight 2 gives the gradient that the same sample gives twice, and
a step in which all weigh the same gives that in which none has a weight.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.material.encoding import Encoded, Ints
from learner.material.pieces import Piece

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RowWeights:
    """The weights of a language model's rows.

    Attributes:
        pieces: of each piece of each row.
        targets: what each row predicts, counted by weight; shape (rows,).
    """

    pieces: tuple[tuple[float, ...], ...]
    targets: npt.NDArray[np.float64]

    def write(self, row: int, widths: Sequence[int], weights: Floats) -> None:
        """Write a row's into its place in a batch, shape (width,), padding counting as the last piece.

        Args:
            row: which.
            widths: of its pieces, which lie end to end from the first place on.
            weights: where to.
        """
        at = 0
        for weight, width in zip(self.pieces[row], widths, strict=True):
            weights[at:] = weight
            at += width


def document_weights(text: Encoded) -> Floats | None:
    """The weight of each document, shape (documents,); None where all count alike."""
    weights = np.asarray([sample.weight for sample in text.samples], dtype=np.float32)
    return None if (weights == 1).all() else weights


def row_weights(text: Encoded, rows: Sequence[Sequence[Piece]]) -> RowWeights | None:
    """The weights of rows of pieces; None where all documents count alike."""
    of_documents = document_weights(text)
    if of_documents is None:
        return None
    starts = [[piece.start for piece in pieces] for pieces in rows]
    owners = (np.searchsorted(text.bounds, row, side="right") - 1 for row in starts)
    pieces = tuple(tuple(of_documents[at].tolist()) for at in owners)
    targets = [
        sum(piece.targets * weight for piece, weight in zip(row, weights, strict=True))
        for row, weights in zip(rows, pieces, strict=True)
    ]
    return RowWeights(pieces, np.asarray(targets, dtype=np.float64))


def counted(weights: Floats | None, documents: Ints) -> float:
    """How many documents these are, each counted by its weight; a whole number where all count alike."""
    return len(documents) if weights is None else float(weights[documents].sum())


def join_weights(parts: Iterable[tuple[Floats | None, Ints]]) -> Floats | None:
    """What documents of several texts count, end to end; None where all count alike.

    Args:
        parts: of each text its documents' weights, and which of them are meant.
    """
    chosen = list(parts)
    if all(weights is None for weights, _ in chosen):
        return None
    return np.concatenate(
        [np.ones(len(rows), np.float32) if weights is None else weights[rows] for weights, rows in chosen]
    )
