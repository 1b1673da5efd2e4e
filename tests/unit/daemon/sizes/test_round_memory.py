"""What memory a round has where the settings let it run, beside what answers there; by a fake of nvidia-smi."""

from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import torch

from daemon.sizes import checkpointing, round_memory, sequence_length
from daemon.sizes.checkpointing import checkpointing_now
from daemon.sizes.estimate import GIB, serving_bytes
from daemon.sizes.round_memory import bytes_computed_in, left_to_round, memory_of_round, taken_by_serving
from daemon.sizes.sequence_length import choose_length
from learner.devices.device import choose
from learner.process_settings import LearnerSettings
from learner.settings import Precision, RecipeSettings
from serving.processes.settings import EngineProcessSettings
from serving.settings import ServingSettings
from tests.models import make_causal
from tests.nvidia_smi import FakeGpu, put_on_path
from tests.unit.daemon.sizes.test_sequence_length import LLAMA_1B, settings

MIB = 2**20
TWO = [FakeGpu("GPU-a", 10_000, 80_000), FakeGpu("GPU-b", 70_000, 80_000)]
ON_SECOND = LearnerSettings(device="cuda:1")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that something else fills, and one that is nearly empty."""
    put_on_path(tmp_path / "bin", monkeypatch, TWO)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("learner", "shown", "free"),
    [
        (LearnerSettings(), None, 10_000),
        (ON_SECOND, None, 70_000),
        (LearnerSettings(), "1", 70_000),
        (LearnerSettings(devices=2), None, 10_000),
        (LearnerSettings(devices="all"), None, 10_000),
        (LearnerSettings(devices="all"), "GPU-b", 70_000),
    ],
)
def test_it_is_that_of_the_gpus_it_runs_on_and_the_fullest_bounds(
    learner: LearnerSettings, shown: str | None, free: int
) -> None:
    """Not of the emptiest that is there."""
    memory = memory_of_round(learner, {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown})
    assert (memory.free, memory.device_type, memory.ranks) == (free * MIB, "cuda", 1)


@pytest.mark.usefixtures("two_gpus")
def test_on_a_cpu_it_is_main_memory_which_its_processes_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever GPUs there are, where they are hidden or not wanted."""
    monkeypatch.setattr(round_memory, "free_bytes", lambda: 12 * GIB)
    for learner, environ in (
        (LearnerSettings(device="cpu", devices=3), {}),
        (LearnerSettings(devices=3), {"CUDA_VISIBLE_DEVICES": ""}),
    ):
        memory = memory_of_round(learner, environ)
        assert (memory.free, memory.device_type, memory.ranks) == (12 * GIB, "cpu", 3)
        assert left_to_round(ServingSettings(enabled=False), memory, LLAMA_1B) == 4 * GIB


def test_a_gpu_whose_memory_nobody_tells_has_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round there is not sized by what is free elsewhere."""
    put_on_path(tmp_path / "bin", monkeypatch, [FakeGpu("GPU-a", "[N/A]"), TWO[1]])
    assert memory_of_round(LearnerSettings()).free is None
    assert memory_of_round(LearnerSettings(devices=2)).free is None
    assert memory_of_round(ON_SECOND).free == 70_000 * MIB
    make_causal(tmp_path / "model")
    decided = checkpointing_now(tmp_path / "model", "causal-lm", RecipeSettings(), LearnerSettings())
    assert "nvidia-smi does not tell" in decided.why


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("learner", "serving", "taken"),
    [
        ({}, {}, serving_bytes(LLAMA_1B)),
        ({"devices": 2}, {}, serving_bytes(LLAMA_1B)),
        ({"device": "cuda:1"}, {}, 0),
        ({"device": "cuda:1"}, {"device": "cuda:1"}, serving_bytes(LLAMA_1B)),
        ({}, {"device": "cpu"}, 0),
        ({}, {"enabled": False}, 0),
        ({"device": "cpu"}, {"device": "cpu"}, serving_bytes(LLAMA_1B)),
        ({"device": "cpu"}, {}, serving_bytes(LLAMA_1B) - 2 * LLAMA_1B.stored_bytes),
        ({}, {"engine": "vllm"}, round(0.9 * 80_000 * MIB)),
        ({"device": "cuda:1"}, {"engine": "vllm"}, 0),
        (
            {"device": "cuda:1"},
            {"engine": "vllm", "engine_process": {"environment": ("CUDA_VISIBLE_DEVICES=GPU-b",)}},
            round(0.9 * 80_000 * MIB),
        ),
        (
            {"device": "cuda:1"},
            {"engine": "vllm", "engine_process": {"arguments": ("--tensor-parallel-size=2",), "two_at_once": False}},
            round(0.92 * 80_000 * MIB),
        ),
        (
            {},
            {"engine": "vllm", "engine_process": {"arguments": ("--gpu-memory-utilization", "0.3")}},
            round(0.6 * 80_000 * MIB),
        ),
    ],
)
def test_what_answers_is_taken_off_where_it_shares_the_gpu(
    learner: dict[str, object], serving: dict[str, object], taken: int
) -> None:
    """And nowhere else; an engine takes its share of the card as often as it is there."""
    memory = memory_of_round(LearnerSettings.model_validate(learner), {})
    assert taken_by_serving(ServingSettings.model_validate(serving), memory, LLAMA_1B, {}) == taken


@pytest.mark.usefixtures("two_gpus")
def test_what_answers_already_is_not_taken_off_twice() -> None:
    """What it holds is not free; a swap brings another one."""
    memory = memory_of_round(LearnerSettings(), {})
    vllm = ServingSettings(engine="vllm")
    assert taken_by_serving(vllm, memory, LLAMA_1B, {}, answers_now=True) == round(0.45 * 80_000 * MIB)
    one = ServingSettings(engine="vllm", engine_process=EngineProcessSettings(two_at_once=False))
    assert taken_by_serving(one, memory, LLAMA_1B, {}, answers_now=True) == 0
    assert taken_by_serving(ServingSettings(), memory, LLAMA_1B, {}, answers_now=True) == LLAMA_1B.stored_bytes


@pytest.mark.parametrize("precision", get_args(Precision))
def test_what_is_reckoned_with_is_what_the_learner_computes_in(precision: Precision) -> None:
    """On a CPU, as the learner itself chooses it; on a GPU that has no bfloat16 of its own likewise."""
    chosen = choose("cpu", precision).compute
    assert bytes_computed_in(precision, native_bfloat16=False) == chosen.itemsize
    assert bytes_computed_in("auto", native_bfloat16=True) == torch.bfloat16.itemsize
    assert bytes_computed_in("float32", native_bfloat16=True) == torch.float32.itemsize


@pytest.mark.parametrize(
    ("capability", "for_gpus", "precision", "where"),
    [
        ("9.0", True, "auto", ("cuda", 2)),
        ("9.0", True, "float32", ("cuda", 4)),
        ("7.5", True, "auto", ("cuda", 4)),
        ("9.0", False, "auto", ("cpu", 4)),
        ("9.0", False, "bfloat16", ("cpu", 2)),
    ],
)
@pytest.mark.parametrize("of", [sequence_length, checkpointing])
def test_lengths_and_checkpointing_go_by_where_and_in_what_a_round_computes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    of: ModuleType,
    capability: str,
    precision: Precision,
    where: tuple[str, int],
    for_gpus: bool,
) -> None:
    """A torch that was built for CPUs computes on one, beside whatever GPU."""
    put_on_path(tmp_path / "bin", monkeypatch, [FakeGpu("GPU-a", 10_000, capability=capability)])
    monkeypatch.setattr("learner.devices.gpus.torch_computes_on_gpus", lambda: for_gpus)
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(
        of, "shape_of_files", lambda *_, device_type, compute_bytes: asked.append((device_type, compute_bytes))
    )
    learner = LearnerSettings(recipe=RecipeSettings(precision=precision))
    if of is checkpointing:
        checkpointing_now(tmp_path, "causal-lm", learner.recipe, learner)
    else:
        choose_length(settings(tmp_path).model_copy(update={"learner": learner}), None)
    assert asked == [where]
