"""How a round's result is rounded to be stored, and what that cuts off it, kept beside it in one byte a weight.

A round trains in float32; its result is stored, and serves, in the base model's dtype. Two neighbouring numbers of
bfloat16 are a 128th to a 256th of their size apart. At the learning rates that large models bear, a round moves most
weights by less than half of that. Two things follow, and each has its remedy.

Rounded to the nearest, most weights stay where the base had them, and what serves lacks a part of what was learned (of
48 steps at 1e-5 on the demo's model 9 % of the gain, of smaller gains a third). So each weight is rounded up or down by
a threshold of its own, drawn once for all rounds: as many weights go up as the mean asks for, which is what stochastic
rounding does, but a weight that does not move does not flip from round to round.

Begun from what is stored, the next round loses what rounding took back, or begins from its noise. So what was cut off
is kept, in units of a 128th of the stored number's last place,

    master = stored + r ulp(stored) / 128        r a whole number, -127 to 127

which is right to half a unit, 2⁻⁸ ulp (within half a unit of a whole ulp, to a whole unit), and the next round begins
from the masters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from learner.weights.tensor_files import load_tensors, of_another_model, save_tensors

# The exponent of the last place relative to the number's own, and the least exponent of a normal number: below it the
# last place stays where it is (subnormal numbers, and zero).
_LAST_PLACE: Final = {torch.bfloat16: -7, torch.float16: -10}
_LEAST_EXPONENT: Final = {torch.bfloat16: -126, torch.float16: -14}
_UNIT: Final = -7
_MOST: Final = 127
# Of a last place: thresholds lie on a grid this fine. Any finer, and adding one to a float16's digits would round.
_THRESHOLDS: Final = 1 << 12
_SEED: Final = 0
# Of float32, whose bits tell a number's exponent.
_MANTISSA_BITS: Final = 23
_BIAS: Final = 127
# Weights at a time: an embedding of billions needs no second copy of itself in float32.
CHUNK_WEIGHTS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Residual:
    """What rounding cut off one weight.

    Attributes:
        units: shaped like the weight, int8.
        dtype: in which the weight is stored; float32 ones have no residual.
    """

    units: Tensor
    dtype: torch.dtype


Residuals = Mapping[str, Residual]
"""By the weight's name; tied ones once."""


def is_rounded(stored: Tensor) -> bool:
    """Tell whether a stored weight has fewer digits than training gives it."""
    return stored.dtype in _LAST_PLACE


def thresholds() -> torch.Generator:
    """Begin the draw of thresholds by which a model's weights are rounded, in their order: the same in every round."""
    return torch.Generator().manual_seed(_SEED)


@torch.no_grad()
def round_into(stored: Tensor, master: Tensor, drawn: torch.Generator) -> None:
    """Round numbers, each up or down by a threshold of its own: right in the mean, exact where nothing is cut off.

    Args:
        stored: in bfloat16 or float16, on the CPU; overwritten.
        master: shaped like it, in float32.
        drawn: gives the thresholds.
    """
    for rounded, exact in _in_chunks(stored, master):
        first, second = _halved_exponents(exact, stored.dtype, 0)
        places = exact.abs().mul_(_power_of_two(-first)).mul_(_power_of_two(-second))
        threshold = torch.randint(_THRESHOLDS, exact.shape, generator=drawn, dtype=torch.int16)
        places.add_(threshold.float().div_(_THRESHOLDS)).floor_()
        places.mul_(_power_of_two(first)).mul_(_power_of_two(second)).copysign_(exact)
        rounded.copy_(torch.where(exact.isfinite(), places, exact))


@torch.no_grad()
def residual_of(stored: Tensor, master: Tensor) -> Residual:
    """Tell what was cut off when `master` was rounded to `stored`, up or down.

    Args:
        stored: in bfloat16 or float16.
        master: the same numbers in float32, before they were rounded. Where it or what is stored is not finite,
            nothing is kept.
    """
    units = torch.empty(stored.shape, dtype=torch.int8, device=stored.device)
    for kept, rounded, exact in _in_chunks(units, stored, master):
        first, second = _halved_exponents(rounded.float(), stored.dtype, _UNIT)
        cut_off = (exact - rounded.float()).mul_(_power_of_two(-first)).mul_(_power_of_two(-second))
        # What overflowed is stored as infinite and stays so; the gate refuses such a model by its scores.
        kept.copy_(cut_off.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).round_().clamp_(-_MOST, _MOST))
    return Residual(units, stored.dtype)


@torch.no_grad()
def add_residual(weight: Tensor, residual: Residual) -> None:
    """Turn stored numbers, given in float32, into the masters that they were rounded from, in place."""
    units = residual.units.to(weight.device)
    for stored, cut_off in _in_chunks(weight, units):
        first, second = _halved_exponents(stored, residual.dtype, _UNIT)
        stored.add_(cut_off.float().mul_(_power_of_two(first)).mul_(_power_of_two(second)))


def _in_chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    yield from zip(*(tensor.view(-1).split(CHUNK_WEIGHTS) for tensor in tensors), strict=True)


def _halved_exponents(numbers: Tensor, dtype: torch.dtype, unit: int) -> tuple[Tensor, Tensor]:
    """Return two whole numbers for each one, whose sum is the exponent of its last place in a format, plus `unit`.

    Two, because a unit of small numbers, or its inverse, may be none that float32 has, and each half's is.
    """
    # By the bits, not by a logarithm: exact, and zero and subnormal numbers need nothing of their own.
    exponents = (numbers.view(torch.int32) >> _MANTISSA_BITS & 0xFF) - _BIAS
    units = exponents.clamp_(min=_LEAST_EXPONENT[dtype]).add_(_LAST_PLACE[dtype] + unit)
    first = units >> 1
    return first, units - first


def _power_of_two(exponents: Tensor) -> Tensor:
    return (exponents + _BIAS << _MANTISSA_BITS).view(torch.float32)


def add_residuals(model: Any, residuals: Residuals) -> None:
    """Turn a model's stored weights, given in float32, into their masters, in place."""
    for name, weight in model.named_parameters():
        if name in residuals:
            add_residual(weight.detach(), residuals[name])


def save_residuals(path: Path, residuals: Residuals) -> None:
    """Write residuals beside a model.

    Raises:
        OSError: the disk refused.
    """
    dtypes = {name: str(residual.dtype).removeprefix("torch.") for name, residual in residuals.items()}
    save_tensors(path, {name: residual.units for name, residual in residuals.items()}, dtypes)


def load_residuals(path: Path, model: Any) -> Residuals:
    """Read what was cut off a model's weights; empty where nothing was, or no round of this version made it.

    Args:
        path: of the file.
        model: whose weights they are, in whatever dtype.

    Raises:
        BadRoundDirectory: the file is damaged or belongs to another model.
    """
    stored = load_tensors(path)
    if stored is None:
        return {}
    tensors, dtypes = stored
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    known = {str(dtype).removeprefix("torch."): dtype for dtype in _LAST_PLACE}
    for name, units in tensors.items():
        if units.dtype != torch.int8 or shapes.get(name) != units.shape or dtypes.get(name) not in known:
            raise of_another_model(path)
    return {name: Residual(units, known[dtypes[name]]) for name, units in tensors.items()}
