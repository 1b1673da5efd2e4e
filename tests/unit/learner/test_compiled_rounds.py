"""Rounds whose layers are compiled, each in a process of its own.

Compiling is what these tests take their time for: it is done once, into a folder of their own.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import orjson
import pytest

from checkpoints.generation_store import Published
from gate.measures import mean_nll
from learner.directory.report import Report, read_report
from learner.directory.round_directory import PROGRESS
from learner.job import run_round
from tests.unit.learner import tiny

pytestmark = pytest.mark.slow
ROOT: Final = Path(__file__).parents[3]
RECIPE: Final = tiny.SMALL.model_copy(update={"max_steps": 4})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama with dropout as generation 0: its steps draw random numbers."""
    model = tiny.llama()
    model.config.attention_dropout = 0.1
    return tiny.generation(tmp_path_factory.mktemp("base"), model, tiny.tokenizer(), "causal-lm")


def run(path: Path, base: Published, code: Path, **environment: str) -> Report:
    """Write a round that is to be compiled, and run it in a process that keeps its code in a folder."""
    tiny.causal_round(path, base, recipe=RECIPE, compile=True)
    own = {"TORCHINDUCTOR_CACHE_DIR": str(code), **environment}
    command = [sys.executable, "-m", "learner", str(path)]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return read_report(path)


def told(path: Path) -> set[str]:
    """Which events the learner told."""
    return {orjson.loads(line)["event"] for line in (path / PROGRESS).read_bytes().splitlines()}


def weights(path: Path) -> bytes:
    """The trained result, byte for byte."""
    return (path / "candidates" / "0.00" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round that has been run."""
    path = tmp_path_factory.mktemp("compiled") / "round"
    run(path, base, path.with_suffix(".code"))
    return path


def test_a_round_is_compiled_and_learns(compiled: Path) -> None:
    """And says so where it is looked at, not in its report: nothing is out of the ordinary."""
    report = read_report(compiled)
    assert report.training is not None
    assert report.training.compile_note == ""
    assert {"compiled"} == {"compiled", "not_compiled"} & told(compiled)
    new = report.slices["1"]
    assert mean_nll(new.candidates["0.00"]) < mean_nll(new.parent)


def test_the_same_round_gives_the_same_weights(tmp_path: Path, base: Published, compiled: Path) -> None:
    """From the code that was kept, to the last bit."""
    run(tmp_path / "again", base, compiled.with_suffix(".code"))
    assert weights(tmp_path / "again") == weights(compiled)


@pytest.mark.usefixtures("torch_settings_kept")
def test_without_a_compiler_a_round_trains_all_the_same(tmp_path: Path, base: Published, compiled: Path) -> None:
    """What it learns is what it learns compiled, but for rounding; progress and report say why it is not."""
    report = run(tmp_path / "plain", base, tmp_path / "code", PATH="/nowhere", CXX="")
    assert report.training is not None
    assert "ran as they are, not compiled" in report.training.compile_note
    assert {"not_compiled"} == {"compiled", "not_compiled"} & told(tmp_path / "plain")
    expected = read_report(compiled).training
    assert expected is not None
    assert report.training.losses == pytest.approx(expected.losses, rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("torch_settings_kept")
def test_a_classifier_is_not_compiled(tmp_path: Path) -> None:
    """Its passes have all kinds of shapes; it trains as ever, and the report says so."""
    bert = tiny.generation(tmp_path, tiny.bert(), tiny.tokenizer(bert=True), "classifier")
    path = tmp_path / "round"
    fresh, replay = tiny.labelled(20, seed=1), tiny.labelled(20, seed=2, first=1000)
    tiny.classifier_round(path, bert, fresh=fresh, replay=replay, recipe=tiny.SMALL, compile=True)
    report = run_round(path)
    assert report.training is not None
    assert "only packed text of a causal language model" in report.training.compile_note
