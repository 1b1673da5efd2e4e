"""Rounds one after the other: what is learned in one is not lost before the next."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore, Published
from checkpoints.load import load_beside, load_model
from learner.directory.report import Report
from learner.directory.round_directory import RESIDUALS, GenerationRef, RoundSlice, write_round
from learner.errors import BadRoundDirectory
from learner.job import run_round
from learner.settings import RecipeSettings
from learner.weights import candidates
from learner.weights.residual import add_residuals, load_residuals
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

ROUNDS, STEPS = 8, 6
# Each step sees ten documents of new text, and no rate falls: rounds that differ in nothing but their text. Moments are
# new each time: what rounding cuts off is to be all that one round hands to the next.
SLOW = tiny.SMALL.model_copy(
    update={"learning_rate": 1e-5, "replay_ratio": 0.0, "kl": 0.0, "floor": 1.0, "warmup": 0.0}
    | {"early_stop_checks": 0, "interpolation": (0.0,), "max_steps": STEPS, "sequence_length": 16}
    | {"carry_moments": False}
)
FAST = SLOW.model_copy(update={"learning_rate": 1e-3})


def grown(dtype: torch.dtype) -> LlamaForCausalLM:
    """A model whose matrices have the size of a trained one's: new ones are so small that 1e-5 moves many of them."""
    model = tiny.llama()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(5.0)
    stored: LlamaForCausalLM = torch.nn.Module.to(model, dtype)
    return stored


class Rounds:
    """One model's generations, each made by a round of new text from the one before it."""

    def __init__(self, home: Path, dtype: torch.dtype, recipe: RecipeSettings = SLOW) -> None:
        self.home, self.recipe = home, recipe
        self.base = tiny.generation(
            home, torch.nn.Module.to(grown(torch.bfloat16), dtype), tiny.tokenizer(), "causal-lm"
        )
        self.latest = self.base
        self.store = GenerationStore(home)

    def write(self) -> Path:
        """Write the next round's directory."""
        number = self.latest.generation + 1
        path = self.home / f"round-{number}"
        spec = replace(
            tiny.spec_for(self.base, recipe=self.recipe),
            round=number,
            parent=GenerationRef(self.latest.generation, self.latest.digest),
            plausibility_documents=1,
        )
        write_round(
            path,
            spec,
            parent_dir=self.latest.path,
            base_dir=self.base.path,
            fresh=tiny.samples(60, seed=number, nouns=tiny.NEW_NOUNS),
            replay=[],
            early_stop=[],
            slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.samples(40, seed=99, nouns=tiny.NEW_NOUNS)))],
        )
        return path

    def run(self) -> Report:
        """Run the next round; what it made is the next generation."""
        path = self.write()
        report = run_round(path)
        number = self.latest.generation + 1
        self.latest = self.store.publish(path / "candidates" / "0.00", number, Card(number, "causal-lm"))
        return report

    def run_all(self, *, forgets_residual: bool = False) -> "Rounds":
        """Run eight rounds."""
        for _ in range(ROUNDS):
            self.run()
            if forgets_residual:
                self.latest = self.without_residual()
        return self

    def master(self) -> Any:
        """The latest generation as the next round begins with it."""
        model = load_model(self.latest.path, "causal-lm", dtype=torch.float32)
        add_residuals(model, load_residuals(self.latest.path / RESIDUALS, model))
        return model

    def stored(self) -> Any:
        """The latest generation as it serves."""
        return load_model(self.latest.path, "causal-lm", dtype=torch.float32)

    def without_residual(self) -> Published:
        """The latest generation as a version that keeps no residual would have stored it."""
        bare = self.home / f"bare-{self.latest.generation}"
        shutil.copytree(self.latest.path, bare, ignore=shutil.ignore_patterns("importance", "card.json"))
        number = self.latest.generation
        return GenerationStore(bare / "store").publish(bare, number, Card(number, "causal-lm"))


@torch.no_grad()
def gain(model: Any) -> float:
    """Nats per token by which a model is better on held-out text of the new kind than what all rounds started from."""
    ids = [
        torch.tensor([[4, *tiny.tokenizer()(sample.text)["input_ids"], 5]])
        for sample in tiny.samples(60, seed=99, nouns=tiny.NEW_NOUNS)
    ]
    begun = grown(torch.bfloat16).float()

    def loss(made: Any) -> float:
        return sum(float(made(input_ids=row, labels=row).loss) * (row.shape[1] - 1) for row in ids)

    return (loss(begun) - loss(model)) / sum(row.shape[1] - 1 for row in ids)


def round_to_nearest(stored: torch.Tensor, master: torch.Tensor, _: torch.Generator) -> None:
    """Round as torch does."""
    stored.copy_(master)


def test_what_eight_rounds_learn_survives_their_being_stored_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1e-5, where each round by itself moves most weights by less than rounding to the nearest takes back.

    What the next round begins with has learned what a model in float32 has, and so has what serves. Rounded to the
    nearest, and begun from what was stored, half of it is lost.
    """
    whole = Rounds(tmp_path / "32", torch.float32).run_all().stored()
    kept = Rounds(tmp_path / "16", torch.bfloat16).run_all()
    learned = gain(whole)
    assert learned > 0.05
    assert gain(kept.master()) == pytest.approx(learned, rel=0.02)
    assert gain(kept.stored()) > 0.95 * learned
    monkeypatch.setattr(candidates, "round_into", round_to_nearest)
    lost = Rounds(tmp_path / "without", torch.bfloat16).run_all(forgets_residual=True)
    assert gain(lost.stored()) < 0.5 * learned


def test_a_parent_is_scored_as_it_serves_and_trained_from_what_was_learned(tmp_path: Path) -> None:
    """A round's scores of its parent are those that the round before gave the candidate, residual or not."""
    rounds = Rounds(tmp_path, torch.bfloat16)
    made, next_ = rounds.run(), rounds.run()
    assert (rounds.store.path(1) / RESIDUALS).is_file()
    assert next_.slices["anchor"].parent == made.slices["anchor"].candidates["0.00"]


def test_residual_is_part_of_its_generation_and_of_no_model_that_serves(tmp_path: Path) -> None:
    """Its manifest lists it, it goes with its generation, and no loader takes it for weights."""
    rounds = Rounds(tmp_path, torch.bfloat16)
    rounds.run()
    assert RESIDUALS in rounds.store.manifest(1).files
    model = load_model(rounds.base.path, "causal-lm")
    beside = load_beside(model, rounds.latest.path)
    assert beside is not None
    stored = load_model(rounds.latest.path, "causal-lm").state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in beside.state_dict().items())
    rounds.store.remove(1)
    assert not rounds.latest.path.exists()


def test_generation_without_residual_starts_from_its_stored_weights(tmp_path: Path) -> None:
    """A base, or what an older version made; a model in float32 leaves none either."""
    rounds = Rounds(tmp_path / "bare", torch.bfloat16)
    rounds.run()
    rounds.latest = rounds.without_residual()
    assert rounds.run().slices["anchor"].candidates["0.00"]
    whole = Rounds(tmp_path / "32", torch.float32)
    whole.run()
    assert not (whole.latest.path / RESIDUALS).exists()


def test_damaged_residual_fails_the_round_and_says_so(tmp_path: Path) -> None:
    """As damaged importance does: by name, before anything is trained, and with what to do."""
    rounds = Rounds(tmp_path, torch.bfloat16)
    rounds.run()
    path = rounds.write()
    whole = (path / "parent" / RESIDUALS).read_bytes()
    (path / "parent" / RESIDUALS).unlink()
    (path / "parent" / RESIDUALS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadRoundDirectory, match=r"residuals\.safetensors is damaged"):
        run_round(path)


def test_candidates_lie_between_the_masters_of_parent_and_result(tmp_path: Path) -> None:
    """A parent's share of what it was before it was rounded: a quarter of nothing moved is nothing moved."""
    shares = (0.0, 0.5)
    rounds = Rounds(tmp_path, torch.bfloat16, SLOW.model_copy(update={"interpolation": shares}))
    rounds.run()
    path = rounds.write()
    run_round(path)
    masters = {}
    for place in ("parent", "candidates/0.00", "candidates/0.50"):
        model = load_model(path / place, "causal-lm", dtype=torch.float32)
        add_residuals(model, load_residuals(path / place / RESIDUALS, model))
        masters[place] = tiny.weights_of(model)
    parent, whole, half = masters.values()
    for name, value in half.items():
        torch.testing.assert_close(value, (parent[name] + whole[name]) / 2, rtol=2**-14, atol=1e-9)


def distance(one: Path, other: Path) -> float:
    """How far apart two models' weights are."""
    first, second = (tiny.weights_of(load_model(path, "causal-lm", dtype=torch.float32)) for path in (one, other))
    return math.sqrt(sum(float((value - second[name]).square().sum()) for name, value in first.items()))


def test_l2_sp_pulls_to_the_anchor_that_the_recipe_names(tmp_path: Path) -> None:
    """Toward the base a strong pull takes back what the round before learned, toward the parent it keeps it."""
    left = {}
    for anchor in ("parent", "base"):
        rounds = Rounds(tmp_path / anchor, torch.float32, FAST)
        rounds.run()
        learned = distance(rounds.base.path, rounds.latest.path)
        rounds.recipe = FAST.model_copy(update={"l2_sp": 1e3, "l2_sp_anchor": anchor})
        rounds.run()
        left[anchor] = distance(rounds.base.path, rounds.latest.path) / learned
    assert left["parent"] > 0.9
    assert left["base"] < 0.7
