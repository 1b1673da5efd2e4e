"""A sequence-to-sequence model: what it is scored on, and whole rounds of T5 and BART."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from checkpoints.generation_store import Published
from checkpoints.matching import decoder_start
from learner.devices.device import choose
from learner.directory.report import Outcome, Report
from learner.directory.round_directory import CANDIDATES, IMPORTANCE, RoundSample, RoundSlice, write_round
from learner.evaluation.document_scores import Evaluator
from learner.job import run_round
from learner.material.encoding import Encoder
from learner.material.pairs import pairs_of, parts_of
from learner.objectives.importance import load_importance
from learner.settings import RecipeSettings
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

MAKES: list[Callable[[], Any]] = [tiny.t5, tiny.bart]
RECIPE = tiny.SMALL.model_copy(update={"epochs": 4})


def base_of(path: Path, make: Callable[[], Any]) -> Published:
    """A model and its tokenizer, published."""
    return tiny.generation(path, make(), tiny.tokenizer(bert=True), "seq2seq")


def run(path: Path, base: Published, recipe: RecipeSettings, fresh: list[RoundSample] | None = None) -> Report:
    """A round on pairs of new text, with replayed and held-out ones."""
    write_round(
        path,
        tiny.spec_for(base, kind="seq2seq", recipe=recipe),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=tiny.pairs(60, seed=1, nouns=tiny.NEW_NOUNS) if fresh is None else fresh,
        replay=tiny.pairs(40, seed=2, first=1000),
        early_stop=tiny.pairs(6, seed=5, first=5000, nouns=tiny.NEW_NOUNS),
        slices=[
            RoundSlice("anchor", "anchor", "river", tuple(tiny.pairs(12, seed=3, first=3000))),
            RoundSlice("1", "period", "river", tuple(tiny.pairs(12, seed=4, first=4000, nouns=tiny.NEW_NOUNS))),
        ],
    )
    return run_round(path)


@pytest.mark.parametrize("make", MAKES)
def test_a_score_is_the_loss_of_the_target(make: Callable[[], Any]) -> None:
    """By transformers' own loss over labels, whatever rows share a pass and however they are padded."""
    model, tokenizer = make().eval(), tiny.tokenizer(bert=True)
    text = Encoder(tokenizer, 24, pairs=True)(tiny.pairs(6, seed=1))
    scores = Evaluator(choose("cpu", "float32"), 24, 4, 0, start=decoder_start(model))(model, text)
    for (owner, pair), score in zip(pairs_of(text), scores, strict=True):
        read, written = (torch.from_numpy(part).long()[None] for part in parts_of(pair, text.tokens))
        with torch.no_grad():
            logits = model(input_ids=read, labels=written).logits[0]
        expected = functional.cross_entropy(logits, written[0], reduction="sum")
        assert (score.id, score.tokens) == (text.samples[owner].id, written.shape[1])
        assert score.nll == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("make", MAKES)
def test_a_round_learns_targets(make: Callable[[], Any], tmp_path: Path) -> None:
    """With replay, KL, both pulls and early stopping: better on new pairs that were held out."""
    recipe = RECIPE.model_copy(update={"ewc": 0.001, "l2_sp": 0.001})
    report = run(tmp_path / "round", base_of(tmp_path / "base", make), recipe)
    assert (report.outcome, report.detail, report.kind) == (Outcome.TRAINED, "", "seq2seq")
    scores = report.slices["1"]
    lost, learned = (sum(score.nll for score in each) for each in (scores.parent, scores.candidates["0.00"]))
    assert learned < 0.9 * lost
    assert report.training is not None
    assert report.training.losses["kl"] > 0
    assert report.touched is not None
    assert {1, 60} <= report.touched
    shapes = {name: weight.shape for name, weight in make().named_parameters()}
    importance = load_importance(tmp_path / "round" / CANDIDATES / "0.00" / IMPORTANCE, shapes)
    assert importance is not None
    encoder = next(value for name, value in importance.items() if "encoder" in name and "norm" not in name)
    assert float(encoder.sum()) > 0


def test_what_is_no_pair_is_left_out(tmp_path: Path) -> None:
    """It is trained on by nobody, and the progress says why."""
    fresh = [*tiny.pairs(20, seed=1), *tiny.samples(2, seed=9, first=900)]
    report = run(tmp_path / "round", base_of(tmp_path / "base", tiny.t5), RECIPE, fresh)
    assert report.outcome is Outcome.TRAINED
    assert report.untrainable == {900, 901}
    assert "it has no input and target" in (tmp_path / "round" / "progress.jsonl").read_text()


def test_an_adapter_stands_beside_encoder_and_decoder(tmp_path: Path) -> None:
    """And what it learned is kept beside the whole model."""
    recipe = RECIPE.model_copy(update={"adapter": "lora", "adapter_rank": 4, "learning_rate": 2e-2})
    report = run(tmp_path / "round", base_of(tmp_path / "base", tiny.t5), recipe)
    assert report.outcome is Outcome.TRAINED, report.detail
    scores = report.slices["1"]
    assert sum(score.nll for score in scores.candidates["0.00"]) < sum(score.nll for score in scores.parent)
