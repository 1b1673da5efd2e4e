"""How the rows of a step are divided: over ranks, and into passes of rows that are alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from learner.devices.share import Share
from learner.material.batches import LonePieces, Step
from learner.material.encoding import Ints

# Widths are rounded up to this: tensor cores and vector units like it, and fewer shapes are seen.
WIDTH_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class PiecesApart:
    """What a model is fed that does not keep packed documents apart.

    Attributes:
        new: the pieces of the rows of new text.
        replay: those of the rows of replayed text.
        tokens: in one forward pass at most, padding among them. A single piece passes in any case: 0 lets none share.
    """

    new: LonePieces
    replay: LonePieces
    tokens: int


def split(step: Step, new: Ints, replay: Ints, size: int, share: Share) -> Iterator[tuple[Ints, Ints]]:
    """Split a share of a step's rows into passes of at most `size`: new ones first, then replayed, the widest first.

    Only one pass has both, so that replayed rows can be cut off without copying, and widths in a pass are alike.
    """
    of_new, of_replay = shared(step, new, replay, share)
    rows = np.concatenate([of_new, of_replay])
    for first in range(0, len(rows), size):
        last, cut = min(first + size, len(rows)), min(max(len(of_new), first), first + size)
        yield rows[first:cut], rows[cut:last]


def shared(step: Step, new: Ints, replay: Ints, share: Share) -> tuple[Ints, Ints]:
    """A share of a step's new rows, and of its replayed ones, each the widest first."""
    ordered = np.concatenate([widest_first(step.new, new), widest_first(step.replayed, replay)])
    taken = share.of(len(ordered))
    rows, of_new = ordered[taken], int(np.searchsorted(taken, len(step.new)))
    return rows[:of_new], rows[of_new:]


def parts_within(new: Ints, replayed: Ints, widths: Sequence[int], tokens: int) -> Iterator[tuple[Ints, Ints]]:
    """Split rows into passes of at most so many tokens, padding among them, but of a row at least.

    Args:
        new: rows of new text, which come first.
        replayed: rows of replayed text.
        widths: of all these, as a pass has them whose widest it is.
        tokens: in a pass.
    """
    rows = np.concatenate([new, replayed])
    first = 0
    while first < len(rows):
        last, widest = first + 1, widths[first]
        while last < len(rows) and (last + 1 - first) * max(widest, widths[last]) <= tokens:
            widest, last = max(widest, widths[last]), last + 1
        cut = min(max(len(new), first), last)
        yield rows[first:cut], rows[cut:last]
        first = last


def equal_parts(rows: Ints, size: int) -> Iterator[tuple[Ints, int]]:
    """Split rows into as few passes of at most `size` as there can be; with each, how many rows all of them have."""
    if len(rows):
        passes = -(-len(rows) // size)
        count = -(-len(rows) // passes)
        for first in range(0, len(rows), count):
            yield rows[first : first + count], count


def widest_first(rows: Ints, widths: Ints) -> Ints:
    """Return rows by their widths, the widest first."""
    # Stable: rows of one width stay in the order of the plan, and a round that is run again gives the same weights.
    ordered: Ints = rows[np.argsort(-widths[rows], kind="stable")]
    return ordered


def round_up(width: int, multiple: int) -> int:
    """Return the next multiple of a number."""
    return -(-width // multiple) * multiple
