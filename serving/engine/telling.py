"""What is told of an answer as its tokens come, wherever they come from: text that is certain, scores, the end."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from serving.engine.completion import Completion, Delta, Finish, Finished
from serving.engine.scores import TokenScore


class Telling:
    """Turns an answer's tokens into its events.

    Args:
        job: whose answer it is.

    Attributes:
        tokens: how many there were.
        ended: whether the last event was told.
    """

    def __init__(self, job: Completion) -> None:
        self._job = job
        self._text, self._ends = job.text(), job.ends
        self._scores: deque[TokenScore] = deque()
        self._echo = job.echo
        self.tokens = 0
        self.ended = False

    def begin(self, scores: Sequence[TokenScore] = ()) -> Iterator[Delta]:
        """What comes before the answer's own tokens: the prompt, where it is given back, with its tokens' scores."""
        if self._echo is not None:
            yield Delta(self._echo, tuple(_placed(scores, self._echo)))

    def take(self, token: int, score: TokenScore | None, *, last: Finish | None = None) -> Iterator[Delta | Finished]:
        """What the next token adds, and the end where it ends the answer.

        Args:
            token: by its number.
            score: of the token, if scores were asked for.
            last: why no more may come; None: more may.
        """
        self.tokens += 1
        self._job.written = self.tokens
        ends = token in self._ends
        if score is not None and not ends:
            self._scores.append(replace(score, offset=self._text.position))
        text = self._text.end() if ends else self._text.push(token)
        # An end that comes with the last token allowed is an end: "length" would have clients ask for more.
        full = last if not ends and not self._text.stopped else None
        if full:
            text += self._text.end()
        over = ends or full is not None or self._text.stopped
        yield from self._piece(text, over=over)
        if over:
            yield self._finished(full or "stop", score if ends else None)

    def end(self, reason: Finish) -> Iterator[Delta | Finished]:
        """The rest, when no more tokens come."""
        yield from self._piece(self._text.end(), over=True)
        yield self._finished(reason, None)

    def _finished(self, reason: Finish, score: TokenScore | None) -> Finished:
        self.ended = True
        placed = score and replace(score, offset=self._text.certain)
        return Finished("stop" if self._text.stopped else reason, self.tokens, placed)

    def _piece(self, text: str, *, over: bool) -> Iterator[Delta]:
        scores = tuple(self._certain(over=over))
        if text or scores:
            yield Delta(text, scores)

    def _certain(self, *, over: bool) -> Iterator[TokenScore]:
        """Scores of the tokens whose text was told: what a stop cuts off was never said."""
        # At the end all that is left was said, but for that.
        everything = over and not self._text.stopped
        while self._scores and (everything or self._scores[0].offset < self._text.certain):
            yield self._scores.popleft()


def _placed(scores: Sequence[TokenScore], text: str) -> Iterator[TokenScore]:
    """Scores of a text's tokens, each with its place in the text."""
    offset = 0
    for score in scores:
        yield replace(score, offset=min(offset, len(text)))
        # A prompt may write control tokens, which no answer shows.
        offset += len(score.token) if text.startswith(score.token, offset) else score.characters
