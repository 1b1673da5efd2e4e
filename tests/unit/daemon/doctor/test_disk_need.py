"""How much disk is needed when everything is full."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.files.weight_files import stored_weights
from daemon.doctor.disk_need import (
    adapter_bytes,
    adapter_round_bytes,
    bytes_beside,
    bytes_to_come,
    round_bytes,
    save_bytes,
)
from daemon.settings.tree import ModelSettings, Settings
from learner.directory import trained_result
from learner.objectives.importance import save_importance
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from learner.training.coded_moments import Moments
from learner.training.moment_sizes import BLOCK
from learner.training.optimizers import adamw
from learner.weights.candidates import Line, store_into
from learner.weights.residual import save_residuals
from learner.weights.streamed_tensors import write_streamed
from tests.unit.learner import tiny

HEADER_BYTES = 8192


def settings(home: Path, **recipe: object) -> Settings:
    """Settings whose model and state are in `home`."""
    learner = LearnerSettings(recipe=RecipeSettings.model_validate(recipe))
    return Settings(state_dir=home / "state", model=ModelSettings(path=home / "model"), learner=learner)


def saved(home: Path, dtype: torch.dtype) -> Path:
    """A model's directory."""
    tiny.llama(dtype=dtype).save_pretrained(home / "model")
    return home / "model"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_rounding_cuts_off_is_counted(tmp_path: Path, dtype: torch.dtype) -> None:
    """As much as its file takes, beside each generation."""
    model = tiny.llama(dtype=dtype)
    path = saved(tmp_path, dtype)
    save_residuals(tmp_path / "kept" / "r.safetensors", store_into(model, Line(model, {}, {}).point(0))[1])
    size = (tmp_path / "kept" / "r.safetensors").stat().st_size
    assert bytes_beside(path, settings(tmp_path, carry_moments=False)) == pytest.approx(size, abs=HEADER_BYTES)


def test_importance_is_counted_where_the_recipe_has_it(tmp_path: Path) -> None:
    """As much as its file takes; a model in float32 keeps nothing else."""
    path = saved(tmp_path, torch.float32)
    save_importance(tmp_path / "kept" / "i.safetensors", tiny.weights_of(tiny.llama()))
    size = (tmp_path / "kept" / "i.safetensors").stat().st_size
    assert bytes_beside(path, settings(tmp_path, carry_moments=False)) == 0
    important = settings(tmp_path, carry_moments=False, ewc=1.0)
    assert bytes_beside(path, important) == pytest.approx(size, abs=HEADER_BYTES)


def test_moments_are_counted_where_they_are_carried(tmp_path: Path) -> None:
    """Two bytes of each weight and a float of each block; an adapter's rounds keep none."""
    weights = torch.nn.Parameter(torch.zeros(3, 100 * BLOCK))
    (tmp_path / "model").mkdir()
    save_file({"w": weights.detach()}, tmp_path / "model" / "model.safetensors")
    tensors = Moments.of(weights).tensors()
    listed = write_streamed(tmp_path / "m.safetensors", tensors)
    counted = bytes_beside(tmp_path / "model", settings(tmp_path))
    assert counted == pytest.approx(listed.bytes, abs=1024)
    assert bytes_beside(tmp_path / "model", settings(tmp_path, carry_moments=False)) == 0
    assert bytes_beside(tmp_path / "model", settings(tmp_path, adapter="lora")) == 0
    without = round_bytes(tmp_path / "model", settings(tmp_path, carry_moments=False))
    assert round_bytes(tmp_path / "model", settings(tmp_path)) == without + 5 * counted


def test_need_grows_by_what_lies_beside_each_generation_but_the_base(tmp_path: Path) -> None:
    """Seven at the defaults, five kept and two on the way; and five rounds of a result and four small candidates."""
    path = saved(tmp_path, torch.bfloat16)
    plain, important = settings(tmp_path), settings(tmp_path, ewc=1.0)
    beside = bytes_beside(path, important) - bytes_beside(path, plain)
    assert bytes_to_come(important) - bytes_to_come(plain) == (7 + 5 * (1 + 4)) * beside


def test_of_a_large_model_one_candidate_is_written_beside_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32; of a single candidate there is no result."""
    path = saved(tmp_path, torch.bfloat16)
    weights = stored_weights(path).total()
    several = settings(tmp_path, carry_moments=False)
    single = settings(tmp_path, carry_moments=False, interpolation=[0.0])
    whole = round_bytes(path, single)
    assert whole == pytest.approx(3 * weights, abs=2 * HEADER_BYTES)
    assert round_bytes(path, several) == 4 * weights + 4 * whole
    monkeypatch.setattr(trained_result, "WRITTEN_AT_ONCE_BYTES", 0)
    assert round_bytes(path, several) == 4 * weights + whole


def test_what_a_round_saves_of_itself_is_counted(tmp_path: Path) -> None:
    """As much as its file takes, twice: weights and two moments, and the best so far where it looks when to stop."""
    path, model = saved(tmp_path, torch.bfloat16), tiny.llama()
    trained = dict(model.named_parameters())
    optimizer = adamw(trained.values(), RecipeSettings())
    model(**dict.fromkeys(("input_ids", "labels"), torch.ones(1, 4, dtype=torch.long))).loss.backward()
    optimizer.step()
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    written = [*trained.values(), *moments]
    listed = write_streamed(tmp_path / "s.safetensors", {str(at): tensor for at, tensor in enumerate(written)})
    never = save_bytes(path, settings(tmp_path, early_stop_checks=0))
    assert never == pytest.approx(2 * listed.bytes, abs=2 * HEADER_BYTES)
    assert save_bytes(path, settings(tmp_path)) == never * 4 // 3


def test_generations_that_are_adapters_are_counted_as_such(tmp_path: Path) -> None:
    """Of seven generations and five rounds one of each is whole, and one more generation that the oldest lie on."""
    path = saved(tmp_path, torch.float32)
    weights = stored_weights(path).total()
    lora = {"adapter": "lora", "adapter_rank": 2, "early_stop_checks": 0}
    adapters, merged = settings(tmp_path, **lora), settings(tmp_path, **lora, adapter_rounds=0)
    assert adapter_bytes(path, adapters) == 4 * weights * 16 // 128
    base, whole_round = weights * 4, round_bytes(path, adapters)
    saved_there = bytes_to_come(merged) - bytes_to_come(adapters)
    of_adapters = 6 * adapter_bytes(path, adapters) + 4 * adapter_round_bytes(path, adapters)
    assert saved_there == pytest.approx(5 * base + 4 * whole_round - of_adapters, abs=8 * HEADER_BYTES)
    important = settings(tmp_path, **lora, ewc=1.0)
    assert adapter_bytes(path, important) - adapter_bytes(path, adapters) == 4 * weights
    assert adapter_round_bytes(path, important) == 4 * adapter_bytes(path, adapters) + 4 * weights


def test_an_adapter_saves_next_to_nothing_of_itself(tmp_path: Path) -> None:
    """In proportion to its rank, and no more than the weights would take."""
    path = saved(tmp_path, torch.bfloat16)
    whole = save_bytes(path, settings(tmp_path))
    assert save_bytes(path, settings(tmp_path, adapter="lora", adapter_rank=4)) == pytest.approx(whole / 32, rel=1e-3)
    assert save_bytes(path, settings(tmp_path, adapter="dora", adapter_rank=1024)) == whole


def test_size_is_that_of_the_imported_base(tmp_path: Path) -> None:
    """A .gguf file is several times larger once it is imported."""
    (tmp_path / "model").write_bytes(b"GGUF")
    before = bytes_to_come(settings(tmp_path))
    imported = tmp_path / "state" / "checkpoints" / "generations" / "000000"
    imported.mkdir(parents=True)
    tiny.llama().save_pretrained(imported)
    assert bytes_to_come(settings(tmp_path)) > before + 5 * (imported / "model.safetensors").stat().st_size
