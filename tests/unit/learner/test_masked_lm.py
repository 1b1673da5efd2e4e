"""A masked language model: what it is scored on, and a whole round."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from checkpoints.adapters.ground import is_adapter
from checkpoints.document_frame import BARE, FRAME_FILE
from checkpoints.generation_store import Published
from checkpoints.load import load_model
from learner.devices.device import choose
from learner.directory.report import Outcome
from learner.directory.round_directory import CANDIDATES, IMPORTANCE
from learner.evaluation.document_scores import Evaluator
from learner.job import run_round
from learner.material.encoding import Encoder
from learner.material.masks import masking_of, scoring_readings
from learner.objectives.halves import Halves
from learner.objectives.importance import fisher, load_importance
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

RECIPE = tiny.SMALL.model_copy(update={"epochs": 4})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny BERT that fills gaps."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.masked(), tiny.masking_tokenizer(), "masked-lm")


@pytest.mark.parametrize("longest", [64, 12])
def test_a_score_is_the_loss_of_what_is_masked(longest: int) -> None:
    """By the model's own logits, reading by reading; whatever rows it shares a pass with, and in which order."""
    tokenizer, model = tiny.masking_tokenizer(), tiny.masked().eval()
    masking = masking_of(tokenizer)
    text = Encoder(tokenizer, longest, frame=BARE)(tiny.samples(5, seed=1))
    evaluate = Evaluator(choose("cpu", "float32"), longest, 4, 0, masking=masking)
    scores = evaluate(model, text)
    expected = [0.0] * len(text)
    for reading in scoring_readings(text, longest, masking):
        held = text.tokens[reading.piece.start : reading.piece.stop].astype("int64")
        ids = torch.tensor([*masking.opening, *held, *masking.closing])
        gaps = torch.from_numpy(reading.gaps) + len(masking.opening)
        wanted = ids[gaps]
        ids[gaps] = masking.mask
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, gaps]
        expected[reading.owner] += float(functional.cross_entropy(logits, wanted, reduction="sum"))
    assert [score.nll for score in scores] == pytest.approx(expected, rel=1e-4)
    for alone in (evaluate(model, text.take([3]))[0], replace(evaluate, rows_together=False)(model, text)[3]):
        assert (alone.id, alone.tokens) == (scores[3].id, scores[3].tokens)
        assert alone.nll == pytest.approx(scores[3].nll, rel=1e-4)


def test_importance_is_of_what_is_guessed() -> None:
    """At the gaps alone: what other places say no one is asked."""
    model, mask = tiny.masked().eval(), tiny.masking_tokenizer().mask_token_id
    ids = torch.tensor([[2, 8, mask, 10, 3]])

    def of(answered: list[int]) -> dict[str, torch.Tensor]:
        at = torch.zeros(5, dtype=torch.bool)
        at[answered] = True
        return fisher(
            model,
            [{"input_ids": ids}],
            generator=torch.Generator().manual_seed(1),
            halves=Halves(model),
            answered=lambda inputs: at[: inputs["input_ids"].shape[1]],
        )

    gap, elsewhere = of([2]), of([1])
    assert any(not torch.allclose(gap[name], elsewhere[name]) for name in gap)
    assert all(torch.isfinite(value).all() for value in gap.values())


def test_a_round_learns_to_fill_gaps(base: Published, tmp_path: Path) -> None:
    """With replay, KL, both pulls and early stopping: better on new text that was held out."""
    recipe = RECIPE.model_copy(update={"ewc": 0.001, "l2_sp": 0.001})
    report = run_round(tiny.causal_round(tmp_path / "round", base, kind="masked-lm", recipe=recipe))
    assert (report.outcome, report.detail, report.kind) == (Outcome.TRAINED, "", "masked-lm")
    scores = report.slices["1"]
    lost, learned = (sum(score.nll for score in each) for each in (scores.parent, scores.candidates["0.00"]))
    assert learned < 0.9 * lost
    assert [score.tokens for score in scores.parent] == [score.tokens for score in scores.candidates["0.00"]]
    assert report.training is not None
    assert set(report.training.losses) == {"new", "replay", "kl"}
    assert report.training.losses["kl"] > 0
    candidate = tmp_path / "round" / CANDIDATES / "0.00"
    model = tiny.masked()
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    assert load_importance(candidate / IMPORTANCE, shapes) is not None
    assert not (candidate / FRAME_FILE).exists()


def test_an_adapter_learns_to_fill_gaps(base: Published, tmp_path: Path) -> None:
    """It is kept beside the whole model, and what both make is what was scored."""
    recipe = RECIPE.model_copy(
        update={"adapter": "lora", "adapter_rank": 4, "learning_rate": 2e-2, "interpolation": (0.0,)}
    )
    report = run_round(tiny.causal_round(tmp_path / "round", base, kind="masked-lm", recipe=recipe))
    assert (report.outcome, report.detail) == (Outcome.TRAINED, "")
    scores = report.slices["1"]
    lost, learned = (sum(score.nll for score in each) for each in (scores.parent, scores.candidates["0.00"]))
    assert learned < 0.95 * lost
    candidate = tmp_path / "round" / CANDIDATES / "0.00"
    assert is_adapter(candidate)
    model, tokenizer = load_model(candidate, "masked-lm", ground=base.path), tiny.masking_tokenizer()
    evaluate = Evaluator(choose("cpu", "float32"), recipe.length, 4, 0, masking=masking_of(tokenizer))
    held_out = tiny.samples(12, seed=4, first=4000, nouns=tiny.NEW_NOUNS)
    again = evaluate(model, Encoder(tokenizer, recipe.length, frame=BARE)(held_out))
    assert [score.nll for score in again] == pytest.approx([each.nll for each in scores.candidates["0.00"]], rel=1e-4)


def test_a_round_gives_the_same_weights_again(base: Published, tmp_path: Path) -> None:
    """Whatever its micro-batch, its gaps are the same: only rounding may differ between passes of other sizes."""
    results = []
    for name, size in (("one", 4), ("two", 4), ("three", 2)):
        recipe = RECIPE.model_copy(update={"micro_batch": size, "interpolation": (0.0,)})
        report = run_round(tiny.causal_round(tmp_path / name, base, kind="masked-lm", recipe=recipe))
        weights = (tmp_path / name / CANDIDATES / "0.00" / "model.safetensors").read_bytes()
        assert report.training is not None
        results.append((weights, report.training.losses["new"]))
    assert results[0][0] == results[1][0]
    assert results[0][1] == pytest.approx(results[2][1], rel=0.2)
