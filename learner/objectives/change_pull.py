"""The pull of `learner.objectives.weight_pull` on weights that an adapter changes, as they are with the change.

With Δ(φ) the change that the adapter's weights φ make of the parent's weight p, and a the anchor,

    penalty(φ) = ½ Σᵢ ωᵢ (Δᵢ + pᵢ - aᵢ)²        gradient: (∂Δ/∂φ)ᵀ ω (Δ + p - a)

so that a strength means what it means where all weights are trained. Where the anchor is the parent itself, p - a is
nothing, and no copy of a weight is held.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from learner.objectives.weight_pull import Pull
from learner.weights.adapter import AdaptedWeight


class ChangePull:
    """Pulls the weights that an adapter changes toward the parent's, or partly toward a base's.

    Args:
        adapted: by the weight's name.
        l2_sp: strength of the pull that all weights feel alike.
        base: by name, what `l2_sp` pulls toward; None: the parent's weights too.
        ewc: strength of the pull by importance.
        importance: by name, shaped like the weights. Needed where `ewc` is not 0.
    """

    def __init__(
        self,
        adapted: Mapping[str, AdaptedWeight],
        *,
        l2_sp: float = 0.0,
        base: Mapping[str, Tensor] | None = None,
        ewc: float = 0.0,
        importance: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._adapted = list(adapted.values())
        self._omegas: list[Any] = [l2_sp] * len(adapted)
        if ewc and importance is not None:
            self._omegas = [
                importance[name].to(each.weight.device, each.weight.dtype).mul(ewc).add_(l2_sp)
                for name, each in adapted.items()
            ]
        self._apart: list[Tensor] | None = None
        self._constant = 0.0
        if base is not None and l2_sp:
            self._apart = []
            for name, omega in zip(adapted, self._omegas, strict=True):
                self._hold_to(base[name], adapted[name].weight, omega, l2_sp)

    @torch.no_grad()
    def _hold_to(self, base: Tensor, parent: Tensor, omega: Any, uniform: float) -> None:
        """Note how far the parent is from where both pulls' sum has its least, and what it is there."""
        apart = parent - base.to(parent.device, parent.dtype)
        share = uniform / omega
        assert self._apart is not None
        self._apart.append(apart * share)
        self._constant += float((apart.square_() * (1 - share)).sum()) * uniform / 2

    def add_gradient(self) -> None:
        """Add the penalty's gradient to the adapter's weights'; those that got none in this step are left alone."""
        for index, each in enumerate(self._adapted):
            if each.is_touched:
                with torch.enable_grad():
                    change = each.change()
                change.backward(self._distance(index, change.detach()).mul(self._omegas[index]))

    @torch.no_grad()
    def value(self) -> Tensor:
        """Return the penalty, a scalar; see `Pull`."""
        total = torch.zeros((), device=self._adapted[0].weight.device if self._adapted else None)
        for index, each in enumerate(self._adapted):
            total += self._distance(index, each.change()).square().mul(self._omegas[index]).sum()
        return total / 2 + self._constant

    def _distance(self, index: int, change: Tensor) -> Tensor:
        return change if self._apart is None else change + self._apart[index]


class PullsTogether:
    """Several penalties, of different weights."""

    def __init__(self, *pulls: Pull) -> None:
        self._pulls = pulls

    def add_gradient(self) -> None:
        """Add the gradient of each; see `Pull`."""
        for pull in self._pulls:
            pull.add_gradient()

    def value(self) -> Tensor:
        """Return their sum; see `Pull`."""
        return torch.stack([pull.value() for pull in self._pulls]).sum()
