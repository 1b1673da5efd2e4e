"""A low-rank change beside a model's weights: what trains, what it is without it, and what it becomes with it."""

import copy
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.tiny_architectures import tiny_model
from learner.weights.adapter import Adapter, AdapterShape, NoAdapters, attach
from learner.weights.grown_head import GrownRows, grow
from tests.unit.learner import tiny

SHAPES = [AdapterShape("lora", 4, 8, ("mlp",)), AdapterShape("dora", 2, 4, ("attention", "mlp"))]
IDS = torch.arange(6, 30).view(2, 12)

Make = Callable[[], Any]


def moved(make: Make, shape: AdapterShape) -> tuple[Any, Any, Adapter]:
    """A model as it was, and one with an adapter that has learned something."""
    before, model = make().eval(), make().eval()
    adapter = attach(model, shape, seed=3, heads=model.config.num_labels == 3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    return before, model, adapter


@torch.no_grad()
def logits(model: Any) -> Tensor:
    """What a model says to a text."""
    said: Tensor = model(input_ids=IDS).logits
    return said


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2, tiny.bert])
def test_without_it_the_model_is_its_parent_and_merged_it_is_what_was_trained(make: Make, shape: AdapterShape) -> None:
    """To the bit without it, whatever dropout there is; merged a plain model with other values in what was adapted."""
    before, model, adapter = moved(make, shape)
    trained = logits(model)
    assert not torch.allclose(trained, logits(before), atol=1e-3)
    model.train()
    with adapter.off():
        assert torch.equal(logits(model), logits(before))
    assert all(module.training for module in model.modules())
    changes = {name: each.change().detach() for name, each in adapter.adapted.items()}
    names = adapter.weights.keys()
    adapter.merge()
    assert torch.allclose(logits(model.eval()), trained, atol=1e-5)
    parents = dict(before.named_parameters())
    merged = dict(model.named_parameters())
    assert merged.keys() == parents.keys()
    assert {name for name in merged if not torch.equal(merged[name], parents[name])} == names
    assert all(torch.allclose(parents[name] + changes[name], merged[name], atol=1e-6) for name in changes)
    assert all(weight.requires_grad for weight in merged.values())


@pytest.mark.parametrize(
    ("name", "part"),
    [("falcon", "mlp"), ("deepseek_v4", "attention"), ("glm4_moe", "mlp"), ("jamba", "mlp"), ("zamba2", "mlp")],
)
def test_architectures_that_do_otherwise_are_merged_into_what_was_trained(name: str, part: str) -> None:
    """Linear maps of their own kinds, mixtures, state spaces that read weights past their modules, shared weights."""
    before, model, adapter = moved(partial(tiny_model, name, "causal-lm"), AdapterShape("lora", 4, 8, (part,)))
    trained = logits(model)
    assert not torch.allclose(trained, logits(before), atol=1e-2)
    with adapter.off():
        assert torch.equal(logits(model), logits(before))
    adapter.merge()
    assert torch.allclose(logits(model), trained, atol=1e-3)


def test_only_the_adapter_trains_and_a_classifiers_head() -> None:
    """The head whole: it has to learn labels."""
    model = tiny.bert()
    adapter = attach(model, SHAPES[0], seed=3, heads=True)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    heads = {name for name in trained if "lora_" not in name}
    assert heads == set(adapter.whole) == {"classifier.weight", "classifier.bias"}
    assert len(trained) == len(heads) + 2 * len(adapter.adapted)
    with adapter.off():
        pass
    assert trained == {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_it_begins_as_the_parent_drawn_from_its_seed_alone() -> None:
    """So a round repeats whatever was drawn before, and draws on as if none had been made."""
    made = []
    for drawn_before in (1, 2):
        torch.manual_seed(drawn_before)
        state = torch.get_rng_state()
        model = tiny.llama()
        torch.set_rng_state(state)
        attach(model, SHAPES[0], seed=3, heads=False)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(logits(model.eval()), logits(tiny.llama().eval()))
        made.append([weight.detach() for name, weight in model.named_parameters() if "lora_A" in name])
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))
    assert all(bool(weight.any()) for weight in made[0])


def test_the_parent_of_a_head_that_grew_has_the_labels_that_it_had() -> None:
    """Its answers are compared with those of the labels that it knows."""
    model = tiny.bert().eval()
    before = copy.deepcopy(model)
    rows = {"classifier.weight": torch.ones(1, 32), "classifier.bias": torch.ones(1)}
    grow(model, GrownRows(("flooded",), 3, rows))
    adapter = attach(model, SHAPES[0], seed=3, heads=True, known_labels=3)
    assert logits(model).shape == (2, 4)
    with adapter.off():
        assert torch.equal(logits(model), logits(before))
    assert logits(model).shape == (2, 4)


def test_without_peft_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(NoAdapters, match=r'adapter = "lora" needs peft: .* install -c constraints.txt \'.\[adapters\]'):
        attach(tiny.llama(), SHAPES[0], seed=3, heads=False)
