"""Rounds that two ranks run together: what one alone trains, scores and writes, but for rounding.

Twenty rounds, ten of them by processes of their own, which is what these tests take their time for.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import GraniteConfig, GraniteForCausalLM

from gate.held_out import HeldOut
from gate.judge import judge
from gate.settings import GateSettings
from learner import progress
from learner.directory.report import Outcome, Report, read_report
from learner.directory.round_directory import CANDIDATES, IMPORTANCE, PROGRESS, REPORT, read_round
from learner.directory.trained_result import MOMENTS_OF_RESULT, RESULT
from learner.job import run_round
from tests.unit.learner import tiny
from tests.unit.learner.line import Line

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

LOSSES = 1e-5
"""How far the two may be apart in a step's loss, nats per token."""
SCORES = 1e-3
"""And in a document's, nats in all: a weight may come to be rounded to the other side when it is stored."""
SHARDED = ("sharded", "sharded, own head", "sharded, carried")
"""Those that train with weights divided over both."""
FORMS = ("penalties", "adapter", "one row a step", "masked", "classifier", "carried", *SHARDED)
SHORT = "sharded, bfloat16"
"""A round whose passes are in bfloat16."""


@dataclass(frozen=True, slots=True)
class Both:
    """A round that one rank has run, and the same that two have."""

    alone: Path
    together: Path

    @property
    def reports(self) -> tuple[Report, Report]:
        """Of one, and of two."""
        return read_report(self.alone), read_report(self.together)


def without_dropout(model: Any) -> Any:
    """Return a BERT that drops nothing: ranks draw theirs apart."""
    model.config.update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0})
    return model


def scaled() -> GraniteForCausalLM:
    """A Granite of some 20,000 parameters, whose logits are scaled behind a linear map of their own."""
    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=len(tiny.tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        logits_scaling=4.0,
        tie_word_embeddings=False,
        bos_token_id=4,
        eos_token_id=5,
        pad_token_id=0,
    )
    return GraniteForCausalLM(config)


def write_rounds(root: Path) -> None:
    """Write a round of each form."""
    llama = tiny.generation(root / "g", tiny.llama(dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm")
    small = tiny.SMALL.model_copy(update={"max_steps": 4})
    # KL is on by default; early stopping looks twice.
    penalties = small.model_copy(update={"ewc": 0.5, "l2_sp": 0.01})
    asked: list[dict[str, Any]] = [{"prompt": "the river", "exact": "runs"}]
    asked += [{"prompt": "the", "choices": ["river", "engine"], "answer": 1}]
    tiny.causal_round(root / "penalties", llama, recipe=penalties, skills=[tiny.skill(asked)])
    adapter = penalties.model_copy(update={"adapter": "lora", "adapter_rank": 4, "interpolation": (0.0,)})
    tiny.causal_round(root / "adapter", llama, recipe=adapter)
    # Of which one rank never has any.
    one_row = small.model_copy(update={"batch_sequences": 1, "replay_ratio": 0.0, "early_stop_checks": 0})
    tiny.causal_round(root / "one row a step", llama, recipe=one_row)
    masked = tiny.generation(root / "m", without_dropout(tiny.masked()), tiny.masking_tokenizer(), "masked-lm")
    tiny.causal_round(root / "masked", masked, kind="masked-lm", recipe=small)
    bert = tiny.generation(root / "c", without_dropout(tiny.bert()), tiny.tokenizer(bert=True), "classifier")
    fresh, replay = tiny.labelled(33, seed=1), tiny.labelled(20, seed=2, first=1000)
    tiny.classifier_round(root / "classifier", bert, fresh=fresh, replay=replay, recipe=small)
    line = Line(root / "l", tiny.llama(), recipe=small.model_copy(update={"epochs": 2}))
    line.run()
    line.write().rename(root / "carried")
    # Three rows of a pass each: one rank has a pass more.
    passes = penalties.model_copy(update={"batch_sequences": 3, "micro_batch": 1})
    tiny.causal_round(root / "sharded", llama, recipe=passes, devices=2, sharded=True)
    short = passes.model_copy(update={"precision": "bfloat16", "interpolation": (0.0,)})
    tiny.causal_round(root / SHORT, llama, recipe=short, devices=2, sharded=True)
    own_head = tiny.generation(root / "h", scaled(), tiny.tokenizer(), "causal-lm")
    again = one_row.model_copy(update={"gradient_checkpointing": True})
    tiny.causal_round(root / "sharded, own head", own_head, recipe=again, devices=2, sharded=True)
    untied = Line(root / "u", tiny.llama(tied=False, dtype=torch.bfloat16), recipe=line.recipe)
    untied.run()
    to_base = untied.recipe.model_copy(update={"l2_sp": 0.01, "l2_sp_anchor": "base"})
    untied.write(to_base, devices=2, sharded=True).rename(root / "sharded, carried")


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    """Each round run by one rank, and by two; every step is told."""
    alone, together = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    write_rounds(alone)
    both = {form: Both(alone / form, together / form) for form in (*FORMS, SHORT)}
    for each in both.values():
        shutil.copytree(each.alone, each.together)
    command = [sys.executable, "-m", "tests.unit.learner.two_ranks", *(str(each.together) for each in both.values())]
    # Meanwhile the same is run here.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as others, pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "INTERVAL_S", 0.0)
        for each in both.values():
            run_round(each.alone)
        _, errors = others.communicate()
        assert others.returncode == 0, errors
    return both


def steps_of(path: Path) -> list[dict[str, float]]:
    """Every figure of every step that depends on weights."""
    events = [json.loads(line) for line in (path / PROGRESS).read_text().splitlines()]
    return [
        {**each["losses"], "penalty": each["penalty"] or 0.0, "norm": each["gradient_norm"]}
        for each in events
        if each["event"] == "step"
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_step_comes_to_the_same(rounds: dict[str, Both], form: str) -> None:
    """Losses, KL and the penalty among them, and the gradient's norm, however a step's rows are divided."""
    alone, together = steps_of(rounds[form].alone), steps_of(rounds[form].together)
    assert len(alone) == len(together) == 4
    for expected, got in zip(alone, together, strict=True):
        assert got == pytest.approx(expected, abs=LOSSES)


def test_passes_of_divided_weights_in_bfloat16_give_the_gradient_of_whole_ones(rounds: dict[str, Both]) -> None:
    """But for the rounding of bfloat16."""
    alone, together = steps_of(rounds[SHORT].alone), steps_of(rounds[SHORT].together)
    assert len(alone) == len(together) == 4
    for expected, got in zip(alone, together, strict=True):
        assert got == pytest.approx(expected, rel=2**-7, abs=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_the_report_is_the_same(rounds: dict[str, Both], form: str) -> None:
    """Every document of every model is scored, with the answers that one rank finds; nothing is counted twice."""
    alone, together = rounds[form].reports
    assert alone.outcome is together.outcome is Outcome.TRAINED
    assert alone.training is not None
    assert together.training is not None
    assert (alone.touched, alone.skills) == (together.touched, together.skills)
    assert (alone.training.tokens_new, alone.training.tokens_replayed) == (
        together.training.tokens_new,
        together.training.tokens_replayed,
    )
    assert together.device == f"{alone.device}, 2 ranks"
    for name, scores in alone.slices.items():
        other = together.slices[name]
        pairs = [(scores.parent, other.parent), (scores.base, other.base)]
        pairs += [(scores.candidates[each], other.candidates[each]) for each in scores.candidates]
        for expected, got in pairs:
            assert [(each.id, each.tokens, each.predicted, each.label) for each in expected] == [
                (each.id, each.tokens, each.predicted, each.label) for each in got
            ]
            assert [each.nll for each in got] == pytest.approx([each.nll for each in expected], abs=SCORES)
    assert [each.nll for each in together.prequential] == pytest.approx(
        [each.nll for each in alone.prequential], abs=SCORES
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_gate_says_the_same(rounds: dict[str, Both], form: str) -> None:
    """On scores that are equal but for rounding."""
    slices = [
        HeldOut(
            each.name,
            each.kind,
            each.source,
            frozenset(sample.id for sample in each.samples),
            frozenset(sample.label for sample in each.samples if sample.label),
        )
        for each in read_round(rounds[form].alone).slices
    ]
    settings = GateSettings(minimum_documents=5, resamples=400)
    alone, together = (judge(each, slices, known={}, history=(), settings=settings) for each in rounds[form].reports)
    assert (alone.decision, alone.candidate, alone.unproven) == (
        together.decision,
        together.candidate,
        together.unproven,
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_candidate_is_one_set_of_files(rounds: dict[str, Both], form: str) -> None:
    """Of the names, shapes and formats that one rank writes, and but for rounding its weights."""
    alone, together = rounds[form].alone / CANDIDATES, rounds[form].together / CANDIDATES
    files = sorted(path.relative_to(alone) for path in alone.rglob("*") if path.is_file())
    assert any(file.suffix == ".safetensors" for file in files)
    assert files == sorted(path.relative_to(together) for path in together.rglob("*") if path.is_file())
    for file in files:
        if file.suffix != ".safetensors":
            assert (alone / file).read_bytes() == (together / file).read_bytes()
        elif file.parent.name != Path(IMPORTANCE).parent.name:
            expected, got = load_file(alone / file), load_file(together / file)
            assert {name: (value.shape, value.dtype) for name, value in expected.items()} == {
                name: (value.shape, value.dtype) for name, value in got.items()
            }
            for name, value in expected.items():
                torch.testing.assert_close(got[name].float(), value.float(), rtol=2**-7, atol=1e-3)
    assert not (rounds[form].together / "saved").exists()


@pytest.mark.parametrize("form", ["carried", "sharded, carried"])
def test_all_begin_with_the_moments_of_the_parent(rounds: dict[str, Both], form: str) -> None:
    """And leave those of the same steps, beside the round's result."""
    both = rounds[form]
    for path in (both.alone, both.together):
        events = map(json.loads, (path / PROGRESS).read_text().splitlines())
        (begun,) = [event for event in events if event["event"] == "moments"]
        assert begun["carried"] == begun["weights"] > 0
    alone, together = (load_file(path / RESULT / MOMENTS_OF_RESULT) for path in (both.alone, both.together))
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("form", ["penalties", "sharded"])
def test_what_matters_to_the_result_is_the_same(rounds: dict[str, Both], form: str) -> None:
    """The importance that goes with a candidate."""
    alone, together = (
        load_file(path / CANDIDATES / "0.00" / IMPORTANCE) for path in (rounds[form].alone, rounds[form].together)
    )
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-2, atol=1e-3)


def test_progress_is_the_first_ranks_for_all(rounds: dict[str, Both]) -> None:
    """One line for each step, and each phase counts to its end."""
    path = rounds["penalties"].together
    assert (path / REPORT).is_file()
    events = [json.loads(line) for line in (path / PROGRESS).read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    last = [event for event in events if event["event"] == "step"][-1]
    assert last["done"] == last["of"]
