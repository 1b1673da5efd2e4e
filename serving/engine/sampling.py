"""How the next token is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from serving.engine.grammar_state import GrammarState

# A smaller one is the same to the last digit, and zero to float32.
LEAST_TEMPERATURE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        temperature: 0 takes the most probable token; higher flattens the distribution.
        top_p: draw among the most probable tokens that together have this probability, in (0, 1].
        seed: makes the draw repeatable; None draws anew each time.
        top_k: draw among so many of the most probable tokens; below 1, among all.
        min_p: draw among tokens that are at least so probable, as a share of the most probable one's, in [0, 1].
        repetition_penalty: logits of tokens that prompt or answer have are divided by it where they are positive and
            multiplied where not; above 1 makes them rarer. After Keskar et al. 2019 (CTRL).
        presence_penalty: taken off the logits of tokens that the answer has.
        frequency_penalty: taken off them for each time that it has them.
        bias: tokens with what is added to their logits.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    bias: tuple[tuple[int, float], ...] = ()

    def generator(self) -> torch.Generator | None:
        """The random source of one answer; None for a greedy one."""
        if self.temperature == 0:
            return None
        generator = torch.Generator()
        if self.seed is None:
            # A new generator begins at a fixed seed: without this, all answers would be drawn alike.
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator

    @property
    def penalizes(self) -> bool:
        """Whether what was said before changes what is said next."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1, 0, 0)


class Drawing:
    """The draws of one answer, which know what it has said.

    Args:
        sampling: how to draw.
        prompt: the token ids before the answer.
        grammar: where the answer stands in what it is held to; None: it is held to nothing.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], grammar: GrammarState | None = None) -> None:
        self._grammar = grammar
        self._sampling = sampling
        self._generator = sampling.generator()
        self._prompt = prompt
        self._written: Tensor | None = None
        self._in_prompt: Tensor | None = None

    def next(self, logits: Tensor) -> int:
        """The next token.

        Args:
            logits: of one position, shape (vocabulary,).

        Raises:
            RequestError: none goes on by the grammar.
        """
        sampling = self._sampling
        if not (sampling.penalizes or sampling.bias or self._grammar):
            return choose(logits, sampling, self._generator)
        # A copy: this row is a view into the batch's logits, and biases are added in place.
        scores = logits.to("cpu", torch.float32, copy=True)
        if sampling.penalizes:
            scores = self._penalize(scores)
        for token, bias in sampling.bias:
            scores[token] += bias
        if self._grammar is not None:
            scores = self._grammar.mask(scores)
        token = choose(scores, sampling, self._generator)
        if self._written is not None:
            self._written[token] += 1
        if self._grammar is not None:
            self._grammar.accept(token)
        return token

    @property
    def ended(self) -> bool:
        """Whether the grammar lets nothing more come."""
        return self._grammar is not None and self._grammar.ended

    def _penalize(self, scores: Tensor) -> Tensor:
        sampling = self._sampling
        # Made at the first token: only logits tell how large the vocabulary is.
        if self._written is None or self._in_prompt is None:
            self._written = torch.zeros_like(scores)
            self._in_prompt = torch.zeros(len(scores), dtype=torch.bool)
            self._in_prompt[torch.tensor(self._prompt, dtype=torch.long)] = True
        written = self._written > 0
        present = self._in_prompt | written
        penalty = sampling.repetition_penalty
        repeated = torch.where(scores > 0, scores / penalty, scores * penalty)
        scores = torch.where(present, repeated, scores)
        return scores - sampling.presence_penalty * written - sampling.frequency_penalty * self._written


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """The next token of one answer, from logits that have been penalized already.

    Nucleus sampling after Holtzman et al. 2020, min-p after Nguyen et al. 2024; in the order of transformers, for which
    the models' own defaults are written. It draws on the CPU, so that a seed means the same on every device.

    Args:
        logits: of one position, shape (vocabulary,).
        sampling: how to draw.
        generator: from `sampling.generator()`.
    """
    if generator is None:
        return int(logits.argmax())
    scores = logits.float().cpu()
    # The largest becomes 0 first: a tiny temperature would make it infinite.
    scaled = (scores - scores.max()) / max(sampling.temperature, LEAST_TEMPERATURE)
    if 0 < sampling.top_k < len(scaled):
        # Those that tie with the last one stay, as in transformers.
        scaled = scaled.masked_fill(scaled < scaled.topk(sampling.top_k).values[-1], -torch.inf)
    probabilities = torch.softmax(scaled, dim=-1)
    if sampling.top_p >= 1 and sampling.min_p <= 0:
        return int(torch.multinomial(probabilities, 1, generator=generator))
    ordered, tokens = probabilities.sort(descending=True)
    # A token stays when those before it have not reached top_p yet; the first always does.
    ordered[1:][(ordered.cumsum(0) - ordered)[1:] >= sampling.top_p] = 0
    # Against the largest, so that nothing has to be normalised first: multinomial does that.
    ordered[ordered < sampling.min_p * ordered[0]] = 0
    return int(tokens[torch.multinomial(ordered, 1, generator=generator)])
