"""Which text a round was trained on: what the steps saw that led to the weights which were kept. Pure.

A document counts as trained on when any of its tokens was in such a step. Steps after the one whose weights early
stopping went back to left nothing behind, and do not count.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from learner.directory.round_directory import TextSample
from learner.material.batches import Rows, Step
from learner.material.encoding import Encoded, Ints


@dataclass(frozen=True, slots=True)
class RowContents:
    """What each row of a round's text holds.

    Attributes:
        ids: of the samples in each row.
        tokens: in each row; shape (rows,).
    """

    ids: tuple[frozenset[int], ...]
    tokens: Ints

    def of(self, rows: Iterable[int]) -> frozenset[int]:
        """The samples in these rows."""
        return frozenset[int]().union(*(self.ids[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Touched:
    """What the steps that count saw of a round's text.

    Attributes:
        ids: samples trained on, new and replayed.
        untrainable: new samples that no step could ever see: they hold nothing to predict, or a label that the model
            does not have.
        tokens: of new text trained on, each counted once however many epochs saw it.
        tokens_drawn: of all new text.
    """

    ids: frozenset[int]
    untrainable: frozenset[int]
    tokens: int
    tokens_drawn: int


def rows_contents(rows: Rows, text: Encoded) -> RowContents:
    """What a causal LM's rows hold."""
    starts = [[piece.start for piece in pieces] for pieces in rows.rows]
    documents = [np.searchsorted(text.bounds, row, side="right") - 1 for row in starts]
    ids = tuple(frozenset(text.samples[int(at)].id for at in row) for row in documents)
    return RowContents(ids, rows.widths)


def document_contents(text: Encoded) -> RowContents:
    """What a classifier's rows hold, of which each is one document."""
    return RowContents(tuple(frozenset([sample.id]) for sample in text.samples), text.lengths)


def find_touched(
    steps: Sequence[Step], new: RowContents, replay: RowContents, drawn: Collection[TextSample]
) -> Touched:
    """What these steps saw.

    Args:
        steps: those that count.
        new: rows of the new text.
        replay: rows of the replayed text.
        drawn: all new samples that the round was given to train on.
    """
    seen = sorted({row for step in steps for row in step.new.tolist()})
    replayed = {row for step in steps for row in step.replayed.tolist()}
    trainable = new.of(range(len(new.ids)))
    return Touched(
        ids=new.of(seen) | replay.of(replayed),
        untrainable=frozenset(sample.id for sample in drawn) - trainable,
        tokens=int(new.tokens[seen].sum()),
        tokens_drawn=int(new.tokens.sum()),
    )
