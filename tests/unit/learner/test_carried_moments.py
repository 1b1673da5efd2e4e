"""Adam's moments from round to round: what the next one begins with, and what is said where there are none."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from checkpoints.load import load_beside, load_model
from learner.devices.ranks import Ranks
from learner.directory.round_directory import MOMENTS, PARENT, PROGRESS, read_round
from learner.directory.trained_result import MOMENTS_OF_RESULT, RESULT
from learner.errors import BadRoundDirectory, LearnerError
from learner.job import run_round
from learner.progress import silent_progress
from learner.settings import RecipeSettings
from learner.training.optimizers import AdamW
from learner.training.round_moments import RoundMoments, read_moments
from tests.unit.learner import tiny
from tests.unit.learner.line import Line

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

RATE = 1e-3
PLAIN = tiny.SMALL.model_copy(
    update={"learning_rate": RATE, "warmup": 0.0, "warmup_steps": 0, "floor": 1.0, "clip": 1e3}
    | {"replay_ratio": 0.0, "kl": 0.0, "early_stop_checks": 0, "interpolation": (0.0,), "epochs": 3}
)
"""No rate rises or falls: a step is the optimizer's alone."""
FRESH = PLAIN.model_copy(update={"carry_moments": False})
LORA = PLAIN.model_copy(update={"adapter": "lora", "adapter_rank": 2})
STOPPED = PLAIN.model_copy(
    update={"learning_rate": 0.5, "epochs": 4, "early_stop_checks": 12, "early_stop_patience": 1}
)
"""At such a rate the first look is the best."""


def wide_llama(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A Llama of one layer whose matrices are large enough that their moments are coded."""
    config = tiny.llama().config
    config.update({"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "head_dim": 16})
    torch.manual_seed(0)
    return torch.nn.Module.to(LlamaForCausalLM(config), dtype)


def line_of(home: Path, model: Any = None, recipe: RecipeSettings = PLAIN) -> Line:
    """Generations of a wide model."""
    return Line(home, wide_llama() if model is None else model, recipe=recipe)


def said(path: Path, event: str) -> list[dict[str, Any]]:
    """What the learner told of an event."""
    lines = map(json.loads, (path / PROGRESS).read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def steps_kept(directory: Path) -> set[int]:
    """How many steps the weights took whose moments lie beside a model, in all rounds together."""
    held = load_file(directory / MOMENTS)
    return {int(tensor) for name, tensor in held.items() if name.endswith(".steps")}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of AdamW: each weight's gradient, and how it moved."""

    gradients: list[Tensor]
    moved: list[Tensor]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Every step that is taken."""
    taken: list[Step] = []
    step = AdamW.step

    def look(self: Any, rate: float) -> None:
        gradients = [weight.grad.clone() for weight in self._weights]
        before = [weight.detach().clone() for weight in self._weights]
        step(self, rate)
        after = (weight.detach() for weight in self._weights)
        taken.append(Step(gradients, [new - old for new, old in zip(after, before, strict=True)]))

    monkeypatch.setattr(AdamW, "step", look)
    return taken


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rounds_first_step_follows_its_parents_gradients_too(
    tmp_path: Path, dtype: torch.dtype, steps: list[Step]
) -> None:
    """As AdamW says from the moments beside the parent; begun anew it is the rate by the sign of its own gradient."""
    line = line_of(tmp_path, wide_llama(dtype))
    line.run()
    before = len(steps)
    named = dict(load_model(line.latest.path, "causal-lm").named_parameters())
    held, others = read_moments(line.latest.path / MOMENTS, named)
    assert not others
    assert {moments.steps for moments in held.values()} == {before}
    for name, recipe in (("carried", PLAIN), ("fresh", FRESH)):
        run_round(line.write(recipe.model_copy(update={"max_steps": 1}), name))
    carried, fresh = steps[before:]
    for number, (name, weight) in enumerate(named.items()):
        gradient = carried.gradients[number]
        assert torch.equal(gradient, fresh.gradients[number]), "the same text, from the same weights"
        mean, square = held[name].exact(weight.float())
        mean, square = 0.9 * mean + 0.1 * gradient, 0.95 * square + 0.05 * gradient.square()
        taken = before + 1
        unbiased = mean / (1 - 0.9**taken), square / (1 - 0.95**taken)
        expected = -RATE * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        torch.testing.assert_close(carried.moved[number], expected, rtol=1e-3, atol=1e-6)
        by_sign = -RATE * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(fresh.moved[number], by_sign, rtol=1e-3, atol=1e-6)
    far, near = (math.sqrt(sum(float(each.square().sum()) for each in step.moved)) for step in (fresh, carried))
    assert near < 0.9 * far


@pytest.mark.parametrize("then", ["adamw", "adamw-8bit"])
@pytest.mark.parametrize("first", ["adamw", "adamw-8bit"])
def test_they_are_handed_on_whatever_the_optimizer(tmp_path: Path, first: str, then: str) -> None:
    """In the same code, so that a recipe may change; steps are counted over the rounds."""
    line = line_of(tmp_path, wide_llama(torch.bfloat16))
    taken = []
    for optimizer in (first, then):
        training = line.run(PLAIN.model_copy(update={"optimizer": optimizer})).training
        assert training is not None
        taken.append(training.steps)
        assert steps_kept(line.latest.path) == {sum(taken)}
    (event,) = said(tmp_path / "round-2", "moments")
    assert event["carried"] == event["weights"] > 0
    assert event["reason"] == ""


def test_8_bit_adamw_takes_them_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes that a round begins with are those in the file."""
    line = line_of(tmp_path, wide_llama(torch.bfloat16), PLAIN.model_copy(update={"optimizer": "adamw-8bit"}))
    line.run()
    begun: dict[str, Tensor] = {}
    begin = RoundMoments.begin

    def look(self: Any, trainer: Any) -> None:
        begin(self, trainer)
        for name, moments in trainer.moments():
            begun.update({f"{name}.{own}": tensor.clone() for own, tensor in moments.tensors().items()})

    monkeypatch.setattr(RoundMoments, "begin", look)
    run_round(line.write())
    held = load_file(line.latest.path / MOMENTS)
    assert any(name.endswith(".first.codes") for name in held)
    assert begun.keys() == held.keys()
    assert all(torch.equal(begun[name], tensor) for name, tensor in held.items())


def test_every_candidate_has_those_of_its_round(tmp_path: Path) -> None:
    """One file for all of them and the result they are made of; alone a candidate has the same."""
    line = line_of(tmp_path)
    alone, several = (
        line.write(name="alone"),
        line.write(PLAIN.model_copy(update={"interpolation": (0.0, 0.5)}), "several"),
    )
    for path in (alone, several):
        run_round(path)
    of_result = several / RESULT / MOMENTS_OF_RESULT
    for share in ("0.00", "0.50"):
        assert (several / "candidates" / share / MOMENTS).samefile(of_result)
    assert (alone / "candidates" / "0.00" / MOMENTS).read_bytes() == of_result.read_bytes()


def test_a_refused_round_leaves_its_parents(tmp_path: Path) -> None:
    """The next one begins as if it had not been, and a rollback with those of the generation that it goes to."""
    line = line_of(tmp_path)
    line.run()
    back = line.latest
    refused, again = line.write(name="refused"), line.write(name="again")
    run_round(refused)
    line.run()
    line.store.verify(back.generation)
    line.latest = back
    run_round(again)
    for name in (MOMENTS, "model.safetensors"):
        of_both = [(path / "candidates" / "0.00" / name).read_bytes() for path in (refused, again)]
        assert of_both[0] == of_both[1]
    assert (refused / PARENT / MOMENTS).samefile(again / PARENT / MOMENTS)


def test_they_are_part_of_their_generation_and_of_no_model_that_serves(tmp_path: Path) -> None:
    """The manifest lists them, they go with the generation, and no loader takes them for weights."""
    line = line_of(tmp_path, wide_llama(torch.bfloat16))
    line.run()
    assert MOMENTS in line.store.manifest(1).files
    weights = sum(weight.numel() for weight in load_model(line.latest.path, "causal-lm").parameters())
    assert (line.latest.path / MOMENTS).stat().st_size < 4 * weights, "two bytes each, but for small ones"
    before = line.weights()
    beside = load_beside(load_model(line.base.path, "causal-lm"), line.latest.path)
    assert beside is not None
    (line.latest.path / MOMENTS).unlink()
    after = line.weights()
    for name, value in tiny.weights_of(beside).items():
        assert torch.equal(value.float(), after[name])
        assert torch.equal(before[name], after[name])
    line.store.remove(1)
    assert not line.latest.path.exists()


def test_damaged_ones_fail_the_round_and_say_so(tmp_path: Path) -> None:
    """By name, before anything is trained."""
    line = line_of(tmp_path)
    line.run()
    path = line.write()
    whole = (path / PARENT / MOMENTS).read_bytes()
    (path / PARENT / MOMENTS).unlink()
    (path / PARENT / MOMENTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadRoundDirectory, match=r"moments\.safetensors is damaged"):
        run_round(path)


def begun_anew(line: Line, path: Path) -> str:
    """What a round says of its beginning, in its report and in its progress."""
    training = run_round(path).training
    assert training is not None
    (event,) = said(path, "moments")
    assert event["reason"] == training.moments_note
    return training.moments_note


def test_the_first_round_begins_anew(tmp_path: Path) -> None:
    """A base brings none."""
    line = line_of(tmp_path)
    assert begun_anew(line, line.write()) == "The optimizer's moments began anew: the parent is the base model."


def test_a_generation_without_any_is_named(tmp_path: Path) -> None:
    """Of an earlier version, or of a recipe that keeps none; that recipe itself says nothing."""
    line = line_of(tmp_path)
    training = line.run(FRESH).training
    assert training is not None
    assert training.moments_note == ""
    assert not said(tmp_path / "round-1", "moments")
    assert not (line.latest.path / MOMENTS).exists()
    assert begun_anew(line, line.write()).endswith("began anew: generation 1 has none beside it.")


def test_an_adapter_has_none_and_is_begun_without_any(tmp_path: Path) -> None:
    """Its weights are new in each round."""
    line = line_of(tmp_path)
    line.run()
    line.run(LORA)
    assert not said(tmp_path / "round-2", "moments")
    assert not (line.latest.path / MOMENTS).exists()
    assert begun_anew(line, line.write()).endswith("began anew: generation 2 is an adapter.")


def test_where_earlier_weights_were_put_back_none_are_kept(tmp_path: Path) -> None:
    """They would tell of text that the kept weights never saw."""
    line = line_of(tmp_path)
    path = line.write(STOPPED, early_stop=tiny.samples(6, seed=5, first=5000, nouns=tiny.NEW_NOUNS))
    training = run_round(path).training
    assert training is not None
    assert training.early_stopped_at is not None
    (event,) = said(path, "moments_not_kept")
    assert event["reason"] == f"the weights are those of step {training.early_stopped_at} of {training.steps}"
    assert not (path / "candidates" / "0.00" / MOMENTS).exists()


def test_weights_of_another_shape_begin_anew_by_themselves(tmp_path: Path) -> None:
    """A head that grows a row for a new label; the others go on, and the next round has those of all."""
    line = Line(tmp_path, tiny.bert(), "classifier", recipe=PLAIN)
    line.run()
    labelled = tiny.labelled(40, seed=2, labels=(*tiny.LABELS, "engine"))
    path = line.write(fresh=labelled, new_labels=("engine",))
    note = begun_anew(line, path)
    assert "classifier.weight, classifier.bias began anew: generation 1" in note
    (event,) = said(path, "moments")
    assert event["carried"] == event["weights"] - 2
    line.accept(path)
    assert begun_anew(line, line.write()) == ""


def test_those_of_other_weights_are_none(tmp_path: Path) -> None:
    """Of another architecture under the parent's name, say."""
    line = line_of(tmp_path)
    line.run()
    named = dict(tiny.bert().named_parameters())
    held, others = read_moments(line.latest.path / MOMENTS, named)
    assert (held, others) == ({}, [])


class FakeRanks(Ranks):
    """Two, of which the first has read something else."""

    def agree(self, value: float) -> float:
        """Another value than this one's."""
        return value + 1


def test_ranks_that_read_different_ones_end_the_round(tmp_path: Path) -> None:
    """Their weights would part at the first step."""
    line = line_of(tmp_path)
    line.run()
    given = read_round(line.write())
    trainer: Any = SimpleNamespace(trained=lambda: dict(wide_llama().named_parameters()))
    with silent_progress() as progress, pytest.raises(LearnerError, match="is not the same for all ranks"):
        RoundMoments(given, progress, FakeRanks(1, 2)).begin(trainer)
