"""What rounding cuts off a round's result, kept beside it in one byte a weight, so that the next round begins there.

A round trains in float32; its result is stored, and serves, in the base model's dtype. Two neighbouring numbers of
bfloat16 are a 128th to a 256th of their size apart. At the learning rates that large models bear, a round moves most
weights by less than half of that, so rounding takes them back to where they were, in every round anew: of what eight
rounds at 1e-5 learn an eighth is left. What was cut off is kept in units of a 256th of the stored number's last place,

    master = stored + r ulp(stored) / 256        r a whole number, -127 to 127

which is right to half a unit, 2⁻⁹ ulp. (Within half a unit of the middle between two stored numbers r would have to be
128, which a byte does not hold beside -128 and 0: there it is right to a whole unit.) Two things follow from r staying
below one half: a master rounds to the stored number that it lies beside, and a weight that no round moves stays as it
is, bit by bit, in both.

Stochastic rounding needs no byte, and is right in the mean. But what it adds is noise of the size of an ulp in every
weight that moved at all, in the very model that serves, and each round adds it anew.
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
_UNIT: Final = -8
_MOST: Final = 127
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


@torch.no_grad()
def residual_of(stored: Tensor, master: Tensor) -> Residual:
    """Tell what was cut off when `master` was rounded to `stored`.

    Args:
        stored: in bfloat16 or float16.
        master: the same numbers in float32, before they were rounded. Where it or what is stored is not finite,
            nothing is kept.
    """
    units = torch.empty(stored.shape, dtype=torch.int8, device=stored.device)
    for kept, rounded, exact in _in_chunks(units, stored, master):
        first, second = _halved_exponents(rounded.float(), stored.dtype)
        cut_off = (exact - rounded.float()).mul_(_power_of_two(-first)).mul_(_power_of_two(-second))
        # What overflowed is stored as infinite and stays so; the gate refuses such a model by its scores.
        kept.copy_(cut_off.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).round_().clamp_(-_MOST, _MOST))
    return Residual(units, stored.dtype)


@torch.no_grad()
def add_residual(weight: Tensor, residual: Residual) -> None:
    """Turn stored numbers, given in float32, into the masters that they were rounded from, in place."""
    units = residual.units.to(weight.device)
    for stored, cut_off in _in_chunks(weight, units):
        first, second = _halved_exponents(stored, residual.dtype)
        stored.add_(cut_off.float().mul_(_power_of_two(first)).mul_(_power_of_two(second)))


def _in_chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    yield from zip(*(tensor.view(-1).split(CHUNK_WEIGHTS) for tensor in tensors), strict=True)


def _halved_exponents(stored: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return two whole numbers for each stored one, whose sum is the exponent of its unit.

    Two, because a unit of small numbers, or its inverse, may be none that float32 has, and each half's is.
    """
    # By the bits, not by a logarithm: exact, and zero and subnormal numbers need nothing of their own.
    exponents = (stored.view(torch.int32) >> _MANTISSA_BITS & 0xFF) - _BIAS
    units = exponents.clamp_(min=_LEAST_EXPONENT[dtype]).add_(_LAST_PLACE[dtype] + _UNIT)
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
