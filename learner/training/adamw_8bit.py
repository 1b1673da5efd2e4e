"""AdamW whose two moments take a byte of each weight, and which moves weights in bfloat16 without a copy in float32.

Moments are kept in blocks of 256: the largest of a block in float32, and of each number which of 256 fractions of that
comes nearest. The fractions lie as close to each other as they are small (seven powers of ten, the larger of them
divided more finely), so that of a moment mostly the order of size is kept, which is what a step needs of it (Dettmers
et al. 2022, "8-bit Optimizers via Block-wise Quantization"). Each step computes in float32, and of a weight a part at a
time. Steps are those of torchao's `AdamW8bit`, which takes whole weights at once and needs a compiler for that; and
where it is installed, transformers imports all of it into every process.

A weight in bfloat16 has too few digits for what a step adds to it. Each is rounded up or down by chance, up as often as
the part that is cut off is large: right in the mean over steps and weights, so that nothing needs to be kept of it
(Zamirai et al. 2020, "Revisiting BFloat16 Training").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn

from learner.settings import RecipeSettings
from learner.training.moment_sizes import BLOCK, PART_WEIGHTS

LEAST_WEIGHTS: Final = 4096
"""Of fewer the moments stay in float32: norms and biases are sensitive, and take no memory."""
EPSILON: Final = 1e-8
_POWERS: Final = 7
_CUT_OFF_BITS: Final = 16
"""Of float32, that bfloat16 has not."""
_CELL_BITS: Final = 14
_FIRST_CELL: Final = (127 - 23) << 9
"""Numbers of a size that differ in no more than their last bits; the first is below half of the smallest fraction."""
_CELLS: Final = (23 << 9) + 1
"""As far as that of 1."""
_SIZE_BITS: Final = 0x7FFFFFFF


@cache
def _fractions(*, signed: bool) -> tuple[float, ...]:
    """The 256 fractions of a block's largest number, ascending."""
    found = [0.0, 1.0]
    for power in range(_POWERS):
        edges = torch.linspace(0.1, 1, 2 ** (power if signed else power + 1) + 1)
        means = ((edges[:-1] + edges[1:]) / 2 * 10.0 ** (power + 1 - _POWERS)).tolist()
        found += [*means, *(-mean for mean in means)] if signed else means
    return tuple(sorted(found))


class _Nearest:
    """Finds the nearest of the 256 fractions of a number in [-1, 1].

    Torch's own search takes ten times as long. Here the first bits of a number, which are its size to a 512th, say in
    one look which two fractions come into question, as those lie further apart than that.
    """

    def __init__(self, fractions: Tensor) -> None:
        middles = (fractions[:-1] + fractions[1:]) / 2
        first = torch.arange(_CELLS, dtype=torch.int32) + _FIRST_CELL
        edges = torch.cat([first, first[-1:] + 1]).mul_(1 << _CELL_BITS).view(torch.float32)
        edges[0] = 0
        # Of a negative number the cell begins where it is largest.
        below = torch.cat([edges[:-1], -edges[1:]]).to(middles)
        self._lower = torch.bucketize(below, middles, out_int32=True, right=True)
        self._middles = torch.cat([middles, middles.new_full((1,), math.inf)])

    def __call__(self, numbers: Tensor) -> Tensor:
        """Return which fraction it is, uint8."""
        bits = numbers.view(torch.int32)
        cells = (bits & _SIZE_BITS).bitwise_right_shift_(_CELL_BITS).sub_(_FIRST_CELL).clamp_(0, _CELLS - 1)
        lower = self._lower.index_select(0, cells.add_((bits < 0).int(), alpha=_CELLS))
        return lower.add_(numbers >= self._middles.index_select(0, lower)).to(torch.uint8)


class Moment:
    """A mean of gradients, or of their squares, one for each of a weight's numbers, laid end to end.

    Args:
        weight: whose they are.
        signed: whether they may be negative.

    Attributes:
        codes: of each number which fraction it is, uint8, as far as blocks are whole.
        largest: of each block, float32.
        rest: the numbers after the last whole block, float32.
    """

    def __init__(self, weight: Tensor, *, signed: bool) -> None:
        count, device = weight.numel(), weight.device
        coded = count - count % BLOCK if count >= LEAST_WEIGHTS else 0
        fractions = torch.tensor(_fractions(signed=signed), device=device)
        self._fractions, self._nearest = fractions, _Nearest(fractions)
        nothing = int(torch.searchsorted(fractions, 0.0))
        self.codes = torch.full((coded,), nothing, dtype=torch.uint8, device=device)
        self.largest = torch.zeros(coded // BLOCK, device=device)
        self.rest = torch.zeros(count - coded, device=device)

    def read(self, part: slice) -> Tensor:
        """Return the numbers of a part, float32; those of the rest themselves."""
        if self._is_rest(part):
            return self.rest
        numbers = self._fractions.index_select(0, self.codes[part].int())
        numbers.view(-1, BLOCK).mul_(self.largest[_blocks(part)][:, None])
        return numbers

    def write(self, part: slice, numbers: Tensor) -> None:
        """Keep the numbers of a part."""
        if self._is_rest(part):
            self.rest.copy_(numbers)
            return
        blocks = numbers.view(-1, BLOCK)
        largest = blocks.abs().amax(-1)
        self.largest[_blocks(part)] = largest
        scaled = (blocks / largest.clamp_min(torch.finfo(largest.dtype).tiny)[:, None]).view(-1)
        self.codes[part] = self._nearest(scaled)

    def parts(self) -> Iterator[slice]:
        """Yield what is read and written together: whole blocks, and the rest."""
        coded = len(self.codes)
        most = PART_WEIGHTS.get(self.codes.device.type, PART_WEIGHTS["cuda"])
        for first in range(0, coded, most):
            yield slice(first, min(first + most, coded))
        if len(self.rest):
            yield slice(coded, coded + len(self.rest))

    def arrays(self) -> dict[str, Tensor]:
        """Return by name what holds the numbers."""
        named = {"codes": self.codes, "largest": self.largest, "rest": self.rest}
        return {name: array for name, array in named.items() if array.numel()}

    def _is_rest(self, part: slice) -> bool:
        return bool(part.start >= len(self.codes))


def _blocks(part: slice) -> slice:
    return slice(part.start // BLOCK, part.stop // BLOCK)


@dataclass(slots=True)
class _State:
    """Of one weight: steps that it took, and its moments."""

    steps: int
    first: Moment
    second: Moment

    @classmethod
    def of(cls, weight: Tensor) -> "_State":
        return cls(0, Moment(weight, signed=True), Moment(weight, signed=False))

    def tensors(self) -> dict[str, Tensor]:
        named = {"first": self.first, "second": self.second}
        arrays = {f"{name}.{part}": array for name, moment in named.items() for part, array in moment.arrays().items()}
        return {"steps": torch.tensor(self.steps), **arrays}


class AdamW8bit:
    """See the module, and `learner.training.optimizers.Optimizer`.

    Args:
        weights: which are trained, contiguous, in float32 or bfloat16.
        recipe: betas and weight decay.
    """

    def __init__(self, weights: Sequence[nn.Parameter], recipe: RecipeSettings) -> None:
        self._weights, self._recipe = list(weights), recipe
        self._states: dict[int, _State] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move each weight that has a gradient, and drop the gradients."""
        for index, weight in enumerate(self._weights):
            if weight.grad is not None:
                if index not in self._states:
                    self._states[index] = _State.of(weight)
                state = self._states[index]
                state.steps += 1
                self._move(weight, weight.grad, state, rate)
                weight.grad = None

    def _move(self, weight: Tensor, gradient: Tensor, state: _State, rate: float) -> None:
        recipe, numbers, gradients = self._recipe, weight.view(-1), gradient.reshape(-1)
        # Biases and norms have no zero to shrink to.
        kept = 1 - rate * (recipe.weight_decay if weight.ndim > 1 else 0.0)
        unbiased = 1 - recipe.beta1**state.steps, math.sqrt(1 - recipe.beta2**state.steps)
        for part in state.first.parts():
            slope = gradients[part].float()
            mean = state.first.read(part).lerp_(slope, 1 - recipe.beta1)
            square = state.second.read(part).lerp_(slope.square(), 1 - recipe.beta2)
            state.first.write(part, mean)
            state.second.write(part, square)
            exact = numbers[part].float().mul_(kept)
            exact.addcdiv_(mean, square.sqrt().div_(unbiased[1]).add_(EPSILON), value=-rate / unbiased[0])
            numbers[part] = _rounded(exact) if weight.dtype == torch.bfloat16 else exact

    def tensors(self) -> dict[str, Tensor]:
        """Return all that steps change but the weights themselves, by name."""
        return {
            f"{index}.{name}": tensor
            for index, state in self._states.items()
            for name, tensor in state.tensors().items()
        }

    def go_on(self, held: Mapping[str, Tensor]) -> None:
        """Stand where another stood whose `tensors` these are; they are copied."""
        self._states = {}
        for name in held:
            index = int(name.partition(".")[0])
            if index not in self._states:
                state = self._states[index] = _State.of(self._weights[index])
                state.steps = int(held[f"{index}.steps"])
                for own, tensor in state.tensors().items():
                    # That of the steps is no array of the state's.
                    tensor.copy_(held[f"{index}.{own}"])


def _rounded(exact: Tensor) -> Tensor:
    """Round finite float32 numbers to such as bfloat16 has, each up or down by chance; in place."""
    bits = exact.view(torch.int32)
    bits.add_(torch.randint(1 << _CUT_OFF_BITS, bits.shape, dtype=torch.int32, device=bits.device))
    return bits.bitwise_and_(-1 << _CUT_OFF_BITS).view(torch.float32)
