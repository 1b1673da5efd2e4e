"""The text of an answer that another program writes: made here, of the tokens, where that program tells them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from serving.engine.completion import Completion, Delta, Finished
from serving.engine.scores import TokenScore
from serving.engine.telling import Telling
from serving.errors import NotGivenByEngine
from serving.processes.asking import EnginePiece
from serving.processes.engine_scores import read_scores


class AnswerText:
    """One answer's text and end.

    Engines differ in what they make of half a character at an end, and of stops that name control tokens; a model's
    tokens are the same from each.

    Args:
        job: whose answer it is.
    """

    def __init__(self, job: Completion) -> None:
        self._job = job
        self._telling = Telling(job)
        # Where it tells no tokens: what its text has so far, whether a score came, and that of the token that ended it.
        self._characters = len(job.echo or "")
        self._scored = False
        self._end: TokenScore | None = None
        self._ends = {job.generation.unshown[token] for token in job.ends if token in job.generation.unshown}

    def begin(self, scores: Sequence[TokenScore]) -> Iterator[Delta]:
        """What comes before the first piece: the prompt where it is given back, with its scores."""
        return self._telling.begin(scores)

    def take(self, piece: EnginePiece | Finished) -> Iterator[Delta | Finished]:
        """What a piece adds, and the end, which may come before the engine's own.

        Raises:
            RequestError: log-probabilities are asked for, and the engine gives none, or in another shape.
        """
        if isinstance(piece, Finished):
            yield from self._finish(piece)
            return
        scores = self._scores(piece)
        if piece.tokens is None:
            # As near as it can be told until the engine's own count comes with the end.
            self._job.written += 1
            yield from self._words(piece.text, scores)
        else:
            yield from self._read(piece.tokens, scores)

    def _scores(self, piece: EnginePiece) -> list[TokenScore]:
        if self._job.scored is None:
            return []
        scores = read_scores(piece.logprobs, self._job.generation.names, self._job.scored) or []
        self._scored = self._scored or bool(scores)
        if (piece.text or piece.tokens) and not self._scored:
            raise NotGivenByEngine("logprobs", "log-probabilities")
        return scores

    def _words(self, text: str, scores: Sequence[TokenScore]) -> Iterator[Delta]:
        """Text as the engine writes it."""
        at, placed = self._characters, list[TokenScore]()
        for score in scores:
            if score.token in self._ends:
                # Some name the token that ended the answer, which is no part of what was said.
                self._end = replace(score, offset=at)
            else:
                placed.append(replace(score, offset=at))
                at += score.characters
        self._characters += len(text)
        if text or placed:
            yield Delta(text, tuple(placed))

    def _read(self, tokens: tuple[int, ...], scores: Sequence[TokenScore]) -> Iterator[Delta | Finished]:
        if scores and len(scores) != len(tokens):
            raise NotGivenByEngine("logprobs", "log-probability for each token")
        for place, token in enumerate(tokens):
            yield from self._telling.take(token, scores[place] if scores else None)
            if self._telling.ended:
                return

    def _finish(self, finished: Finished) -> Iterator[Delta | Finished]:
        if self._telling.tokens:
            yield from self._telling.end(finished.reason)
        else:
            self._job.written = finished.tokens
            yield replace(finished, score=self._end)
