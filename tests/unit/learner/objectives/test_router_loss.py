"""A mixture's router keeps its experts in use: transformers' own auxiliary loss, without padding, in training alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.tiny_architectures import tiny_model
from learner.devices.device import choose
from learner.job import run_round
from learner.material.batches import Step
from learner.material.encoding import Encoded, Encoder
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.objectives.forward_pass import MicroBatch
from learner.objectives.halves import Halves
from learner.objectives.passes import pass_of
from learner.objectives.router_loss import ROUTER, RouterLoss
from learner.settings import RecipeSettings
from learner.training.train import Trainer
from tests.unit.learner import tiny

CPU = choose("cpu", "float32")
MIXTURES = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "jetmoe", "granitemoe", "gpt_oss", "dbrx"]
PLAIN = tiny.SMALL.model_copy(update={"kl": 0.0, "replay_ratio": 0.0, "batch_sequences": 8, "micro_batch": 8})

pytestmark = pytest.mark.usefixtures("torch_settings_kept")


def mixture(name: str = "mixtral", **own: Any) -> PreTrainedModel:
    """A tiny mixture of experts that knows the words used here."""
    torch.manual_seed(0)
    special = {"vocab_size": len(tiny.tokenizer()), "pad_token_id": 0, "bos_token_id": 4, "eos_token_id": 5}
    return tiny_model(name, "causal-lm", own=special | own)


def texts(count: int, *, seed: int, sentences: int = 6) -> Encoded:
    """Documents about engines."""
    return Encoder(tiny.tokenizer(), 48)(tiny.samples(count, seed=seed, nouns=tiny.NEW_NOUNS, longest=sentences))


def material_of(text: Encoded, recipe: RecipeSettings = PLAIN, *, packed: bool = False) -> Material:
    """New text alone."""
    return prepare(text, text.take([]), StepPlan(recipe, InputShape(longest=48, pad=0, packed=packed), 7, CPU.where))


def trainer_of(
    model: Any, material: Material, router: RouterLoss | None, recipe: RecipeSettings = PLAIN, rate: float = 3e-3
) -> Trainer:
    """A trainer without a parent."""
    torch.set_num_threads(1)
    model.train()
    feed, objective = material.feed, material.objective
    return Trainer(
        model,
        None,
        feed=feed,
        objective=objective,
        pull=None,
        recipe=recipe,
        peak_rate=rate,
        device=CPU,
        router=router,
    )


def first_batch(material: Material) -> MicroBatch:
    """The first pass of the first step."""
    return next(iter(material.feed.micro_batches(material.steps[0])))


def gradients_of_step(model: PreTrainedModel, material: Material, router: RouterLoss | None) -> dict[str, torch.Tensor]:
    """What a step adds to each weight's gradient, before it is clipped."""
    step, feed = material.steps[0], material.feed
    passed = pass_of(model.train(), None, material.objective, CPU, router=router)
    for batch in feed.micro_batches(step):
        passed(batch, sum(feed.targets(step)), sum(feed.tokens(step)))
    kept = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return kept


@pytest.mark.parametrize("name", MIXTURES)
def test_the_gradient_is_that_of_transformers_own_loss(name: str) -> None:
    """With labels and its router's logits asked for, a model gives its loss and the auxiliary one in a single sum."""
    model = mixture(name)
    router = RouterLoss.of(model)
    assert router is not None
    document = tiny.samples(1, seed=1, nouns=tiny.NEW_NOUNS)[0]
    text = Encoder(tiny.tokenizer(), 48)([document] * 3)
    material = material_of(text)
    step = Step(material.steps[0].new, material.steps[0].replayed)
    material = Material(material.feed, material.objective, [step], material.new, material.replay, material.replay_ratio)
    found = gradients_of_step(model, material, router)
    ids = torch.tensor(text.tokens.reshape(3, -1).astype("int64"))
    model.zero_grad()
    model(input_ids=ids, labels=ids, output_router_logits=True, use_cache=False).loss.backward()
    largest = max(float(weight.grad.abs().max()) for weight in model.parameters() if weight.grad is not None)
    for weight_name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(found[weight_name], weight.grad, rtol=1e-3, atol=1e-5 * max(largest, 1.0))
    without = gradients_of_step(model, material, None)
    assert any(not torch.allclose(found[gate], without[gate], rtol=1e-3) for gate in found)


@pytest.mark.parametrize("name", ["mixtral", "jetmoe"])
def test_padding_does_not_count(name: str) -> None:
    """Whatever stands there; it is what the model itself says when it is told by a mask."""
    model = mixture(name).eval()
    router = RouterLoss.of(model)
    assert router is not None
    batch = first_batch(material_of(texts(6, seed=1)))
    ids = batch.inputs["input_ids"]
    padded = torch.arange(ids.shape[1]) >= torch.tensor(batch.widths)[:, None]
    assert padded.any()
    with torch.no_grad():
        loss = router.read(Halves(model), batch).auxiliary
        masked = model(input_ids=ids, attention_mask=(~padded).long(), output_router_logits=True, use_cache=False)
        counted = model(input_ids=ids, output_router_logits=True, use_cache=False).aux_loss
    assert loss is not None
    assert float(loss) == pytest.approx(float(masked.aux_loss), rel=1e-5)
    assert float(loss) != pytest.approx(float(counted), rel=1e-5)


def test_packed_documents_are_kept_apart_when_the_loss_is_asked_for() -> None:
    """A mask on the layers would let each document read the one before it in its row."""
    model = mixture().eval()
    router = RouterLoss.of(model)
    assert router is not None
    batch = first_batch(material_of(texts(12, seed=1, sentences=2), packed=True))
    assert (batch.inputs["position_ids"].diff(dim=1) < 0).any()
    with torch.no_grad():
        halves, shape = Halves(model), batch.targets.shape
        logits = halves.head.logits(router.read(halves, batch).hidden).view(*shape, -1)
        torch.testing.assert_close(logits, model(**batch.inputs).logits)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_experts_come_back_into_use(checkpointing: bool) -> None:
    """A router that sends nearly all to the same experts is brought to use the others; left to the text it is not."""
    used = {}
    for coefficient in (0.5, 0.0):
        model = mixture(router_aux_loss_coef=coefficient, num_local_experts=4, num_experts_per_tok=1)
        if checkpointing:
            model.activation_checkpointing_enable()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("gate.weight"):
                    weight.copy_(weight[:1] * torch.tensor([[3.0], [1.0], [0.0], [-1.0]]))
        material = material_of(texts(8, seed=1), PLAIN.model_copy(update={"epochs": 12}))
        trainer = trainer_of(model, material, RouterLoss(coefficient), rate=1e-2)
        losses = [trainer.step(step, 1.0).losses[ROUTER] for step in material.steps]
        used[coefficient] = (losses[0], losses[-1])
    assert used[0.5][1] < used[0.5][0] - 0.2
    assert used[0.5][1] < used[0.0][1] - 0.2


def test_how_a_step_is_cut_into_passes_hardly_changes_it() -> None:
    """Each pass counts by its tokens."""
    figures = []
    for size in (8, 3):
        recipe = PLAIN.model_copy(update={"micro_batch": size})
        model, material = mixture(), material_of(texts(8, seed=1), recipe)
        figures.append(trainer_of(model, material, RouterLoss.of(model), recipe).step(material.steps[0], 0.0).losses)
    assert figures[0] == pytest.approx(figures[1], rel=0.02)


@pytest.mark.parametrize(
    ("name", "own"), [("llama", {}), ("mixtral", {"router_aux_loss_coef": 0.0}), ("mamba", {}), ("gpt2", {})]
)
def test_a_model_without_such_a_loss_is_not_asked_for_it(name: str, own: dict[str, Any]) -> None:
    """No coefficient, or no experts."""
    assert RouterLoss.of(mixture(name, **own)) is None


def test_a_round_of_a_mixture_tells_its_routers_loss_and_scores_without_it(tmp_path: Path) -> None:
    """Among the losses of the report; held-out text costs what it costs."""
    base = tiny.generation(tmp_path / "store", mixture(), tiny.tokenizer(), "causal-lm")
    report = run_round(tiny.causal_round(tmp_path / "round", base))
    assert report.training is not None
    assert set(report.training.losses) == {"new", "replay", "kl", ROUTER}
    assert report.training.losses[ROUTER] > 0
    score = report.slices["anchor"].parent[0]
    sample = tiny.samples(12, seed=3, first=3000)[0]
    ids = torch.tensor(Encoder(tiny.tokenizer(), 48)([sample]).tokens.astype("int64"))[None]
    model = mixture().eval()
    with torch.no_grad():
        expected = model(input_ids=ids, labels=ids, use_cache=False).loss * (ids.shape[1] - 1)
    assert score.nll == pytest.approx(float(expected), rel=1e-4)
