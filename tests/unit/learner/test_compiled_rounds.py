"""Rounds whose layers are compiled, each in a process of its own, forked from this one so that torch is imported once.

Compiling is what these tests take their time for: it is done once, into a folder of their own, for a model of one layer
and one shape of passes.
"""

import signal
from pathlib import Path
from typing import Final

import pytest

from checkpoints.generation_store import Published
from gate.measures import mean_nll
from learner.directory.report import Report, read_report
from learner.job import run_round
from tests.unit.learner import tiny
from tests.unit.learner.lives import digests, ending, said

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("torch_settings_kept")]
RECIPE: Final = tiny.SMALL.model_copy(
    update={"max_steps": 4, "batch_sequences": 8, "early_stop_checks": 0, "interpolation": (0.0,)}
)
CODE: Final = "TORCHINDUCTOR_CACHE_DIR"
PROBED: Final = {"TORCHINDUCTOR_VEC_ISA_OK": "1"}
"""Torch believes the processor, and does not try each kind of its vectors with a program of its own."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama with dropout as generation 0: its steps draw random numbers."""
    model = tiny.llama(layers=1)
    model.config.attention_dropout = 0.1
    return tiny.generation(tmp_path_factory.mktemp("base"), model, tiny.tokenizer(), "causal-lm")


def write(path: Path, base: Published, save_seconds: float | None = None) -> Path:
    """A round that is to be compiled."""
    return tiny.causal_round(path, base, recipe=RECIPE, fresh=30, compile=True, save_seconds=save_seconds)


def run(path: Path, base: Published, **environment: str) -> Report:
    """Write a round and let it run to its end."""
    assert ending(write(path, base), environment=PROBED | environment) == 0
    return read_report(path)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where code is kept that was compiled."""
    return str(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, base: Published, code: str) -> Path:
    """A round that has been run."""
    path = tmp_path_factory.mktemp("compiled") / "round"
    run(path, base, **{CODE: code})
    return path


def test_a_round_is_compiled_and_learns(compiled: Path) -> None:
    """And says so where it is looked at, not in its report: nothing is out of the ordinary."""
    report = read_report(compiled)
    assert report.training is not None
    assert report.training.compile_note == ""
    assert said(compiled, "compiled")
    assert not said(compiled, "not_compiled")
    new = report.slices["1"]
    assert mean_nll(new.candidates["0.00"]) < mean_nll(new.parent)


def test_a_round_that_is_killed_goes_on_to_the_same_weights(
    tmp_path: Path, base: Published, compiled: Path, code: str
) -> None:
    """SIGKILL behind its second step; the next life loads the code that was kept, and reaches the last bit."""
    path = write(tmp_path / "killed", base, save_seconds=0.0)
    kept = PROBED | {CODE: code}
    assert ending(path, at=2, environment=kept) == -signal.SIGKILL
    assert ending(path, environment=kept) == 0
    (went_on,) = said(path, "goes_on")
    assert 2 <= went_on["step"] < RECIPE.max_steps
    assert len(said(path, "compiled")) == 2
    assert not said(path, "not_compiled")
    assert digests(path) == digests(compiled)


def test_without_a_compiler_a_round_trains_all_the_same(tmp_path: Path, base: Published, compiled: Path) -> None:
    """What it learns is what it learns compiled, but for rounding; progress and report say why it is not."""
    report = run(tmp_path / "plain", base, PATH="/nowhere", CXX="", **{CODE: str(tmp_path / "code")})
    assert report.training is not None
    assert "ran as they are, not compiled" in report.training.compile_note
    assert said(tmp_path / "plain", "not_compiled")
    assert not said(tmp_path / "plain", "compiled")
    expected = read_report(compiled).training
    assert expected is not None
    assert report.training.losses == pytest.approx(expected.losses, rel=1e-4, abs=1e-6)


def test_a_classifier_is_not_compiled(tmp_path: Path) -> None:
    """Its passes have all kinds of shapes; it trains as ever, and the report says so."""
    bert = tiny.generation(tmp_path, tiny.bert(), tiny.tokenizer(bert=True), "classifier")
    path = tmp_path / "round"
    fresh, replay = tiny.labelled(20, seed=1), tiny.labelled(20, seed=2, first=1000)
    tiny.classifier_round(path, bert, fresh=fresh, replay=replay, recipe=tiny.SMALL, compile=True)
    report = run_round(path)
    assert report.training is not None
    assert "only packed text of a causal language model" in report.training.compile_note
