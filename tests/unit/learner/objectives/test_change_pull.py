"""The pull on weights that an adapter changes is the pull on weights, as they are with the change."""

from typing import Any

import pytest
import torch

from learner.objectives.change_pull import ChangePull, PullsTogether
from learner.objectives.weight_pull import QuadraticPull
from learner.weights.adapter import Adapter, AdapterShape, attach
from tests.unit.learner import tiny


def moved(kind: Any) -> tuple[Any, Adapter]:
    """A model with an adapter that has learned something, and a gradient at all of it."""
    model = tiny.gpt2().eval()
    adapter = attach(model, AdapterShape(kind, 2, 4, ("mlp",)), seed=3, heads=False)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
                weight.grad = torch.zeros_like(weight)
    return model, adapter


def terms(adapter: Adapter, ewc: float, *, base: bool) -> dict[str, Any]:
    """Strengths, and what belongs to them."""
    generator = torch.Generator().manual_seed(6)
    drawn = {name: torch.rand(weight.shape, generator=generator) for name, weight in adapter.weights.items()}
    bases = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in drawn.items()}
    return {"l2_sp": 0.3, "ewc": ewc, "importance": drawn, "base": bases if base else None}


@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("ewc", [0.0, 2.0])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_it_is_what_all_weights_would_feel(kind: str, ewc: float, base: bool) -> None:
    """The same penalty as of the merged model, and a gradient that leads down it."""
    model, adapter = moved(kind)
    asked = terms(adapter, ewc, base=base)
    names = list(adapter.adapted)
    pull = ChangePull(adapter.adapted, **asked)
    before = {name: torch.nn.Parameter(adapter.adapted[name].weight.detach().clone()) for name in names}
    whole = QuadraticPull(before, **asked)
    with torch.no_grad():
        for name, weight in before.items():
            weight.add_(adapter.adapted[name].change())
    assert float(pull.value()) == pytest.approx(float(whole.value()), rel=1e-5)
    for weight in before.values():
        weight.grad = torch.zeros_like(weight)
    whole.add_gradient()
    pull.add_gradient()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    through = torch.autograd.grad(
        [adapter.adapted[name].change() for name in names],
        list(trained.values()),
        [before[name].grad for name in names],
    )
    for weight, expected in zip(trained.values(), through, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, expected, atol=1e-6)


def test_what_got_no_gradient_is_left_alone_and_pulls_add_up() -> None:
    """An expert that no token went to is not trained in this step."""
    model, adapter = moved("lora")
    pull = ChangePull(adapter.adapted, l2_sp=0.3)
    assert float(PullsTogether(pull, pull).value()) == pytest.approx(2 * float(pull.value()))
    model.zero_grad(set_to_none=True)
    PullsTogether(pull).add_gradient()
    assert all(weight.grad is None for weight in model.parameters())
