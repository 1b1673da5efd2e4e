"""The text of an answer that another program writes: made here, of the tokens, where that program tells them."""

from collections.abc import Iterator

from serving.engine.completions import Completion, Delta, Finished
from serving.processes.asking import EnginePiece


class AnswerText:
    """One answer's text and end.

    Engines differ in what they make of half a character at an end, and of stops that name control tokens; a model's
    tokens are the same from each.

    Args:
        job: whose answer it is.
    """

    def __init__(self, job: Completion) -> None:
        self._text, self._ends = job.text(), job.ends
        self._tokens = 0

    def take(self, piece: EnginePiece | Finished) -> Iterator[Delta | Finished]:
        """What a piece adds, and the end, which may come before the engine's own."""
        if isinstance(piece, Finished):
            yield from self._end(piece)
        elif piece.tokens is None:
            if piece.text:
                yield Delta(piece.text)
        else:
            yield from self._read(piece.tokens)

    def _read(self, tokens: tuple[int, ...]) -> Iterator[Delta | Finished]:
        for token in tokens:
            self._tokens += 1
            ends = token in self._ends
            if text := self._text.end() if ends else self._text.push(token):
                yield Delta(text)
            if ends or self._text.stopped:
                yield Finished("stop", self._tokens)
                return

    def _end(self, finished: Finished) -> Iterator[Delta | Finished]:
        if self._tokens and (text := self._text.end()):
            yield Delta(text)
        yield Finished(finished.reason, self._tokens or finished.tokens)
