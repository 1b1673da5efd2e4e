"""The two moments of a weight, a byte for each of its numbers: how 8-bit AdamW holds them, and how any are kept.

Moments are kept in blocks of 256: the largest of a block in float32, and of each number which of 256 fractions of that
comes nearest. The fractions lie as close to each other as they are small (seven powers of ten, the larger of them
divided more finely), so that of a moment mostly the order of size is kept, which is what a step needs of it (Dettmers
et al. 2022, "8-bit Optimizers via Block-wise Quantization"). A number of a mean of gradients is right to 0.0071 of its
block's largest, one of a mean of squares to 0.0036.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor

from learner.training.moment_sizes import BLOCK, LEAST_WEIGHTS, PART_WEIGHTS

_POWERS: Final = 7
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


@cache
def _tables(*, signed: bool, device: torch.device) -> tuple[Tensor, _Nearest]:
    """The fractions, and what finds them; a model's weights share them."""
    fractions = torch.tensor(_fractions(signed=signed), device=device)
    return fractions, _Nearest(fractions)


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
        self._fractions, self._nearest = _tables(signed=signed, device=device)
        nothing = _fractions(signed=signed).index(0.0)
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
class Moments:
    """Of one weight.

    Attributes:
        steps: that it took; Adam corrects both means by them, which begin at zero.
        first: mean of its gradients.
        second: mean of their squares.
    """

    steps: int
    first: Moment
    second: Moment

    @classmethod
    def of(cls, weight: Tensor) -> "Moments":
        """Those of a weight that took no step yet."""
        return cls(0, Moment(weight, signed=True), Moment(weight, signed=False))

    @classmethod
    def coded(cls, weight: Tensor, steps: int, mean: Tensor, square: Tensor) -> "Moments":
        """Code exact ones, in float32 and shaped like the weight."""
        coded = cls.of(weight)
        coded.steps = steps
        for moment, exact in ((coded.first, mean.reshape(-1)), (coded.second, square.reshape(-1))):
            for part in moment.parts():
                moment.write(part, exact[part])
        return coded

    def exact(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Both means as float32, shaped and laid out like the weight."""
        mean, square = (_whole(moment).view(weight.shape) for moment in (self.first, self.second))
        # A square too small for its block's code reads as zero: divided by its root, what its mean has left would move
        # the weight by many times the rate, where no gradient comes.
        mean.masked_fill_(square == 0, 0.0)
        like = torch.empty_like(weight, dtype=torch.float32)
        return like.copy_(mean), torch.empty_like(like).copy_(square)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name; but for the steps, themselves."""
        named = {"first": self.first, "second": self.second}
        arrays = {f"{name}.{part}": array for name, moment in named.items() for part, array in moment.arrays().items()}
        return {"steps": torch.tensor(self.steps), **arrays}

    def take(self, held: Mapping[str, Tensor]) -> bool:
        """Become those whose `tensors` these are, which are copied; tell whether they fit: nothing changes if not."""
        own = self.tensors()
        if any(name not in held or _kind(held[name]) != _kind(tensor) for name, tensor in own.items()):
            return False
        self.steps = int(held["steps"])
        for name, tensor in own.items():
            # That of the steps is no array of its own.
            tensor.copy_(held[name])
        return True

    def sum_of_bytes(self) -> int:
        """The sum of all that it holds, byte by byte: moments that differ in it are not the same."""
        return sum(int(tensor.reshape(-1).view(torch.uint8).sum()) for tensor in self.tensors().values())


def _whole(moment: Moment) -> Tensor:
    """A moment's numbers laid end to end, float32."""
    numbers = torch.empty(len(moment.codes) + len(moment.rest), device=moment.rest.device)
    for part in moment.parts():
        numbers[part] = moment.read(part)
    return numbers


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.Size]:
    return tensor.dtype, tensor.shape
