"""Are two passes the same answer? Rounding apart, and a token that a mixture sent to another expert for it."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

# How far logits may differ (root mean square, against their spread), by the weights' precision: at most, and at least
# where the model is nearly blind to what was changed.
MOST: Final = {torch.bfloat16: 0.15, torch.float16: 0.05}
LEAST: Final = {torch.bfloat16: 0.01, torch.float16: 0.002}
MOST_SINGLE, LEAST_SINGLE = 1e-3, 1e-5
# A fault is no smaller than this share of what another text changes.
SHARE_OF_EFFECT: Final = 1 / 6
# Rounding varies from place to place; beyond half of what another text changes it would hide faults.
TIMES_NOISE: Final = 2.0
MOST_OF_EFFECT: Final = 0.5
# In half precision single tokens go astray by rounding alone: near ties between experts, above all.
ASTRAY_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What counts as the same for one model.

    Attributes:
        tolerance: the largest error that is rounding.
        astray: share of the places that may be beyond it.
    """

    tolerance: float
    astray: float

    @classmethod
    def of(cls, dtype: torch.dtype, effect: float, noise: float = 0.0) -> "Yardstick":
        """By precision, and by how much another text changes the logits.

        Random weights hardly look at the text: what is lost of it shows in the fourth digit. In half precision rounding
        adds up over the layers of a real model to more than some faults of a small one: it is measured.

        Args:
            dtype: of the weights.
            effect: an error as `errors` gives it, between texts that differ.
            noise: likewise, between passes that differ in nothing but how they round; counts in half precision alone.
        """
        most, least = MOST.get(dtype, MOST_SINGLE), LEAST.get(dtype, LEAST_SINGLE)
        change = 0.0 if math.isnan(effect) else effect
        rounding = min(TIMES_NOISE * noise, MOST_OF_EFFECT * change) if dtype in MOST and noise < math.inf else 0.0
        tolerance = min(most, max(least, SHARE_OF_EFFECT * change, rounding))
        return cls(tolerance, ASTRAY_SHARE if dtype in MOST else 0.0)

    def same(self, actual: Tensor, expected: Tensor) -> bool:
        """Whether two lots of logits are the same but for rounding; shape (places, outputs) both."""
        if actual.shape != expected.shape:
            return False
        # By place, not on the whole: one row that went wrong would vanish in the mean of many.
        beyond = (errors(actual, expected) > self.tolerance).double().mean()
        return float(beyond) <= self.astray


def errors(actual: Tensor, expected: Tensor) -> Tensor:
    """The error at each place, in spreads of what is expected; infinite where one alone is no number.

    Args:
        actual: shape (places, outputs).
        expected: the same.
    """
    actual, expected = actual.double().cpu(), expected.double().cpu()
    # Tokens that a model never gives are -inf each time, which is no error.
    finite = torch.isfinite(expected)
    strange = (torch.isfinite(actual) != finite).any(-1)
    difference = torch.where(finite, actual - expected, 0.0).square().mean(-1).sqrt()
    finite_part = torch.where(finite, expected, 0.0)
    spread = (finite_part - finite_part.mean(-1, keepdim=True)).square().mean(-1).sqrt().mean()
    # A head with a single answer has no spread.
    scale = spread if spread > 0 else finite_part.abs().max()
    relative = torch.where(difference > 0, difference / scale, 0.0)
    return torch.where(strange, torch.inf, relative)
