"""The linear maps of a model's layers in 4 bits each, while an adapter is trained beside them (QLoRA).

NF4 (Dettmers et al. 2023, "QLoRA"): blocks of 64 weights, of each the nearest of 16 quantiles of a normal distribution,
by the library bitsandbytes. They stand still, and are made exact for each pass in its own dtype. What is learned is
merged into the weights as they are stored, not into these: `give_back` puts the stored ones back first.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from learner.errors import LearnerError
from learner.low_memory_library import HOW_TO_INSTALL, has_four_bits
from learner.settings import ADAPTER_PARTS
from learner.weights.adapted_modules import NoSuchModules, choose_modules


class NoFourBits(LearnerError):
    """The library that holds weights in 4 bits is not installed."""


def require_four_bits() -> None:
    """Refuse what cannot be held in 4 bits here.

    Raises:
        NoFourBits: bitsandbytes is not installed.
    """
    if not has_four_bits():
        raise NoFourBits(
            f'learner.recipe.adapter_base = "4bit" needs bitsandbytes: {HOW_TO_INSTALL}, or leave adapter_base out'
        )


def maps_of(model: Any) -> tuple[str, ...]:
    """Return the names of the linear maps of a model's layers, adapted or not; before an adapter is attached."""
    names: dict[str, None] = {}
    for part in ADAPTER_PARTS:
        try:
            names |= dict.fromkeys(choose_modules(model, (part,)))
        except NoSuchModules:
            continue
    return tuple(name for name in names if type(model.get_submodule(name)) is nn.Linear)


def hold_in_four_bits(model: Any, names: Iterable[str], compute: torch.dtype) -> None:
    """Replace linear maps by such in 4 bits, in place, one after another.

    Args:
        model: with an adapter attached.
        names: as `maps_of` told before it was attached.
        compute: in which they are made exact.
    """
    for name in names:
        _put(model, name, ShortLinear(_at(model, name), compute))


def give_back(model: Any, names: Iterable[str], exact: Any) -> None:
    """Put the maps of another copy of the model, with exact weights, in their place."""
    for name in names:
        _put(model, name, exact.get_submodule(name))


def _at(model: Any, name: str) -> Any:
    module = model.get_submodule(name)
    return module.get_base_layer() if hasattr(module, "get_base_layer") else module


def _put(model: Any, name: str, linear: Any) -> None:
    module = model.get_submodule(name)
    if hasattr(module, "get_base_layer"):
        module.base_layer = linear
    else:
        model.set_submodule(name, linear)


class ShortLinear(nn.Module):
    """A linear map whose weight is held in 4 bits, and stands still.

    Args:
        linear: the exact one.
        compute: in which the weight is made exact.
    """

    def __init__(self, linear: nn.Linear, compute: torch.dtype) -> None:
        super().__init__()
        from bitsandbytes.functional import quantize_4bit  # noqa: PLC0415 - an extra

        self.in_features, self.out_features = linear.in_features, linear.out_features
        # Torch's own annotation leaves out that there may be none.
        self.bias: Tensor | None = linear.bias
        # No buffers: what stands still has no place in what a round saves of itself.
        self._codes, self._state = quantize_4bit(linear.weight.data, quant_type="nf4")
        self._compute = compute

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states, shape (…, in_features)."""
        from bitsandbytes import matmul_4bit  # noqa: PLC0415 - an extra

        bias = None if self.bias is None else self.bias.to(self._compute)
        mapped: Tensor = matmul_4bit(hidden.to(self._compute), self._codes, quant_state=self._state, bias=bias)
        return mapped
