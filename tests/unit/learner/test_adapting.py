"""Rounds that train an adapter and merge it: whole models come of them, which differ from the parent where it was."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore, Published
from checkpoints.load import load_model
from gate.measures import mean_nll
from learner.adapting import attach_adapter
from learner.directory.report import Outcome
from learner.directory.round_directory import PROGRESS, RESIDUALS, GenerationRef, RoundSlice, write_round
from learner.job import run_round
from learner.settings import RecipeSettings
from learner.weights.adapted_modules import NoSuchModules
from learner.weights.adapter import Adapter
from learner.workbench import Workbench
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

LORA = tiny.SMALL.model_copy(update={"adapter": "lora", "adapter_rank": 8, "adapter_rounds": 0, "learning_rate": 2e-2})


def weights(path: Path, kind: Any = "causal-lm") -> dict[str, torch.Tensor]:
    """Of a model in a directory, in float32."""
    return tiny.weights_of(load_model(path, kind, dtype=torch.float32))


def changed(path: Path, parent: Path, kind: Any = "causal-lm") -> set[str]:
    """The names of the weights in which two models differ."""
    before, after = weights(parent, kind), weights(path, kind)
    assert before.keys() <= after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in bf16 as generation 0."""
    model = tiny.llama(dtype=torch.bfloat16)
    return tiny.generation(tmp_path_factory.mktemp("base"), model, tiny.tokenizer(), "causal-lm")


def test_a_round_learns_through_an_adapter_and_its_candidates_are_whole_models(tmp_path: Path, base: Published) -> None:
    """In their parent's dtype, with what rounding cut off beside them; what was not adapted is the parent's."""
    path = tiny.causal_round(tmp_path / "round", base, recipe=LORA)
    report = run_round(path)
    assert report.outcome is Outcome.TRAINED
    newest = report.slices["1"]
    assert mean_nll(newest.candidates["0.00"]) < mean_nll(newest.parent) - 0.1
    result, half = path / "candidates" / "0.00", path / "candidates" / "0.50"
    adapted = {name for name in weights(base.path) if ".mlp." in name}
    assert changed(result, base.path) == changed(half, base.path) == adapted
    assert not list(result.glob("adapter*"))
    assert (result / RESIDUALS).is_file()
    before, after, between = weights(base.path), weights(result), weights(half)
    for name in adapted:
        assert torch.allclose(between[name], (before[name] + after[name]) / 2, atol=1e-2)


def test_the_next_round_begins_from_what_an_adapter_learned(tmp_path: Path, base: Published) -> None:
    """With pulls toward parent and base, and importance of all weights, as if all had been trained."""
    recipe = LORA.model_copy(update={"ewc": 0.1, "l2_sp": 1e-3, "l2_sp_anchor": "base", "interpolation": (0.0,)})
    store, parent = GenerationStore(base.path.parent.parent), base
    for number in (1, 2):
        spec = replace(
            tiny.spec_for(base, recipe=recipe, round=number), parent=GenerationRef(number - 1, parent.digest)
        )
        path = tmp_path / f"round-{number}"
        write_round(
            path,
            spec,
            parent_dir=parent.path,
            base_dir=base.path,
            fresh=tiny.samples(30, seed=number, nouns=tiny.NEW_NOUNS),
            replay=tiny.samples(20, seed=2, first=1000),
            early_stop=[],
            slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.samples(6, seed=3, first=3000)))],
        )
        assert run_round(path).outcome is Outcome.TRAINED
        parent = store.publish(path / "candidates" / "0.00", number, Card(number, "causal-lm", number - 1, number))
    assert changed(parent.path, base.path) == {name for name in weights(base.path) if ".mlp." in name}


def test_a_classifier_learns_a_new_label_with_an_adapter(tmp_path: Path) -> None:
    """Its head is trained whole, and its parent, which lacks the label, is what it is distilled from."""
    known = tiny.LABELS[:2]
    model = tiny.bert()
    model.config.id2label, model.config.label2id = dict(enumerate(known)), {label: at for at, label in enumerate(known)}
    model.classifier = torch.nn.Linear(32, len(known))
    base = tiny.generation(tmp_path, model, tiny.tokenizer(bert=True), "classifier")
    update = {"adapter": "dora", "l2_sp": 1e-4, "early_stop_checks": 0, "interpolation": (0.0,), "batch_sequences": 16}
    path = tmp_path / "round"
    write_round(
        path,
        tiny.spec_for(base, kind="classifier", recipe=LORA.model_copy(update=update), new_labels=(tiny.LABELS[2],)),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=tiny.labelled(30, seed=2),
        replay=tiny.labelled(30, seed=3, first=700, labels=known),
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.labelled(10, seed=9, first=9000, labels=known)))],
    )
    report = run_round(path)
    assert report.training is not None
    assert report.training.losses["logits"] > 0
    made = path / "candidates" / "0.00"
    assert load_model(made, "classifier").config.num_labels == 3
    adapted = {
        name for name in weights(base.path, "classifier") if ".attention." not in name and "dense.weight" in name
    }
    heads = {"classifier.weight", "classifier.bias"}
    assert changed(made, base.path, "classifier") == {name for name in adapted if "encoder" in name} | heads


def test_a_model_that_has_nothing_of_what_is_named_is_told_so(tmp_path: Path, base: Published) -> None:
    """Before anything is read, scored or trained."""
    recipe = LORA.model_copy(update={"adapter_modules": ("c_fc",)})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe)
    with pytest.raises(NoSuchModules, match="names c_fc"):
        run_round(path)
    assert '"name":"encode"' not in (path / PROGRESS).read_text().replace(" ", "")


def attached(**update: Any) -> Adapter:
    """The adapter of a recipe, beside a tiny Llama, with nothing but ones in what it learns."""
    spec = SimpleNamespace(recipe=LORA.model_copy(update=update), seed=7, kind="causal-lm")
    bench = SimpleNamespace(
        given=SimpleNamespace(spec=spec), model=tiny.llama(), progress=SimpleNamespace(say=lambda *_, **__: None)
    )
    adapter = attach_adapter(cast("Workbench", bench), None)
    assert adapter is not None
    with torch.no_grad():
        for weight in bench.model.parameters():
            if weight.requires_grad:
                weight.fill_(1.0)
    return adapter


def test_each_setting_of_an_adapter_reaches_it() -> None:
    """Ones in both matrices make a change of alpha everywhere, whatever the rank: rank times alpha / rank."""
    for update in ({"adapter_rank": 2}, {"adapter_rank": 4}, {"adapter_alpha": 5}):
        adapter = attached(**update)
        recipe = LORA.model_copy(update=update)
        trained = [weight for each in adapter.adapted.values() for weight in each.layer.lora_A.parameters()]
        assert {len(weight) for weight in trained} == {recipe.adapter_rank}
        assert all(bool((each.change() == recipe.adapter_alpha).all()) for each in adapter.adapted.values())
    assert all(".self_attn." in name for name in attached(adapter_modules=("attention",)).adapted)
    assert all(".mlp." in name for name in attached().adapted)


@pytest.mark.parametrize(("kind", "usual"), [("causal-lm", 1e-4), ("classifier", 2e-5)])
def test_an_adapter_learns_at_ten_times_the_rate(kind: Any, usual: float) -> None:
    """Where the recipe names none."""
    assert RecipeSettings().peak_rate(kind, 10**8) == usual
    assert RecipeSettings(adapter="lora").peak_rate(kind, 10**8) == pytest.approx(10 * usual)
    assert RecipeSettings(adapter="lora", learning_rate=usual).peak_rate(kind, 10**8) == usual
    assert RecipeSettings(adapter="lora").peak_rate("classifier", 10**8, steps_of_new_head=10) == 1e-3
