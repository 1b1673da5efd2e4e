"""The quadratic pull against autograd."""

import pytest
import torch
from torch import nn

from learner.objectives import weight_pull
from learner.objectives.weight_pull import QuadraticPull
from tests.models import embedding_of
from tests.unit.learner import tiny


def weights(seed: int = 0) -> dict[str, nn.Parameter]:
    """Three parameters of different shapes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 2, 2)}
    return {name: nn.Parameter(torch.randn(*shape, generator=generator)) for name, shape in shapes.items()}


def moved_from_anchor(parameters: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """Move each parameter; return where it was."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for at, parameter in enumerate(parameters.values()):
        parameter.data.add_(0.1 * (at + 1)).mul_(1.3)
        parameter.grad = torch.ones_like(parameter)
    return before


@pytest.mark.parametrize("chunk", [1, 12, 1 << 20])
@pytest.mark.parametrize(("l2_sp", "ewc"), [(0.5, 0.0), (0.0, 2.0), (0.5, 2.0)])
def test_gradient_in_closed_form_is_autograds(
    l2_sp: float, ewc: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One mechanism gives L2-SP, EWC and both, whatever is done at a time."""
    monkeypatch.setattr(weight_pull, "CHUNK_WEIGHTS", chunk)
    parameters = weights()
    importance = {name: torch.rand_like(parameter) for name, parameter in parameters.items()}
    pull = QuadraticPull(parameters, l2_sp=l2_sp, ewc=ewc, importance=importance if ewc else None)
    before = moved_from_anchor(parameters)
    expected = sum(
        (((l2_sp + ewc * importance[name]) / 2) * (parameter - before[name]) ** 2).sum()
        for name, parameter in parameters.items()
    )
    assert isinstance(expected, torch.Tensor)
    gradients = torch.autograd.grad(expected, list(parameters.values()))
    pull.add_gradient()
    torch.testing.assert_close(pull.value(), expected.detach())
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, 1 + gradient)


@pytest.mark.parametrize("ewc", [0.0, 2.0])
def test_pull_to_the_base_and_to_the_parent_is_autograds_of_their_sum(ewc: float) -> None:
    """L2-SP's anchor is the base, EWC's the parent: gradient and value are those of the two penalties."""
    parameters, base = weights(), {name: value.detach() for name, value in weights(seed=1).items()}
    importance = {name: torch.rand_like(parameter) for name, parameter in parameters.items()}
    pull = QuadraticPull(parameters, l2_sp=0.5, base=base, ewc=ewc, importance=importance if ewc else None)
    before = moved_from_anchor(parameters)
    expected = sum(
        (0.25 * (parameter - base[name]) ** 2 + ewc / 2 * importance[name] * (parameter - before[name]) ** 2).sum()
        for name, parameter in parameters.items()
    )
    assert isinstance(expected, torch.Tensor)
    gradients = torch.autograd.grad(expected, list(parameters.values()))
    pull.add_gradient()
    torch.testing.assert_close(pull.value(), expected.detach())
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, 1 + gradient)


def test_base_is_no_anchor_where_nothing_pulls_all_weights_alike() -> None:
    """EWC alone pulls to the parent."""
    parameters, base = weights(), {name: value.detach() for name, value in weights(seed=1).items()}
    importance = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
    assert QuadraticPull(parameters, base=base, ewc=1.0, importance=importance).value().item() == 0


def test_parameter_without_gradient_is_left_alone() -> None:
    """What a step does not train is not pulled either."""
    parameters = weights()
    pull = QuadraticPull(parameters, l2_sp=1.0)
    moved_from_anchor(parameters)
    parameters["b"].grad = None
    pull.add_gradient()
    assert parameters["b"].grad is None


@pytest.mark.parametrize("ewc", [0.0, 2.0])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_a_step_that_trains_nothing_pulls_nothing(ewc: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient at all, or none among the weights that are pulled at a time."""
    monkeypatch.setattr(weight_pull, "CHUNK_WEIGHTS", chunk)
    parameters = weights()
    importance = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
    pull = QuadraticPull(parameters, l2_sp=1.0, ewc=ewc, importance=importance)
    pull.add_gradient()
    assert all(parameter.grad is None for parameter in parameters.values())
    parameters["b"].grad = torch.zeros_like(parameters["b"])
    parameters["b"].data.add_(1.0)
    pull.add_gradient()
    torch.testing.assert_close(parameters["b"].grad, torch.full((5,), 1.0 + ewc))


def test_a_model_with_nothing_to_train_has_no_penalty() -> None:
    """It is zero, and no error."""
    pull = QuadraticPull({}, l2_sp=1.0, ewc=1.0, importance={})
    pull.add_gradient()
    assert pull.value().item() == 0


def test_tied_weights_are_pulled_once() -> None:
    """Embedding and head are one parameter, so the penalty counts it once."""
    model = tiny.llama(tied=True)
    pull = QuadraticPull(dict(model.named_parameters()), l2_sp=1.0)
    embedding = embedding_of(model)
    embedding.data.add_(1.0)
    assert pull.value().item() == pytest.approx(embedding.numel() / 2, rel=1e-4)
