"""Steps and rounds of training: golden losses, and what must not change them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from learner.devices.device import Device, choose
from learner.material.encoding import Encoder
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.objectives.weight_pull import QuadraticPull
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.training.early_stopping import EarlyStopping
from learner.training.optimizers import adamw
from learner.training.train import Diverged, StepFigures, Trainer, Training, train
from tests.models import embedding_of
from tests.unit.learner import tiny

CPU = choose("cpu", "float32")
GOLDEN = Path(__file__).parent / "golden"
# Other versions and processors may round differently, another recipe differs in the second digit.
TOLERANCE = 2e-4


@pytest.fixture(autouse=True)
def one_thread(torch_settings_kept: None) -> None:
    """Sums are made in the same order."""
    torch.set_num_threads(1)


def causal(recipe: RecipeSettings, *, packed: bool = True) -> Material:
    """New text about engines, replayed about rivers."""
    encode = Encoder(tiny.tokenizer(), 48)
    fresh, replay = encode(tiny.samples(30, seed=1, nouns=tiny.NEW_NOUNS)), encode(tiny.samples(30, seed=2))
    return prepare(fresh, replay, StepPlan(recipe, InputShape(longest=48, pad=0, packed=packed), 7, CPU.where))


def classifier(recipe: RecipeSettings) -> Material:
    """Replayed documents lack the label that is new."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    encode = Encoder(tiny.tokenizer(bert=True), 48, labels)
    fresh = encode(tiny.labelled(20, seed=1, labels=tiny.LABELS[1:]))
    replay = encode(tiny.labelled(20, seed=2, labels=tiny.LABELS[:2]))
    return prepare(fresh, replay, StepPlan(recipe, InputShape(longest=48, pad=0, classes=3), 7, CPU.where))


def trainer(model: Any, parent: Any, material: Material, recipe: RecipeSettings, device: Device = CPU) -> Trainer:
    """A trainer with the penalties that the recipe names."""
    torch.manual_seed(0)
    model.train().requires_grad_(requires_grad=True)
    weights = dict(model.named_parameters())
    pull = None
    if recipe.l2_sp or recipe.ewc:
        generator = torch.Generator().manual_seed(1)
        importance = {name: torch.rand(weight.shape, generator=generator) * 2 for name, weight in weights.items()}
        pull = QuadraticPull(weights, l2_sp=recipe.l2_sp, ewc=recipe.ewc, importance=importance)
    return Trainer(
        model,
        parent,
        feed=material.feed,
        objective=material.objective,
        pull=pull,
        recipe=recipe,
        peak_rate=3e-3,
        device=device,
    )


def run(
    recipe: RecipeSettings,
    tmp_path: Path,
    *,
    kind: str = "causal",
    packed: bool = True,
    model: Any = None,
    device: Device = CPU,
) -> tuple[list[StepFigures], Training, Any]:
    """Train a round; return each step's figures, the summary and the model."""
    make: Callable[[], PreTrainedModel] = tiny.llama if kind == "causal" else tiny.bert
    material = causal(recipe, packed=packed) if kind == "causal" else classifier(recipe)
    model = model or make()
    steps: list[StepFigures] = []
    with Progress(tmp_path / "progress.jsonl") as progress:
        training = train(
            trainer(model, make().eval(), material, recipe, device),
            material.steps,
            recipe,
            progress=progress,
            on_step=steps.append,
        )
    return steps, training, model


FROZEN = tiny.SMALL.model_copy(update={"kl": 1.0, "replay_ratio": 0.6, "floor": 0.1})
"""With what the golden losses were made, whatever the defaults are by now."""
PLAIN = FROZEN.model_copy(update={"kl": 0.0, "replay_ratio": 0.0, "batch_sequences": 4})
CLASSIFIER = FROZEN.model_copy(update={"replay_ratio": 0.5})
RECIPES = {
    "plain": ("causal", PLAIN),
    "replay_and_kl": ("causal", FROZEN),
    "kl_at_temperature_2": ("causal", FROZEN.model_copy(update={"kl_temperature": 2.0})),
    "penalties": ("causal", PLAIN.model_copy(update={"l2_sp": 0.5, "ewc": 5.0})),
    "weight_decay": ("causal", PLAIN.model_copy(update={"weight_decay": 0.5})),
    "classifier": ("classifier", CLASSIFIER.model_copy(update={"er_ace": False})),
    "classifier_with_new_label": ("classifier", CLASSIFIER),
}


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    """A seeded round gives, step by step, the losses and gradient norms that it gave when they were frozen."""
    kind, recipe = RECIPES[name]
    steps, _, _ = run(recipe, tmp_path, kind=kind)
    found = [{**step.losses, "gradient_norm": step.gradient_norm} for step in steps]
    golden = json.loads((GOLDEN / f"{name}.json").read_bytes())
    assert len(found) == len(golden)
    for step, frozen in zip(found, golden, strict=True):
        assert step == pytest.approx(frozen, rel=TOLERANCE, abs=TOLERANCE)


def weights(model: Any) -> torch.Tensor:
    """All of a model's weights in one row."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("change", [{"micro_batch": 1}, {"micro_batch": 3}, {"gradient_checkpointing": True}])
def test_how_a_step_is_computed_does_not_change_it(change: dict[str, Any], tmp_path: Path) -> None:
    """Accumulation and checkpointing save memory, nothing else."""
    changed, model = tiny.SMALL.model_copy(update=change), tiny.llama()
    if changed.gradient_checkpointing:
        model.activation_checkpointing_enable()
    steps, _, _ = run(changed, tmp_path, model=model)
    usual, _, _ = run(tiny.SMALL, tmp_path)
    for step, other in zip(steps, usual, strict=True):
        assert step.losses == pytest.approx(other.losses, rel=1e-3, abs=1e-4)
        assert step.targets == other.targets


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    """Forward passes are rounded, master weights are not: losses stay within a percent."""
    usual, _, _ = run(tiny.SMALL, tmp_path)
    rounded, _, model = run(tiny.SMALL, tmp_path, device=choose("cpu", "bfloat16"))
    for step, other in zip(rounded, usual, strict=True):
        assert step.losses["new"] == pytest.approx(other.losses["new"], rel=1e-2)
        assert step.losses["kl"] == pytest.approx(other.losses["kl"], rel=0.1, abs=2e-3)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_packing_does_not_change_what_a_document_teaches(tmp_path: Path) -> None:
    """Each step of a round has the same documents packed and one by one: as many tokens, and the same loss."""
    packed, _, _ = run(PLAIN, tmp_path)
    alone, _, _ = run(PLAIN, tmp_path, packed=False)
    assert len(packed) > 2
    for one, other in zip(packed, alone, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)
        assert (one.targets, one.tokens) == (other.targets, other.tokens)


def test_pull_keeps_weights_nearer_to_the_parent(tmp_path: Path) -> None:
    """The same round with a strong penalty ends closer to where it began."""
    start = weights(tiny.llama())
    _, _, free = run(PLAIN, tmp_path)
    _, _, pulled = run(PLAIN.model_copy(update={"l2_sp": 50.0}), tmp_path)
    assert (weights(pulled) - start).norm() < 0.7 * (weights(free) - start).norm()


def test_step_that_is_not_finite_touches_no_weight() -> None:
    """The check comes before the optimizer."""
    material, model = causal(PLAIN), tiny.llama()
    stepper = trainer(model, None, material, PLAIN)
    with torch.no_grad():
        embedding_of(model)[4] = float("nan")
    before = weights(model)
    with pytest.raises(Diverged, match="not finite"):
        stepper.step(material.steps[0], 1.0)
    assert torch.equal(weights(model).nan_to_num(99), before.nan_to_num(99))


class SlowClock:
    """Each look at it takes a second."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        self.now += 1.0
        return self.now


def test_time_budget_ends_a_round(tmp_path: Path) -> None:
    """No step begins after the time is up, and one is always taken."""
    recipe = PLAIN.model_copy(update={"max_seconds": 4.0, "epochs": 5})
    material = causal(recipe)
    with Progress(tmp_path / "p.jsonl", clock=SlowClock()) as progress:
        training = train(trainer(tiny.llama(), None, material, recipe), material.steps, recipe, progress=progress)
    assert 1 <= training.steps <= 4 < len(material.steps)


def test_round_that_time_ends_is_looked_at_over_its_time_and_keeps_all_that_it_trained(tmp_path: Path) -> None:
    """With time for a tenth of the steps it looks four times all the same, and its last step is not thrown away."""
    recipe = PLAIN.model_copy(update={"max_seconds": 40.0, "epochs": 40})
    material, model, looks = causal(recipe), tiny.llama(), [5.0, 4.0, 3.0, 2.0, 1.0]
    stopping = EarlyStopping(model, lambda: looks.pop(0), checks=4, patience=1)
    with Progress(tmp_path / "p.jsonl", clock=SlowClock()) as progress:
        training = train(
            trainer(model, None, material, recipe), material.steps, recipe, progress=progress, stopping=stopping
        )
    assert training.steps < len(material.steps) / 8
    assert len(looks) <= 1
    assert training.early_stopped_at is None


def test_losses_are_of_the_last_steps_that_were_taken() -> None:
    """Also where time ends a round: a tenth of the steps planned would be all that were taken."""
    training = Training()
    for step in range(1, 31):
        training.add(StepFigures({"new": float(step)}, 1.0, (1, 0), (1, 0)))
    assert training.losses == {"new": 29.0}


def test_tokens_are_counted_new_and_replayed(tmp_path: Path) -> None:
    """The replayed share of all tokens trained is the recipe's."""
    _, training, _ = run(tiny.SMALL, tmp_path)
    share = training.tokens_replayed / (training.tokens_new + training.tokens_replayed)
    assert training.tokens_new == len(
        Encoder(tiny.tokenizer(), 48)(tiny.samples(30, seed=1, nouns=tiny.NEW_NOUNS)).tokens
    )
    assert share == pytest.approx(tiny.SMALL.replay_ratio, abs=0.08)


def test_penalty_does_not_decay_biases_and_norms() -> None:
    """Weight decay is for matrices."""
    recipe = PLAIN.model_copy(update={"weight_decay": 0.1})
    groups = adamw(tiny.llama().parameters(), recipe).param_groups
    decayed = {weight.ndim for group in groups if group["weight_decay"] for weight in group["params"]}
    assert decayed == {2}


def freeze() -> None:
    """Write the golden losses anew: `python -m tests.unit.learner.test_train`."""
    import tempfile

    torch.set_num_threads(1)
    for name, (kind, recipe) in RECIPES.items():
        steps, _, _ = run(recipe, Path(tempfile.mkdtemp()), kind=kind)
        rows = [{**step.losses, "gradient_norm": step.gradient_norm} for step in steps]
        lines = ",\n".join(json.dumps({key: round(value, 6) for key, value in row.items()}) for row in rows)
        (GOLDEN / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    freeze()
