"""The benchmark of GPUs where there is none: its tiny plan runs, its full one is refused.

Takes half a minute, as it starts a learner's process for each round.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_models import EIGHT_B, HALF_B, ONE_B, TINY, TINY_TIED, Shape, build

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_tiny_plan_runs_whole_rounds(tmp_path: Path) -> None:
    """All weights, and LoRA with replay and KL, beside a plain loop: each figure of a GPU's run."""
    file = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--json", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == 0, ended.stderr
    figures: dict[str, Any] = json.loads(file.read_text())
    details = figures["details"]
    assert details["not_measured"] == []
    assert len(details["rounds"]) == 2
    assert len(details["loops"]) == 1
    for figure in details["rounds"].values():
        assert figure["tokens_per_second"] > 0
        assert figure["flops_per_second"] > figure["tokens_per_second"]
        assert {"load", "encode", "score", "train", "candidates"} <= figure["phase_seconds"].keys()
        assert 0 < figure["train_peak_bytes"] <= figure["peak_bytes"]
        assert figure["foretold_bytes"] == sum(figure["foretold_parts"].values())
    assert all(bar.keys() == {"name", "value"} for bar in figures["bars"]), "tiny models are held to nothing"


def test_without_a_gpu_the_full_plan_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a sentence that says what to do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == gpu.REFUSED
    assert "sees no CUDA device" in (said := capsys.readouterr().err)
    assert "--tiny" in said


def test_what_is_not_installed_is_named_before_anything_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On an image with PyTorch and nothing of ours."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("orjson", "pydantic") else find(name)
    )
    assert gpu.main(["--tiny"]) == gpu.REFUSED
    assert "orjson, pydantic not installed" in (said := capsys.readouterr().err)
    assert "--wheels" in said


def test_an_empty_folder_of_wheels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before pip is asked."""
    assert gpu.main(["--tiny", "--wheels", str(tmp_path)]) == gpu.REFUSED
    assert "holds no wheels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [(HALF_B, 494_005_120), (ONE_B, 1_235_814_400), (EIGHT_B, 8_030_261_248)],
    ids=lambda value: value.name if isinstance(value, Shape) else "",
)
def test_shapes_are_those_of_the_models_that_they_are_named_for(shape: Shape, parameters: int) -> None:
    """By the number of weights that their makers state; without Qwen's biases, 27,648 in all."""
    assert sum(weight.numel() for weight in build(shape, "meta").parameters()) == parameters


@pytest.mark.parametrize("shape", [HALF_B, EIGHT_B, TINY_TIED, TINY], ids=lambda shape: shape.name)
def test_flops_count_what_multiplies_a_token(shape: Shape) -> None:
    """Each linear map of the model, and the head also where its weight is the embedding."""
    model = build(shape, "meta")
    maps = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert shape.matrix_weights == sum(each.weight.numel() for each in maps)
    assert shape.flops_of_reading(100) - shape.flops_of_reading(0) == 4 * 100 * shape.layers * shape.hidden
