"""AdamW whose two moments take a byte of each weight, and which moves weights in bfloat16 without a copy in float32.

Moments are held as `learner.training.coded_moments` codes them. Each step computes in float32, and of a weight a part
at a time. Steps are those of torchao's `AdamW8bit`, which takes whole weights at once and needs a compiler for that;
and where it is installed, transformers imports all of it into every process.

A weight in bfloat16 has too few digits for what a step adds to it. Each is rounded up or down by chance, up as often as
the part that is cut off is large: right in the mean over steps and weights, so that nothing needs to be kept of it
(Zamirai et al. 2020, "Revisiting BFloat16 Training").
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from learner.directory.saved_round import UnusableSave
from learner.settings import RecipeSettings
from learner.training.coded_moments import Moments

EPSILON: Final = 1e-8
_CUT_OFF_BITS: Final = 16
"""Of float32, that bfloat16 has not."""


class AdamW8bit:
    """See the module, and `learner.training.optimizers.Optimizer`.

    Args:
        weights: which are trained, contiguous, in float32 or bfloat16.
        recipe: betas and weight decay.
    """

    def __init__(self, weights: Sequence[nn.Parameter], recipe: RecipeSettings) -> None:
        self._weights, self._recipe = list(weights), recipe
        self._moments: dict[int, Moments] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move each weight that has a gradient, and drop the gradients."""
        for index, weight in enumerate(self._weights):
            if weight.grad is not None:
                if index not in self._moments:
                    self._moments[index] = Moments.of(weight)
                moments = self._moments[index]
                moments.steps += 1
                self._move(weight, weight.grad, moments, rate)
                weight.grad = None

    def _move(self, weight: Tensor, gradient: Tensor, moments: Moments, rate: float) -> None:
        recipe, numbers, gradients = self._recipe, weight.view(-1), gradient.reshape(-1)
        # Biases and norms have no zero to shrink to.
        kept = 1 - rate * (recipe.weight_decay if weight.ndim > 1 else 0.0)
        unbiased = 1 - recipe.beta1**moments.steps, math.sqrt(1 - recipe.beta2**moments.steps)
        for part in moments.first.parts():
            slope = gradients[part].float()
            mean = moments.first.read(part).lerp_(slope, 1 - recipe.beta1)
            square = moments.second.read(part).lerp_(slope.square(), 1 - recipe.beta2)
            moments.first.write(part, mean)
            moments.second.write(part, square)
            exact = numbers[part].float().mul_(kept)
            exact.addcdiv_(mean, square.sqrt().div_(unbiased[1]).add_(EPSILON), value=-rate / unbiased[0])
            numbers[part] = _rounded(exact) if weight.dtype == torch.bfloat16 else exact

    def tensors(self) -> dict[str, Tensor]:
        """See `learner.training.optimizers.Optimizer`."""
        return {
            f"{index}.{name}": tensor
            for index, moments in self._moments.items()
            for name, tensor in moments.tensors().items()
        }

    def go_on(self, held: Mapping[str, Tensor]) -> None:
        """See `learner.training.optimizers.Optimizer`."""
        by_index: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in held.items():
            index, _, own = name.partition(".")
            by_index[int(index)][own] = tensor
        taken = {index: Moments.of(self._weights[index]) for index in by_index}
        if not all(moments.take(by_index[index]) for index, moments in taken.items()):
            raise UnusableSave("its moments are those of another model")
        self._moments = taken

    def moments(self) -> Iterator[tuple[int, Moments]]:
        """See `learner.training.optimizers.Optimizer`."""
        yield from self._moments.items()

    def begin_with(self, moments: Mapping[int, Moments]) -> None:
        """See `learner.training.optimizers.Optimizer`."""
        self._moments = dict(moments)


def _rounded(exact: Tensor) -> Tensor:
    """Round finite float32 numbers to such as bfloat16 has, each up or down by chance; in place."""
    bits = exact.view(torch.int32)
    bits.add_(torch.randint(1 << _CUT_OFF_BITS, bits.shape, dtype=torch.int32, device=bits.device))
    return bits.bitwise_and_(-1 << _CUT_OFF_BITS).view(torch.float32)
