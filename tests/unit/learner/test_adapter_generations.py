"""Generations that are adapters on a whole one: what rounds through LoRA leave, and what becomes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from checkpoints.adapters.ground import read_ground
from checkpoints.adapters.low_rank import read_adapter
from checkpoints.base.prepare import import_base
from checkpoints.card import Card, ModelKind
from checkpoints.errors import CheckpointsError, DamagedGeneration, UnusableModel
from checkpoints.export import export_generation
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_beside, load_model, load_tokenizer
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import read_reference
from gate.measures import mean_nll
from learner.adapter_candidates import drift
from learner.directory.report import Outcome, Report
from learner.directory.round_directory import IMPORTANCE, PARENT, RESIDUALS
from learner.errors import BadRoundDirectory
from learner.job import run_round
from learner.weights.residual import add_residuals, load_residuals
from tests.unit.learner import tiny
from tests.unit.learner.line import Line

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

BY_PEFT = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
"""For tests that load with peft itself, which asks transformers in a way that it is to lose."""

LORA = tiny.SMALL.model_copy(
    update={
        "adapter": "lora",
        "adapter_rank": 2,
        "adapter_rounds": 3,
        # Random weights are small, and move far.
        "adapter_drift": 1000.0,
        "learning_rate": 2e-2,
        "early_stop_checks": 0,
    }
)


def line_of(home: Path, model: Any, kind: ModelKind = "causal-lm") -> Line:
    """Generations that adapters are trained on."""
    return Line(home, model, kind, recipe=LORA)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Line, list[Report]]:
    """A base in bfloat16, three adapters on it, the second halfway to its parent, and a whole one after them."""
    line = line_of(tmp_path_factory.mktemp("line"), tiny.llama(dtype=torch.bfloat16))
    threads = torch.get_num_threads()
    reports = [line.run(share=share) for share in ("0.00", "0.50", "0.00", "0.00")]
    torch.set_num_threads(threads)
    return line, reports


def test_three_rounds_make_adapters_on_the_base_and_the_next_a_whole_generation(
    made: tuple[Line, list[Report]],
) -> None:
    """Each round adds its rank; an adapter is small beside its ground, whose tokenizer and configuration it uses."""
    line, _ = made
    for number in (1, 2, 3):
        ground = read_ground(line.store.path(number))
        assert ground is not None
        assert (ground.generation, ground.model, ground.rounds) == (0, line.store.model_digest(0), number)
        changes = read_adapter(line.store.path(number)).changes
        assert len(changes) == 6
        assert {len(change.a) for change in changes.values()} == {2 * number}
        assert load_tokenizer(line.store.path(number)).get_vocab() == tiny.tokenizer().get_vocab()
        names = set(line.store.manifest(number).files)
        assert names == {
            "adapter_config.json",
            "adapter_model.safetensors",
            "card.json",
            "document_frame.json",
            "ground.json",
            "reference_answer.json",
        }
    assert read_ground(line.store.path(4)) is None
    assert (line.store.path(4) / "config.json").is_file()


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2])
def test_drift_is_the_norm_of_the_change_over_that_of_what_it_changes(make: Callable[[], Any], tmp_path: Path) -> None:
    """Over all changed matrices together, however they are stored; found without making either."""
    line = line_of(tmp_path, make())
    line.run()
    adapter, model = read_adapter(line.store.path(1)), load_model(line.store.path(1), "causal-lm", dtype=torch.float32)
    ground = load_model(line.store.path(0), "causal-lm", dtype=torch.float32)
    names = [f"{name}.weight" for name in adapter.changes]
    before, after = (tiny.weights_of(each) for each in (ground, model))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in names])
    size = torch.cat([before[name].flatten() for name in names])
    assert drift(model, adapter) == pytest.approx(float(moved.norm() / size.norm()), rel=1e-3)


def test_an_adapter_that_moved_its_ground_too_far_is_merged_by_the_next_round(tmp_path: Path) -> None:
    """Which says by how much; one within the bound goes on."""
    line = line_of(tmp_path, tiny.llama())
    line.run()
    far = drift(load_model(line.store.path(1), "causal-lm", dtype=torch.float32), read_adapter(line.store.path(1)))
    line.recipe = LORA.model_copy(update={"adapter_drift": 1.01 * far})
    within = line.run().training
    line.recipe = LORA.model_copy(update={"adapter_drift": 0.01 * far})
    beyond = line.run().training
    assert within is not None
    assert beyond is not None
    assert [read_ground(line.store.path(number)) is None for number in (1, 2, 3)] == [False, False, True]
    assert within.merge_note == ""
    assert "(learner.recipe.adapter_drift): candidates are whole models" in beyond.merge_note


def test_each_says_what_it_answers(made: tuple[Line, list[Report]]) -> None:
    """As its ground with the adapter: an engine into which it is put is held to that."""
    line, _ = made
    told = []
    for number in (1, 2, 3):
        model = load_model(line.store.path(number), "causal-lm", dtype=torch.float32)
        found, kept = (
            reference_of(model, load_tokenizer(line.store.path(number))),
            read_reference(line.store.path(number)),
        )
        assert kept is not None
        assert kept.tokens == found.tokens
        assert kept.log_probabilities == pytest.approx(found.log_probabilities, abs=0.03)
        told.append(kept)
    assert told[0] != told[1] != told[2]


def test_scores_of_a_candidate_are_those_of_the_generation_that_it_became(made: tuple[Line, list[Report]]) -> None:
    """What was scored is what is stored: the next round scores its parent, a loaded adapter, to the last digit."""
    _, reports = made
    shares = ("0.00", "0.50", "0.00")
    for earlier, later, share in zip(reports, reports[1:], shares, strict=False):
        assert later.slices["1"].parent == earlier.slices["1"].candidates[share]
    newest = reports[-1].slices["1"]
    assert mean_nll(newest.candidates["0.00"]) < mean_nll(reports[0].slices["1"].parent) - 0.1


def test_a_candidate_lies_on_the_line_from_its_parent_to_the_result(made: tuple[Line, list[Report]]) -> None:
    """Also where the parent is an adapter itself, of which the product of means would not."""
    line, _ = made
    before = line.weights(1)
    whole, half = (
        tiny.weights_of(
            load_model(
                line.home / "round-2" / "candidates" / share, "causal-lm", dtype=torch.float32, ground=line.base.path
            )
        )
        for share in ("0.00", "0.50")
    )
    of_ground = line.weights(0)
    for name, value in half.items():
        torch.testing.assert_close(value, (before[name] + whole[name]) / 2, rtol=1e-5, atol=1e-6)
        assert torch.equal(value, of_ground[name]) == (".mlp." not in name)


def test_a_whole_generation_after_adapters_has_what_they_learned(made: tuple[Line, list[Report]]) -> None:
    """Written by the round after them: where none of them trained, it is the base."""
    line, reports = made
    third, fourth, base = line.weights(3), line.weights(4), line.weights(0)
    assert {name for name in base if not torch.equal(base[name], fourth[name])} == {
        name for name in base if ".mlp." in name
    }
    # Less than a third of what all rounds learned is the last one's.
    moved = sum(float((fourth[name] - third[name]).square().sum()) for name in base)
    assert moved < sum(float((fourth[name] - base[name]).square().sum()) for name in base)
    assert mean_nll(reports[3].slices["1"].candidates["0.00"]) < mean_nll(reports[3].slices["1"].parent) + 0.05


@BY_PEFT
def test_peft_loads_a_generation_as_it_serves(made: tuple[Line, list[Report]]) -> None:
    """Its files are the library's own format, against the ground: a scale of one, and one rank for all modules."""
    from peft import PeftModel

    line, _ = made
    path = line.store.path(2)
    config = json.loads((path / "adapter_config.json").read_bytes())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 4, "../000000")
    ground = load_model(line.base.path, "causal-lm", dtype=torch.float32)
    by_peft = PeftModel.from_pretrained(ground, str(path)).eval()
    serving = load_model(path, "causal-lm", dtype=torch.float32)
    ids = torch.tensor([load_tokenizer(path)(tiny.texts(1, seed=8, nouns=tiny.NEW_NOUNS)[0])["input_ids"]])
    with torch.no_grad():
        expected, plain = serving(input_ids=ids).logits, load_model(line.base.path, "causal-lm").float()(ids).logits
        torch.testing.assert_close(by_peft(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert float((expected - plain).abs().max()) > 0.1


def test_a_swap_reads_an_adapter_into_a_copy_of_what_serves(made: tuple[Line, list[Report]]) -> None:
    """From whole to adapter, from one to the next, and back; the ground's own weights are not what answers."""
    line, _ = made
    serving = load_model(line.base.path, "causal-lm", dtype=torch.float32)
    for number in (1, 3, 2, 4, 0):
        swapped = load_beside(serving, line.store.path(number))
        assert swapped is not None
        serving = swapped
        assert all(torch.equal(value, line.weights(number)[name]) for name, value in tiny.weights_of(serving).items())


def test_an_adapter_is_exported_as_a_whole_model(tmp_path: Path, made: tuple[Line, list[Report]]) -> None:
    """In the format of its ground, with the tokenizer; nothing of it lies on anything."""
    line, _ = made
    export_generation(line.store, 2, tmp_path / "out", "causal-lm")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert not names & {"ground.json", "adapter_config.json", "card.json", "manifest.json"}
    exported = load_model(tmp_path / "out", "causal-lm")
    assert exported.dtype == torch.bfloat16
    for name, value in tiny.weights_of(exported).items():
        assert torch.equal(value, line.weights(2)[name].bfloat16())
    with pytest.raises(CheckpointsError, match="is there already"):
        export_generation(line.store, 4, tmp_path / "out", "causal-lm")
    with pytest.raises(UnusableModel, match="riverkeep export"):
        import_base(GenerationStore(tmp_path / "other"), line.store.path(2), kind="causal-lm")
    imported = import_base(GenerationStore(tmp_path / "other"), tmp_path / "out", kind="causal-lm")
    assert imported.generation == 0


def test_digest_and_verification_cover_the_ground(tmp_path: Path, made: tuple[Line, list[Report]]) -> None:
    """Damage in either is found; another base is not taken for it; and none goes while something lies on it."""
    home = tmp_path / "copy"
    shutil.copytree(made[0].home, home)
    store = GenerationStore(home)
    assert store.lying_on(0) == [1, 2, 3]
    with pytest.raises(CheckpointsError, match="before those that lie on it"):
        store.remove(0)
    weights = home / "generations" / "000000" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for number in (0, 1, 3):
        with pytest.raises(DamagedGeneration, match="content has changed"):
            store.verify(number)
    store.verify(4)
    shutil.rmtree(home / "generations" / "000000")
    with pytest.raises(DamagedGeneration, match="generation 0, which it lies on, is not here"):
        store.point_to(2)
    with pytest.raises(DamagedGeneration, match="generation 0, which it lies on, is not here"):
        store.publish(home / "round-1" / "candidates" / "0.00", 5, Card(5, "causal-lm"))
    other = tiny.generation(home, tiny.llama(seed=1, dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm")
    assert other.generation == 0
    with pytest.raises(DamagedGeneration, match="generation 0 is not the one that it lies on"):
        store.verify(2)


def test_a_round_from_an_adapter_goes_to_another_machine_whole(tmp_path: Path, made: tuple[Line, list[Report]]) -> None:
    """Its directory has the ground, verified before anything is loaded; it makes the same there."""
    line, _ = made
    moved = tmp_path / "elsewhere"
    shutil.copytree(line.home / "round-3", moved)
    first = (moved / "candidates" / "0.00" / "adapter_model.safetensors").read_bytes()
    run_round(moved)
    assert (moved / "candidates" / "0.00" / "adapter_model.safetensors").read_bytes() == first
    weights = moved / PARENT / "ground" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadRoundDirectory, match=r"ground/model\.safetensors is damaged"):
        run_round(moved)
    weights.write_bytes(whole)
    manifest = moved / PARENT / "ground" / "manifest.json"
    shutil.copyfile(moved / "parent" / "manifest.json", manifest)
    with pytest.raises(BadRoundDirectory, match="is not generation 0, which"):
        run_round(moved)


def test_an_adapter_of_other_modules_and_rank_goes_beside_the_parents(tmp_path: Path) -> None:
    """Of one rank for all, filled up with zeros; importance goes with each candidate, one file for all."""
    line = line_of(tmp_path, tiny.llama())
    line.run()
    first = line.weights()
    recipe = LORA.model_copy(update={"adapter_modules": ("attention",), "adapter_rank": 3, "ewc": 0.1})
    report = line.run(recipe)
    changes = read_adapter(line.latest.path).changes
    assert len(changes) == 14
    assert {len(change.a) for change in changes.values()} == {3}
    after = line.weights()
    assert all(torch.equal(first[name], after[name]) for name in first if ".mlp." in name)
    assert any(not torch.equal(first[name], after[name]) for name in first if ".self_attn." in name)
    assert report.slices["1"].candidates.keys() == {"0.00", "0.50"}
    files = [tmp_path / "round-2" / "candidates" / share / IMPORTANCE for share in ("0.00", "0.50")]
    assert files[0].samefile(files[1])
    assert line.run(recipe).outcome is Outcome.TRAINED


def test_all_weights_are_trained_from_an_adapter_as_from_a_whole_model(tmp_path: Path) -> None:
    """What rounding would cut off the merged weights is not lost on the way: a round that learns nothing shows it."""
    line = line_of(tmp_path, tiny.llama(dtype=torch.bfloat16))
    line.run()
    before = line.weights()
    still = tiny.SMALL.model_copy(update={"learning_rate": 1e-12, "early_stop_checks": 0, "interpolation": (0.0, 0.5)})
    line.run(still)
    assert read_ground(line.latest.path) is None
    model = load_model(line.latest.path, "causal-lm", dtype=torch.float32)
    add_residuals(model, load_residuals(line.latest.path / RESIDUALS, model))
    for name, value in tiny.weights_of(model).items():
        torch.testing.assert_close(value, before[name], rtol=2**-13, atol=1e-9)


@pytest.mark.parametrize("update", [{"adapter": "dora"}, {"adapter_rounds": 0}])
def test_generations_are_whole_where_no_adapter_is_kept(tmp_path: Path, update: dict[str, Any]) -> None:
    """DoRA's, which no engine loads, and where the recipe says so; also on a parent that is an adapter."""
    line = line_of(tmp_path, tiny.llama())
    line.run()
    assert read_ground(line.latest.path) is not None
    line.run(LORA.model_copy(update=update))
    assert read_ground(line.latest.path) is None
    line.run()
    ground = read_ground(line.latest.path)
    assert ground is not None
    assert (ground.generation, ground.rounds) == (2, 1)


@BY_PEFT
def test_a_classifiers_head_goes_with_its_adapter(tmp_path: Path) -> None:
    """Trained whole, drawn toward the parent's like all else, and loaded by peft as a module that was saved."""
    from peft import PeftModel

    line = line_of(tmp_path, tiny.bert(), "classifier")
    recipe = LORA.model_copy(update={"batch_sequences": 16})
    line.run(recipe)
    before = line.weights()
    line.run(recipe, share="0.50")
    assert set(read_adapter(line.latest.path).whole) == {"classifier.weight", "classifier.bias"}
    whole = read_adapter(tmp_path / "round-2" / "candidates" / "0.00").whole["classifier.weight"]
    assert torch.allclose(line.weights()["classifier.weight"], (whole + before["classifier.weight"]) / 2)
    serving = load_model(line.latest.path, "classifier")
    by_peft = PeftModel.from_pretrained(load_model(line.base.path, "classifier"), str(line.latest.path)).eval()
    ids = torch.tensor([load_tokenizer(line.latest.path)("the boat carries the stone and is calm")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(by_peft(input_ids=ids).logits, serving(input_ids=ids).logits, rtol=1e-5, atol=1e-5)


@BY_PEFT
def test_maps_that_are_stored_the_other_way_round_are_changed_so(tmp_path: Path) -> None:
    """GPT-2's: what serves is what was scored, and what peft makes of the files."""
    from peft import PeftModel

    line = line_of(tmp_path, tiny.gpt2())
    first = line.run()
    second = line.run()
    assert second.slices["1"].parent == first.slices["1"].candidates["0.00"]
    serving = load_model(line.latest.path, "causal-lm")
    by_peft = PeftModel.from_pretrained(load_model(line.base.path, "causal-lm"), str(line.latest.path)).eval()
    ids = torch.tensor([[4, 9, 10, 11]])
    with torch.no_grad():
        torch.testing.assert_close(by_peft(input_ids=ids).logits, serving(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
    assert cast("Any", by_peft).peft_config["default"].fan_in_fan_out is True
