"""Layers that are compiled: what they give, and who goes on without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import torch
from torch._dynamo.exc import InternalTorchDynamoError

from learner.devices.device import choose
from learner.material.encoding import Encoder
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.objectives.compiled_layers import CompiledLayers
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.training.train import StepFigures, Trainer, Training, train
from learner.weights.adapter import AdapterShape, attach
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
CPU: Final = choose("cpu", "float32")
LOSSES: Final = 1e-5
SMALL: Final = tiny.SMALL.model_copy(update={"max_steps": 3})


def material(*, compiles: bool, recipe: RecipeSettings = SMALL, packed: bool = True) -> Material:
    """New text about engines, replayed about rivers."""
    encode = Encoder(tiny.tokenizer(), 48)
    fresh, replay = encode(tiny.samples(30, seed=1, nouns=tiny.NEW_NOUNS)), encode(tiny.samples(30, seed=2))
    shape = InputShape(longest=48, pad=0, packed=packed)
    return prepare(fresh, replay, StepPlan(recipe, shape, 7, CPU.where, compiles=compiles))


def no_dropout(model: Any) -> Any:
    """The model as it is."""
    return model


def dropping(model: Any) -> Any:
    """A Llama that drops some of its attention: its passes draw random numbers."""
    model.config.attention_dropout = 0.2
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.2
    return model


def checkpointing(model: Any) -> Any:
    """One that computes its activations again."""
    model.activation_checkpointing_enable()
    return model


def trained(
    path: Path, *, compiles: bool, change: Callable[[Any], Any] = no_dropout, adapted: bool = False
) -> tuple[list[StepFigures], Training, Trainer]:
    """A few steps with KL, on passes that are alike."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, planned = change(tiny.llama().train()), material(compiles=True)
    adapter = attach(model, AdapterShape("lora", 4, 8, ("mlp",)), seed=3, heads=False) if adapted else None
    parent = tiny.llama().eval() if adapter is None else model
    torch.manual_seed(1)
    trainer = Trainer(
        model,
        parent,
        feed=planned.feed,
        objective=planned.objective,
        pull=None,
        recipe=SMALL,
        peak_rate=3e-3,
        device=CPU,
        standing=nullcontext if adapter is None else adapter.off,
        compiles=compiles,
    )
    steps: list[StepFigures] = []
    with Progress(path) as progress:
        training = train(trainer, planned.steps, SMALL, progress=progress, on_step=steps.append)
    return steps, training, trainer


def events(path: Path, name: str) -> list[dict[str, Any]]:
    """What was told of this."""
    told = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [event for event in told if event["event"] == name]


def require_same(steps: list[StepFigures], others: list[StepFigures]) -> None:
    """Losses, step by step."""
    assert len(steps) == len(others) == SMALL.max_steps
    for step, other in zip(steps, others, strict=True):
        assert step.losses == pytest.approx(other.losses, rel=LOSSES, abs=1e-6)
        assert step.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4)


WAYS: Final[dict[str, dict[str, Any]]] = {
    "all weights": {},
    "dropout": {"change": dropping},
    "checkpointing": {"change": checkpointing},
    "adapter": {"adapted": True},
    "adapter and checkpointing": {"adapted": True, "change": checkpointing},
}


@pytest.fixture
def no_code_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace and differentiate layers as ever, and run what comes of it as it is: a C++ compiler takes its time."""
    compile_ = torch.compile

    def traced(forward: Callable[..., Any], *, options: dict[str, Any], **named: Any) -> Any:
        return compile_(forward, backend="aot_eager", **named)

    monkeypatch.setattr(torch, "compile", traced)


@pytest.mark.slow
@pytest.mark.usefixtures("no_code_made")
@pytest.mark.parametrize("way", WAYS)
def test_losses_are_those_without(tmp_path: Path, way: str) -> None:
    """Within a hundred-thousandth, with the parent's KL; what code that is made gives, whole rounds tell."""
    plain, _, _ = trained(tmp_path / "plain.jsonl", compiles=False, **WAYS[way])
    path = tmp_path / "compiled.jsonl"
    steps, training, trainer = trained(path, compiles=True, **WAYS[way])
    assert training.compile_note == ""
    assert len(events(path, "compiled")) == 1
    assert isinstance(trainer.compiling.pass_.layers, CompiledLayers)  # type: ignore[attr-defined]
    require_same(steps, plain)
    # Elsewhere the model is what it was: what is scored is not compiled.
    assert not any("forward" in vars(module) for module in trainer.model.modules())


def refusing(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Let the compiler fail in every pass but the first ones."""
    running, passes = CompiledLayers.running, iter(range(1000))

    @contextmanager
    def fail(self: CompiledLayers) -> Iterator[None]:
        with running(self):
            yield
        if next(passes) >= after:
            raise InternalTorchDynamoError("no room for code\nand what to do")

    monkeypatch.setattr(CompiledLayers, "running", fail)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_where_compiling_fails_the_round_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """At its beginning, or in a step under way, whose gradients are made anew; report and progress say so."""
    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    plain, _, _ = trained(tmp_path / "plain.jsonl", compiles=False)
    refusing(monkeypatch, after=after)
    path = tmp_path / "refused.jsonl"
    steps, training, _ = trained(path, compiles=True)
    require_same(steps, plain)
    (told,) = events(path, "not_compiled")
    assert told["reason"] == training.compile_note
    assert training.compile_note.endswith("no room for code.")
    assert ("from step 1 on" in training.compile_note) == (after == 4)


def test_layers_that_come_to_something_else_are_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler's mistake trains nothing."""

    def wrong(forward: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return lambda *args, **named: forward(*args, **named) * 1.01

    monkeypatch.setattr(torch, "compile", wrong)
    path = tmp_path / "wrong.jsonl"
    _, training, _ = trained(path, compiles=True)
    assert "compiled the layers give other losses" in training.compile_note
    assert len(events(path, "not_compiled")) == 1
