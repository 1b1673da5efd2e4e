"""The benchmark of GPUs where there is none: its tiny plan runs, its full one is refused.

Takes half a minute, as it starts a learner's process for each round.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from benchmarks import gpu, gpu_plan
from benchmarks.gpu_models import EIGHT_B, HALF_B, ONE_B, TINY, TINY_TIED, Shape, build
from benchmarks.gpu_plan import (
    COMPILED_1B,
    GB_OF_8B,
    LORA_8B,
    PARTS_OF_BARS,
    PLAIN_1B,
    TIMES_OF_KL,
    UTILISATION,
    Machine,
    Measured,
    Part,
    full_plan,
)
from benchmarks.gpu_rounds import RoundFigures, RoundTrial

FIGURES = RoundFigures(1000.0, 6e14, 40 * 10**9, 40 * 10**9, 40 * 10**9, {}, {})
"""Such as are within every bar."""
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


@pytest.mark.slow
def test_on_a_bare_image_what_it_says_it_needs_is_enough(tmp_path: Path) -> None:
    """One with PyTorch, transformers and what these need: `--needs`, wheels of that, `--wheels`, as the script says."""
    python = bare_environment(tmp_path / "bare", without=gpu.BROUGHT)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(python), "-m", "benchmarks.gpu", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False
        )

    refused = run("--tiny")
    assert refused.returncode == gpu.REFUSED
    assert "peft" in refused.stderr
    (tmp_path / "wheels").mkdir()
    for name in run("--needs").stdout.split():
        wheel_of(metadata.distribution(name), tmp_path / "wheels")
    ended = run("--wheels", str(tmp_path / "wheels"), "--tiny", "--json", str(tmp_path / "gpu.json"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["details"]["not_measured"] == []


def bare_environment(folder: Path, *, without: Collection[str]) -> Path:
    """A fake of an image: an environment with links to what PyTorch and transformers need here; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # torch itself cannot do without this one.
    left_out = set(without) - {"typing-extensions"}
    for distribution in needed_by("torch", "transformers", "pip", "setuptools"):
        if plain(distribution.name) in left_out:
            continue
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(distribution.locate_file(top)))
    return folder / "bin" / "python"


def needed_by(*names: str) -> list[metadata.Distribution]:
    """What is installed of some packages, and of all that they need."""
    found, left = dict[str, metadata.Distribution](), list(names)
    while left:
        if (name := plain(left.pop())) not in found:
            found[name] = metadata.distribution(name)
            wanted = map(Requirement, found[name].requires or ())
            left += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return list(found.values())


def plain(name: str) -> str:
    """A package's name as all write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_of(distribution: metadata.Distribution, folder: Path) -> None:
    """Pack what is installed of a package again; nothing can be fetched here."""
    tag = re.search(r"^Tag: (\S+)$", distribution.read_text("WHEEL") or "", flags=re.MULTILINE)
    assert tag is not None
    name = f"{distribution.name.replace('-', '_')}-{distribution.version}-{tag[1]}.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in distribution.files or ():
            # Scripts lie beside the packages.
            if ".." not in file.parts and "__pycache__" not in file.parts and (path := Path(file.locate())).is_file():
                wheel.write(path, str(file))


def test_all_that_is_held_to_a_bar_is_planned_within_the_time() -> None:
    """By what each part is guessed to take, with seconds left to start in; the largest model is not the last."""
    plan = full_plan()
    needed = {name for parts in PARTS_OF_BARS.values() for name in parts}
    last = max(at for at, part in enumerate(plan) if part.name in needed)
    assert sum(part.seconds for part in plan[: last + 1]) <= gpu._parser().parse_args([]).seconds - 20
    assert [part.name for part in plan].index(LORA_8B) < last


def test_a_bar_that_was_not_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is no success, though all that was measured is within its bar; of a single part only its own are asked."""
    left_out = {COMPILED_1B, LORA_8B}

    def measure(part: Part, _: Path, __: str, measured: Measured) -> None:
        if part.name in left_out:
            measured.not_measured.append(f"{part.name}: it failed")
        elif isinstance(part.what, RoundTrial):
            measured.rounds[part.name] = FIGURES

    monkeypatch.setattr(gpu_plan, "_measure", measure)
    monkeypatch.setattr(gpu_plan.Machine, "here", lambda device: Machine(device, "H100", 1e15, 1e15))
    status = gpu_plan.run(tiny=False, seconds=1e9, only=None, json_file=tmp_path / "gpu.json")
    said = " ".join(capsys.readouterr().out.split())
    assert status == 1
    for bar in (UTILISATION, GB_OF_8B):
        assert f"NOT MEASURED, and has to be reached: {bar}" in said
    assert f"reached: {TIMES_OF_KL}" not in said
    told = json.loads((tmp_path / "gpu.json").read_text())["details"]["bars_not_measured"]
    assert told == [UTILISATION, GB_OF_8B]
    assert gpu_plan.run(tiny=False, seconds=1e9, only=PLAIN_1B, json_file=None) == 0
    assert gpu_plan.run(tiny=False, seconds=1e9, only=LORA_8B, json_file=None) == 1
    # Seconds in which nothing can be measured.
    assert gpu_plan.run(tiny=False, seconds=5, only=None, json_file=None) == 1


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
