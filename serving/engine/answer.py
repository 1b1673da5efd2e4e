"""A completion under way in this process: what it was fed, and what is made of the logits that come back."""

from collections.abc import Iterable

import torch
from torch import Tensor

from serving.engine.completion import Completion, Delta, Finish, Finished
from serving.engine.sampling import Drawing
from serving.engine.scores import TokenNames, TokenScore, score_tokens
from serving.engine.telling import Telling
from serving.errors import BrokenGeneration, RequestError


class Answer:
    """A completion under way: its prompt until that is read, then its tokens.

    A sequence-to-sequence model's encoder reads the prompt, and what its decoder is fed begins otherwise.

    Attributes:
        tokens: the prompt, or what stands in its place, and what was written; what a pass is fed.
        fed: how many of these were fed.
        apart: it shares no pass, as one that it shared failed.
    """

    def __init__(self, job: Completion) -> None:
        self.job = job
        begun = job.generation.opening or job.prompt
        self.tokens, self._begun = list(begun), len(begun)
        self.fed = 0
        self.apart = False
        grammar = job.held_to and job.held_to.grammar
        self._drawing = Drawing(job.sampling, begun, grammar.begin() if grammar else None)
        self._telling = Telling(job)
        self._opened = False
        self._prompt_scores: list[TokenScore] = []

    @property
    def written(self) -> int:
        """How many tokens it has so far."""
        return len(self.tokens) - self._begun

    @property
    def scores_prompt(self) -> bool:
        """Whether the logits of all places are wanted of what is fed next."""
        return self.job.scores_prompt and not self._opened

    def begin_again(self) -> None:
        """Be fed from the beginning, apart from others."""
        self.apart, self.fed = True, 0
        self._prompt_scores.clear()

    def read(self, logits: Tensor) -> None:
        """Take the logits of a stretch of the prompt, shape (tokens fed last, vocabulary)."""
        if not self._sound(logits):
            return
        begin = self.fed - len(logits)
        # The row of a token foretells the next one; that of the prompt's last foretells the answer.
        foretold = self.tokens[begin + 1 : min(self.fed + 1, self._begun)]
        if not self._prompt_scores:
            self._prompt_scores.append(self._names.score(self.tokens[0], None, ()))
        self._prompt_scores += score_tokens(self._names, logits[: len(foretold)], foretold, self.job.scored or 0)

    def take(self, logits: Tensor) -> None:
        """Draw the next token from its logits, shape (vocabulary,), and tell what it adds or that it ends."""
        if not self._sound(logits):
            return
        if not self._opened:
            self._opened = True
            self._tell(self._telling.begin(self._prompt_scores))
        if not self.job.max_tokens:
            self._tell(self._telling.end("length"))
            return
        try:
            token = self._drawing.next(logits)
        except RequestError as error:
            self.job.fail(error)
            return
        self.tokens.append(token)
        scored = self.job.scored
        score = None if scored is None else score_tokens(self._names, logits[None], [token], scored)[0]
        last: Finish | None = "length" if self.written >= self.job.max_tokens else None
        self._tell(self._telling.take(token, score, last="stop" if self._drawing.ended else last))

    @property
    def _names(self) -> TokenNames:
        return self.job.generation.names

    def _sound(self, logits: Tensor) -> bool:
        # NaN is what argmax would choose, and what multinomial would blame on the request rather than on the weights.
        if bool(torch.isfinite(logits).all()):
            return True
        number = self.job.generation.number
        self.job.fail(BrokenGeneration(f"generation {number} gives no finite probabilities"))
        return False

    def _tell(self, events: Iterable[Delta | Finished]) -> None:
        for event in events:
            self.job.emit(event)
