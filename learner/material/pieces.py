"""How a long document is cut for a model that takes only so many tokens: once for training, once for scoring. Pure.

In both, each token but the document's first is predicted exactly once. A piece for training has one token of context
from before it, which costs nothing: what a token is predicted from varies in training anyway, and a long document's
every token is trained on in one pass. Scores are for comparing: there the windows slide, so that no token is scored
with less context than half a sequence, and a model is not measured by where documents happen to be cut.

Where the model begins with a token of its own (BOS), every piece does: models that have always seen it (Gemma, Llama)
predict badly without, and a round that trained on such pieces would learn to live without it, which looks like a gain.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from learner.material.chats import Bools
from learner.material.encoding import Encoded, Ints, Tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document, as places in the flat tokens.

    Attributes:
        start: of what it holds.
        first: the first token that it predicts; what it holds before that is context.
        stop: the end, exclusive.
        led: whether the model's first token stands before it, which is itself never predicted.
        passed_over: how many tokens from `first` on it does not predict: in a chat what others than the assistant say.
    """

    start: int
    first: int
    stop: int
    led: bool = False
    passed_over: int = 0

    @property
    def width(self) -> int:
        """Tokens that the model sees."""
        return self.stop - self.start + self.led

    @property
    def targets(self) -> int:
        """Tokens that it predicts: all up to the end from the first one on, but for those passed over."""
        return self.stop - self.first - self.passed_over

    def ids(self, tokens: Tokens, lead: int | None) -> Tokens:
        """Return what the model sees, shape (width,).

        Args:
            tokens: the flat ones.
            lead: the model's first token; needed where the piece is led.
        """
        held = tokens[self.start : self.stop]
        return np.concatenate([np.asarray([lead], dtype=tokens.dtype), held]) if self.led else held

    def write_targets(self, targets: Ints, tokens: Tokens, learned: Bools | None) -> None:
        """Write what it predicts, each where the model predicts it: at the token before.

        Args:
            targets: at each place of the piece, shape (width,), or longer; what is not predicted stays as it is.
            tokens: the flat ones.
            learned: which of them are to be predicted; None: all.
        """
        # What follows the lead is context: the piece before has predicted it.
        last = self.width - 1
        places, held = targets[last - (self.stop - self.first) : last], slice(self.first, self.stop)
        np.copyto(places, tokens[held], where=True if learned is None else learned[held])


def pieces_of(text: Encoded, longest: int) -> list[Piece]:
    """Cut documents into pieces of 2 to `longest` tokens for training.

    Consecutive pieces of a document share one token, the context of the later one's first target. A document of a
    single token predicts nothing and has none, and of a chat those are left out in which the assistant says nothing.
    """
    pieces = (piece for index in range(len(text)) for piece in training_pieces(text, index, longest))
    return [piece for piece in pieces if piece.targets]


def training_pieces(text: Encoded, index: int, longest: int) -> list[Piece]:
    """Return the pieces of one document; see `pieces_of`."""
    begin, stop = int(text.bounds[index]), int(text.bounds[index + 1])
    led = _is_led(text, longest)
    pieces = []
    first = begin + 1
    while first < stop:
        leads = led and first > begin + 1
        end = min(first - 1 + longest - leads, stop)
        pieces.append(Piece(first - 1, first, end, leads, text.passed_over(first, end)))
        first = end
    return pieces


def scoring_windows(text: Encoded, index: int, longest: int) -> Iterator[Piece]:
    """Yield the windows in which one document is scored; each after the first has `longest` tokens.

    They slide by half a sequence: each target of a window but the first has at least half of `longest` before it.
    """
    begin, stop = int(text.bounds[index]), int(text.bounds[index + 1])
    if begin + 1 >= stop:
        return
    led = _is_led(text, longest)
    held = longest - led
    end = min(begin + longest, stop)
    yield Piece(begin, begin + 1, end, passed_over=text.passed_over(begin + 1, end))
    # At least one token a window, also of sequences so short that a half leaves none beside the lead.
    stride = max(1, held - -(-longest // 2))
    while end < stop:
        first, end = end, min(end + stride, stop)
        yield Piece(end - held, first, end, led, text.passed_over(first, end))


def _is_led(text: Encoded, longest: int) -> bool:
    """Whether later pieces begin with the model's first token: it, one of context and a target have to fit."""
    return text.lead is not None and longest > 2
