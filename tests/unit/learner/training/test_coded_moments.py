"""Moments in a byte each, as rounds hand them on: near the exact ones, and harmless where they are not."""

from typing import Final

import pytest
import torch
from torch import Tensor, nn

from learner.settings import RecipeSettings
from learner.training.coded_moments import Moments
from learner.training.moment_sizes import BLOCK
from learner.training.optimizers import AdamW

RECIPE: Final = RecipeSettings(weight_decay=0.0)
RATE: Final = 1e-2
OFF: Final = {"first": 0.0071, "second": 0.0036}
"""How far a number may be from the exact one, as a share of its block's largest."""


def matrix(rows: int = 20) -> nn.Parameter:
    """As many blocks as rows."""
    return nn.Parameter(torch.linspace(-1, 1, rows * BLOCK).sin().reshape(rows, BLOCK))


def gradients(weight: Tensor, steps: int) -> list[Tensor]:
    """Rows of very different sizes, and numbers in each of very different ones."""
    generator = torch.Generator().manual_seed(2)
    sizes = torch.logspace(-5, 0, len(weight))[:, None] * torch.logspace(-3, 0, BLOCK)
    return [torch.randn(weight.shape, generator=generator) * sizes for _ in range(steps)]


def trained(weight: nn.Parameter, listed: list[Tensor]) -> AdamW:
    """An optimizer that took a step for each gradient."""
    optimizer = AdamW([weight], RECIPE)
    for gradient in listed:
        weight.grad = gradient.clone()
        optimizer.step(RATE)
    return optimizer


def exact_of(optimizer: AdamW) -> tuple[Tensor, Tensor]:
    """The moments that torch holds of the first weight."""
    held = optimizer.tensors()
    return held["0.exp_avg"], held["0.exp_avg_sq"]


def test_they_are_near_the_exact_ones() -> None:
    """Each as near as `learner.training.coded_moments` says; the steps are as many."""
    weight = matrix()
    optimizer = trained(weight, gradients(weight, 8))
    moments = dict(optimizer.moments())[0]
    assert moments.steps == 8
    read = moments.exact(weight)
    for name, coded, exact in zip(OFF, read, exact_of(optimizer), strict=True):
        assert coded.shape == weight.shape
        largest = exact.abs().amax(-1, keepdim=True)
        kept = read[1] > 0
        assert float(((coded - exact).abs() / largest)[kept].max()) < OFF[name]
        assert float(kept.float().mean()) > 0.9


def test_small_weights_and_what_is_left_of_a_block_are_kept_as_they_are() -> None:
    """A norm's, and the last numbers of a matrix."""
    for shape in ((64,), (17, 250)):
        weight = nn.Parameter(torch.ones(shape))
        generator = torch.Generator().manual_seed(0)
        optimizer = trained(weight, [torch.randn(shape, generator=generator) for _ in range(3)])
        exact = exact_of(optimizer)
        rest = weight.numel() % BLOCK if weight.numel() >= 4096 else weight.numel()
        for coded, whole in zip(dict(optimizer.moments())[0].exact(weight), exact, strict=True):
            assert torch.equal(coded.flatten()[-rest:], whole.flatten()[-rest:])


def test_the_next_step_is_near_that_from_the_exact_ones() -> None:
    """By a tenth of the way that it goes."""
    weight = matrix()
    *before, last = gradients(weight, 9)
    optimizer = trained(weight, before)
    other = nn.Parameter(weight.detach().clone())
    begun, stood = AdamW([other], RECIPE), weight.detach().clone()
    begun.begin_with(dict(optimizer.moments()))
    for moved, taker in ((weight, optimizer), (other, begun)):
        moved.grad = last.clone()
        taker.step(RATE)
    way = (weight.detach() - stood).norm()
    assert (other.detach() - weight.detach()).norm() < 0.1 * way


def test_what_is_too_small_for_its_blocks_code_moves_nothing_by_itself() -> None:
    """Where a square reads as zero the mean does too: divided by the root of nothing it would be thrown far away."""
    weight = matrix()
    (gradient,) = gradients(weight, 1)
    gradient[0] = 1e-5
    gradient[0, 0] = 1.0
    optimizer = trained(weight, [gradient])
    moments = dict(optimizer.moments())[0]
    mean, square = moments.exact(weight)
    assert not square[0, 1:].any(), "this is about such"
    assert not mean[0, 1:].any()
    other = nn.Parameter(weight.detach().clone())
    begun = AdamW([other], RECIPE)
    begun.begin_with({0: moments})
    other.grad = torch.zeros_like(other)
    begun.step(RATE)
    assert (other.detach() - weight.detach()).abs().max() <= 2 * RATE


@pytest.mark.parametrize("broken", ["shape", "dtype", "missing"])
def test_those_of_another_weight_are_not_taken(broken: str) -> None:
    """Nothing of it is changed by what does not fit."""
    weight = matrix()
    optimizer = trained(weight, gradients(weight, 2))
    held = dict(optimizer.moments())[0].tensors()
    if broken == "shape":
        held["first.codes"] = held["first.codes"][:-BLOCK]
    elif broken == "dtype":
        held["second.largest"] = held["second.largest"].half()
    else:
        del held["steps"]
    moments = Moments.of(weight)
    assert not moments.take(held)
    assert moments.steps == 0
    assert not moments.first.largest.any()
