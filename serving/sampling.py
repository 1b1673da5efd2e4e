"""How the next token is chosen."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        temperature: 0 takes the most probable token; higher flattens the distribution.
        top_p: draw among the most probable tokens that together have this probability, in (0, 1].
        seed: makes the draw repeatable; None draws anew each time.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None

    def generator(self) -> torch.Generator | None:
        """The random source of one answer; None for a greedy one."""
        if self.temperature == 0:
            return None
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """The next token of one answer.

    Nucleus sampling after Holtzman et al. 2020. It draws on the CPU, so that a seed means the same on every device.

    Args:
        logits: of one position, shape (vocabulary,).
        sampling: how to draw.
        generator: from `sampling.generator()`.
    """
    if generator is None:
        return int(logits.argmax())
    scores = logits.float().cpu()
    # The largest becomes 0 first: a tiny temperature would make it infinite.
    probabilities = torch.softmax((scores - scores.max()) / sampling.temperature, dim=-1)
    if sampling.top_p >= 1:
        return int(torch.multinomial(probabilities, 1, generator=generator))
    ordered, tokens = probabilities.sort(descending=True)
    # A token stays when those before it have not reached top_p yet; the first always does.
    ordered[1:][(ordered.cumsum(0) - ordered)[1:] >= sampling.top_p] = 0
    return int(tokens[torch.multinomial(ordered, 1, generator=generator)])
