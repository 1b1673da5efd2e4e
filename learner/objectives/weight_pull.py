"""The pull toward anchor weights: one quadratic penalty, of which L2-SP and EWC are two choices of importance.

    penalty(θ) = ½ Σᵢ ωᵢ (θᵢ - aᵢ)²        gradient: ωᵢ (θᵢ - aᵢ)

L2-SP (Li et al. 2018) has one ω for all weights; online EWC (Schwarz et al. 2018) has ω = strength × Fisher. Two
such penalties add up to one with the sum of their ω, so a round has one pull however many terms its recipe names. Where
their anchors differ (EWC pulls to the parent, L2-SP as in its paper to what everything started from), the sum's anchor
lies between them as their ω do, and a constant remains that no weight feels:

    ½ l (θ - b)² + ½ e (θ - p)²  =  ½ (l + e) (θ - a)² + ½ l e / (l + e) (b - p)²,   a = p + l / (l + e) (b - p)

The gradient is known, so it is added in place after the backward pass: no graph, no second forward.

Two things to mind. Decoupled weight decay also pulls, toward zero: beside a pull toward the parent it should be
zero, and by default is. Tied weights are one parameter with two names: `named_parameters` gives them once, so they
are pulled once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from learner.weights.sharded import placed_like, whole_of

NO_FREE_ROWS: Final[Mapping[str, int]] = MappingProxyType({})
# Differences are made for this many weights at a time, so that a pull needs no second copy of the model.
CHUNK_WEIGHTS = 1 << 26


class Pull(Protocol):
    """A penalty on weights."""

    def add_gradient(self) -> None:
        """Add the penalty's gradient to that of each trained weight, in place, after the backward pass."""

    def value(self) -> Tensor:
        """Return the penalty, a scalar. For reports: training needs only its gradient."""


class QuadraticPull:
    """Pulls parameters toward where they were when the pull was made, or partly toward a base.

    Args:
        parameters: by name; those that are trained. Their present values become the anchor.
        l2_sp: strength of the pull that all weights feel alike.
        base: by name, what `l2_sp` pulls toward; None: the present values too.
        ewc: strength of the pull by importance.
        importance: by name, shaped like the parameters; each round's part of it has mean 1, so that a strength means
            the same for every model. Needed where `ewc` is not 0.
        free_rows: by name, the row from which on a parameter is not pulled: a head's for labels that are new to it.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        l2_sp: float = 0.0,
        base: Mapping[str, Tensor] | None = None,
        ewc: float = 0.0,
        importance: Mapping[str, Tensor] | None = None,
        free_rows: Mapping[str, int] = NO_FREE_ROWS,
    ) -> None:
        self._parameters = list(parameters.values())
        self._free_rows = {index: free_rows[name] for index, name in enumerate(parameters) if name in free_rows}
        self._anchors = [parameter.detach().clone() for parameter in self._parameters]
        self._uniform = l2_sp
        self._omegas: list[Tensor] | None = None
        if ewc and importance is not None:
            self._omegas = [
                placed_like(importance[name], parameter).mul(ewc).add_(l2_sp) for name, parameter in parameters.items()
            ]
        self._constant = (
            self._anchor_between([base[name] for name in parameters]) if base is not None and l2_sp else 0.0
        )
        self._chunks = _chunks([parameter.numel() for parameter in self._parameters])

    @torch.no_grad()
    def _anchor_between(self, base: list[Tensor]) -> float:
        """Move the anchors to where both pulls' sum has its least; return what it is there.

        Args:
            base: what all weights are pulled to alike, shaped like the parameters.
        """
        least = 0.0
        for index, (anchor, other) in enumerate(zip(self._anchors, base, strict=True)):
            apart = placed_like(other, anchor) - anchor
            if self._omegas is None:
                anchor.add_(apart)
                continue
            share = self._uniform / self._omegas[index]
            anchor.addcmul_(share, apart)
            least += float(whole_of((apart.square_() * (1 - share)).sum())) * self._uniform / 2
        return least

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add the penalty's gradient to every parameter's, in place, after the backward pass.

        A parameter that got no gradient is not trained in this step and is left alone: the embedding of an expert that
        no token went to, say.
        """
        for part in self._chunks:
            touched = [index for index in part if self._parameters[index].grad is not None]
            if not touched:
                continue
            gradients = [self._gradient(index) for index in touched]
            apart = torch._foreach_sub(  # noqa: SLF001 - torch names its fused loops so
                [self._parameters[index] for index in touched], [self._anchors[index] for index in touched]
            )
            for index, difference in zip(touched, apart, strict=True):
                self._let_free(index, difference)
            if self._omegas is None:
                torch._foreach_add_(gradients, apart, alpha=self._uniform)
            else:
                torch._foreach_addcmul_(gradients, apart, [self._omegas[index] for index in touched])

    def _let_free(self, index: int, difference: Tensor) -> None:
        if index in self._free_rows:
            difference[self._free_rows[index] :] = 0

    def _gradient(self, index: int) -> Tensor:
        gradient = self._parameters[index].grad
        assert gradient is not None
        return gradient

    @torch.no_grad()
    def value(self) -> Tensor:
        """Return the penalty, a scalar. For reports: training needs only its gradient."""
        total = torch.zeros((), device=self._anchors[0].device if self._anchors else None)
        for index, (parameter, anchor) in enumerate(zip(self._parameters, self._anchors, strict=True)):
            squared = (parameter - anchor).square_()
            self._let_free(index, squared)
            if self._omegas is None:
                total += whole_of(squared.sum()) * self._uniform
            else:
                total += whole_of(squared.mul_(self._omegas[index]).sum())
        return total / 2 + self._constant


def _chunks(sizes: list[int]) -> list[range]:
    parts: list[range] = []
    start = weights = 0
    for index, size in enumerate(sizes):
        if weights and weights + size > CHUNK_WEIGHTS:
            parts.append(range(start, index))
            start, weights = index, 0
        weights += size
    return [*parts, range(start, len(sizes))]
