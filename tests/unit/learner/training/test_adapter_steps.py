"""Steps of a model with an adapter: what they minimise, and what they hold in memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from learner.devices.device import Device
from learner.material.encoding import Encoder
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.training.train import StepFigures, Trainer
from learner.weights.adapter import Adapter, AdapterShape, attach
from tests.unit.learner import tiny

CPU = Device(torch.device("cpu"), "cpu", torch.float32)
SHAPES = [AdapterShape("lora", 4, 8, ("mlp",)), AdapterShape("dora", 4, 8, ("mlp", "attention"))]
Standing = Callable[[], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def one_thread(torch_settings_kept: None) -> None:
    """Sums are made in the same order."""
    torch.set_num_threads(1)


def dropping_llama() -> Any:
    """A Llama with dropout, in training alone."""
    model = tiny.llama()
    model.config.attention_dropout = 0.2
    return model


def causal() -> Material:
    """New text about engines, replayed about rivers."""
    encode = Encoder(tiny.tokenizer(), 48)
    fresh, replay = encode(tiny.samples(12, seed=1, nouns=tiny.NEW_NOUNS)), encode(tiny.samples(12, seed=2))
    return prepare(fresh, replay, StepPlan(tiny.SMALL, InputShape(longest=48, pad=0, packed=True), 7, CPU.where))


def labelled() -> Material:
    """New and replayed documents of a classifier."""
    encode = Encoder(tiny.tokenizer(bert=True), 48, {label: at for at, label in enumerate(tiny.LABELS)})
    fresh, replay = encode(tiny.labelled(16, seed=1)), encode(tiny.labelled(16, seed=2))
    return prepare(fresh, replay, StepPlan(tiny.SMALL, InputShape(longest=48, pad=0, classes=3), 7, CPU.where))


KINDS: dict[str, tuple[Callable[[], Any], Callable[[], Material]]] = {
    "causal": (dropping_llama, causal),
    "classifier": (tiny.bert, labelled),
}


def trainer(model: Any, parent: Any, material: Material, standing: Standing = nullcontext) -> Trainer:
    """What takes the steps of the small recipe."""
    torch.manual_seed(0)
    return Trainer(
        model.train(),
        parent,
        feed=material.feed,
        objective=material.objective,
        pull=None,
        recipe=tiny.SMALL,
        peak_rate=1e-2,
        device=CPU,
        standing=standing,
    )


def with_adapter(make: Callable[[], Any], shape: AdapterShape) -> tuple[Any, Adapter]:
    """A model with an adapter beside it."""
    model = make()
    return model, attach(model, shape, seed=3, heads=make is tiny.bert)


def steps_of(taker: Trainer, material: Material) -> list[StepFigures]:
    """All steps of the material at a rate."""
    return [taker.step(step, 1.0) for step in material.steps]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_without_its_adapter_is_as_good_a_parent_as_a_copy_of_it(kind: str, shape: AdapterShape) -> None:
    """Step by step the same losses, divergence among them, and weights at the end: with dropout too."""
    make, write = KINDS[kind]
    material = write()
    model, adapter = with_adapter(make, shape)
    alone = steps_of(trainer(model, model, material, adapter.off), material)
    other, _ = with_adapter(make, shape)
    beside = steps_of(trainer(other, make().eval(), material), material)
    assert alone == beside
    assert alone[-1].losses[material.objective.names[-1]] > 0
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
def test_gradients_and_the_optimizer_are_of_the_adapter_alone(shape: AdapterShape) -> None:
    """And so is what a round saves of itself; the model stands still."""
    material = causal()
    model, adapter = with_adapter(tiny.llama, shape)
    before = [weight.detach().clone() for weight in adapter.weights.values()]
    trained = {name: weight for name, weight in model.named_parameters() if "lora_" in name}
    taker = trainer(model, model, material, adapter.off)
    steps_of(taker, material)
    held = taker.tensors()
    moments = sum(held[name].numel() for name in held if name.startswith("optimizer.") and held[name].ndim)
    assert moments == 2 * sum(weight.numel() for weight in trained.values())
    assert {name.removeprefix("weight.") for name in held if name.startswith("weight.")} == trained.keys()
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(one, two) for one, two in zip(before, adapter.weights.values(), strict=True))
    rows = sum(adapted.weight.shape[0] for adapted in adapter.adapted.values()) if shape.kind == "dora" else 0
    width = sum(sum(adapted.weight.shape) for adapted in adapter.adapted.values())
    assert sum(weight.numel() for weight in trained.values()) == shape.rank * width + rows


def test_activations_computed_again_give_the_same_steps() -> None:
    """Nothing that the model is given requires a gradient then, and the parent's pass lies between its two."""
    figures = []
    for again in (False, True):
        material = causal()
        model, adapter = with_adapter(tiny.llama, SHAPES[0])
        if again:
            model.activation_checkpointing_enable()
        figures.append(steps_of(trainer(model, model, material, adapter.off), material))
    assert figures[0] == figures[1]
    assert figures[0][-1].gradient_norm > 0
