"""Text with gaps: what a masked language model reads, and which of its tokens it has to guess.

A document is cut into equal pieces, each in the tokenizer's own frame, and `MASKED_SHARE` of a piece's tokens become
the mask token, all of them: that BERT left a tenth as they were and put random ones for another buys nothing (Wettig et
al. 2023, "Should You Mask 15% in Masked Language Modeling?"), and scores are taken of what is masked.

In training the gaps are drawn anew for every step. Scores are for comparing: there they are drawn from the document's
own tokens and nothing else, so that parent, candidate and base guess the same tokens from the same others, today and in
every later round.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from checkpoints.probe.ask import text_frame
from checkpoints.probe.conduct import Side
from learner.material.batches import Rows
from learner.material.encoding import Encoded, Ints, Tokens
from learner.material.pieces import Piece
from learner.material.weights import row_weights
from learner.objectives.forward_pass import IGNORED
from learner.settings import MASKED_READINGS, MASKED_SHARE


@dataclass(frozen=True, slots=True)
class Masking:
    """How a model's pieces are written.

    Attributes:
        mask: the token that stands in a gap.
        opening: what the tokenizer puts before a text.
        closing: and behind it.
    """

    mask: int
    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()

    @property
    def framing(self) -> int:
        """Tokens around each piece."""
        return len(self.opening) + len(self.closing)

    def write(self, ids: Ints, targets: Ints, held: Tokens, gaps: Ints) -> None:
        """Write a piece with gaps into its place in a row.

        Args:
            ids: shape (len(held) + framing,).
            targets: likewise; gets the token to guess at each gap, and stays as it is elsewhere.
            held: the piece's tokens.
            gaps: which of them are to be guessed.
        """
        begin = len(self.opening)
        end = begin + len(held)
        ids[:begin], ids[begin:end], ids[end:] = self.opening, held, self.closing
        ids[begin + gaps] = self.mask
        targets[begin + gaps] = held[gaps]


def masking_of(tokenizer: Any) -> Masking:
    """Return how a masked language model's pieces are written, by its tokenizer, which has a mask token."""
    opening, closing = text_frame(tokenizer)
    return Masking(int(tokenizer.mask_token_id), tuple(opening), tuple(closing))


def gaps_in(tokens: int) -> int:
    """How many of a piece's tokens are gaps; none where there is nothing to guess a token from."""
    return max(1, round(MASKED_SHARE * tokens)) if tokens > 1 else 0


def masked_pieces(text: Encoded, index: int, longest: int, masking: Masking) -> list[Piece]:
    """Cut one document into equal pieces that fit `longest` tokens in their frame; none of one without gaps."""
    begin, stop = int(text.bounds[index]), int(text.bounds[index + 1])
    count = -(-(stop - begin) // max(1, longest - masking.framing))
    cuts = np.linspace(begin, stop, count + 1).astype(np.int64).tolist()
    pieces = (Piece(first, first, end, passed_over=end - first - gaps_in(end - first)) for first, end in pairwise(cuts))
    return [piece for piece in pieces if piece.targets]


def masked_rows(text: Encoded, longest: int, masking: Masking) -> Rows:
    """Arrange documents in rows of one piece each."""
    pieces = [piece for index in range(len(text)) for piece in masked_pieces(text, index, longest, masking)]
    return Rows(
        tokens=text.tokens,
        rows=tuple((piece,) for piece in pieces),
        targets=np.asarray([piece.targets for piece in pieces], dtype=np.int64),
        widths=np.asarray([piece.width + masking.framing for piece in pieces], dtype=np.int64),
        weights=row_weights(text, [(piece,) for piece in pieces]),
    )


def draw_gaps(piece: Piece, random: np.random.Generator) -> Ints:
    """Draw which of a piece's tokens are gaps; shape (piece.targets,)."""
    return random.choice(piece.width, piece.targets, replace=False)


@dataclass(frozen=True, slots=True)
class GapReading:
    """One reading of a piece that is scored.

    Attributes:
        owner: the document.
        piece: of it.
        gaps: which of the piece's tokens are guessed.
        is_first: of the piece.
    """

    owner: int
    piece: Piece
    gaps: Ints
    is_first: bool


def scoring_readings(text: Encoded, longest: int, masking: Masking) -> Iterator[GapReading]:
    """Yield the readings that all documents are scored by: of each piece a few, no token a gap in two of them."""
    for owner in range(len(text)):
        random = _own_random(text.document(owner))
        for piece in masked_pieces(text, owner, longest, masking):
            order = random.permutation(piece.width)
            for number in range(min(MASKED_READINGS, piece.width // piece.targets)):
                gaps = order[number * piece.targets : (number + 1) * piece.targets]
                yield GapReading(owner, piece, gaps, is_first=number == 0)


def _own_random(tokens: Tokens) -> np.random.Generator:
    """A generator that a document's tokens decide, and nothing else: not its number, nor what it is scored among."""
    digest = hashlib.blake2b(tokens.astype("<i4").tobytes(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def write_rows(
    rows: Sequence[tuple[Tokens, Ints]], masking: Masking, *, pad: int, width: int, side: Side
) -> tuple[Ints, Ints, Ints]:
    """Return ids, attention mask and targets of pieces with gaps, each of shape (rows, width).

    Args:
        rows: of each the tokens that it holds, and which of them are gaps.
        masking: how they are written.
        pad: the token that fills a row.
        width: of the rows.
        side: on which they are padded.
    """
    shape = (len(rows), width)
    ids, seen = np.full(shape, pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    targets = np.full(shape, IGNORED, dtype=np.int64)
    for at, (held, gaps) in enumerate(rows):
        own = len(held) + masking.framing
        place = slice(0, own) if side == "right" else slice(width - own, width)
        masking.write(ids[at, place], targets[at, place], held, gaps)
        seen[at, place] = 1
    return ids, seen, targets
