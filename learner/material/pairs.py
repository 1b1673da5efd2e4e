"""Pairs: what an encoder reads, and what a decoder is to write for it.

Among a round's tokens a pair is its input followed by its target, of which the target alone is learned; both stand
in the tokenizer's own frame and are cut to the sequence's length, each by itself. A pair is one row: what the encoder
reads is padded and masked there, and what the decoder is fed, which begins with the token that the model's answers
begin with, is padded on the right, where no place before can see it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from learner.material.batches import Rows
from learner.material.encoding import Encoded, Ints, Tokens
from learner.material.pieces import Piece
from learner.material.weights import row_weights
from learner.objectives.forward_pass import IGNORED


@dataclass(frozen=True, slots=True)
class PairArrays:
    """Pairs as a model takes them.

    Attributes:
        ids: what the encoder reads; shape (rows, longest input).
        seen: 1 where it reads something; likewise.
        written: what the decoder is fed; shape (rows, longest target).
        targets: what it is to write at each place, `IGNORED` where nothing; likewise.
    """

    ids: Ints
    seen: Ints
    written: Ints
    targets: Ints


def pair_of(text: Encoded, index: int) -> Piece | None:
    """A pair as a piece whose context is its input; None where it is no material."""
    begin, stop = int(text.bounds[index]), int(text.bounds[index + 1])
    if begin == stop or text.learned is None:
        return None
    first = begin + int(np.argmax(text.learned[begin:stop]))
    return Piece(begin, first, stop)


def pairs_of(text: Encoded) -> Iterator[tuple[int, Piece]]:
    """Yield each pair that is material, with the number of its document."""
    for index in range(len(text)):
        if (pair := pair_of(text, index)) is not None:
            yield index, pair


def pair_rows(text: Encoded) -> Rows:
    """Arrange pairs in rows of one each."""
    pairs = [pair for _, pair in pairs_of(text)]
    return Rows(
        tokens=text.tokens,
        rows=tuple((pair,) for pair in pairs),
        targets=np.asarray([pair.targets for pair in pairs], dtype=np.int64),
        widths=np.asarray([pair.width for pair in pairs], dtype=np.int64),
        weights=row_weights(text, [(pair,) for pair in pairs]),
    )


def parts_of(pair: Piece, tokens: Tokens) -> tuple[Tokens, Tokens]:
    """The input and the target of a pair."""
    return tokens[pair.start : pair.first], tokens[pair.first : pair.stop]


def write_pairs(pairs: Sequence[tuple[Tokens, Tokens]], *, start: int, pad: int, multiple: int = 1) -> PairArrays:
    """Return pairs as a model takes them.

    Args:
        pairs: inputs and targets.
        start: what the decoder begins with.
        pad: the token that fills a row.
        multiple: widths are rounded up to one of it.
    """
    read, answered = (-(-max(len(pair[part]) for pair in pairs) // multiple) * multiple for part in (0, 1))
    ids, seen = np.full((len(pairs), read), pad, dtype=np.int64), np.zeros((len(pairs), read), dtype=np.int64)
    written = np.full((len(pairs), answered), pad, dtype=np.int64)
    targets = np.full((len(pairs), answered), IGNORED, dtype=np.int64)
    for at, (asked, answer) in enumerate(pairs):
        ids[at, : len(asked)], seen[at, : len(asked)] = asked, 1
        written[at, 0], written[at, 1 : len(answer)] = start, answer[:-1]
        targets[at, : len(answer)] = answer
    return PairArrays(ids, seen, written, targets)
