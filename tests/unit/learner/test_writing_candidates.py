"""What a round has scored is written when it is asked for, and is then what was scored."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from checkpoints.files import durable_writes
from checkpoints.files.durable_writes import FAULT_VARIABLE, DurableStep
from checkpoints.generation_store import Published
from checkpoints.load import load_model, load_tokenizer
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import read_reference
from learner.__main__ import main
from learner.directory import trained_result
from learner.directory.kept_candidates import keep
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import RoundSlice, read_round, write_round
from learner.directory.trained_result import RESULT, WEIGHTS, read_result
from learner.job import run_round
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
FEW_STEPS = tiny.SMALL.model_copy(update={"max_steps": 2, "early_stop_checks": 0})
RECIPE = FEW_STEPS.model_copy(update={"ewc": 0.1})
SHARES = ("0.00", "0.50")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in bf16 as generation 0."""
    return tiny.generation(
        tmp_path_factory.mktemp("base"), tiny.llama(dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm"
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round that wrote all its candidates, which are small."""
    path = tiny.causal_round(tmp_path_factory.mktemp("small") / "round", base, recipe=RECIPE)
    run_round(path)
    return path


@pytest.fixture
def none_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is a large one."""
    monkeypatch.setattr(trained_result, "WRITTEN_AT_ONCE_BYTES", 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """The same round, as if the model were a large one."""
    path = tiny.causal_round(tmp_path_factory.mktemp("large") / "round", base, recipe=RECIPE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trained_result, "WRITTEN_AT_ONCE_BYTES", 0)
        run_round(path)
    return path


def files(directory: Path) -> dict[str, object]:
    """Everything in a directory."""
    return {str(path.relative_to(directory)): content(path) for path in directory.rglob("*") if path.is_file()}


def content(path: Path) -> object:
    """Every byte; of tensors with notes on them, which have no order of their own, the notes as they are read."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    begin = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:begin]), data[begin:]


def damage(path: Path) -> None:
    """Let one bit of a file be another, and of no link of it."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 0b10000
    path.unlink()
    path.write_bytes(data)


def test_nothing_is_written_whole_before_it_is_chosen(large: Path, small: Path) -> None:
    """The report is that of a round that writes all of them."""
    assert not (large / "candidates").exists()
    assert {path.name for path in (small / "candidates").iterdir()} == set(SHARES)
    assert read_report(large).slices == read_report(small).slices
    result = read_result(large)
    assert result is not None
    assert {name: each.parent_share for name, each in result.candidates.items()} == {"0.00": 0.0, "0.50": 0.5}
    assert result == read_result(small)


def test_what_is_asked_for_is_written_whole_and_once(
    large: Path, small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte what a round writes at its end: weights, what rounding cut off, importance, moments, tokenizer."""
    path = shutil.copytree(large, tmp_path / "round")
    assert main([str(path), "--write", "0.50"]) == 0
    assert '"name":"write"' in capfd.readouterr().out
    assert [each.name for each in (path / "candidates").iterdir()] == ["0.50"]
    written = path / "candidates" / "0.50"
    assert files(written) == files(small / "candidates" / "0.50")
    beside = {f"importance/{name}.safetensors" for name in ("residuals", "importance", "moments")}
    assert beside <= files(written).keys()
    when = (written / "model.safetensors").stat().st_mtime_ns
    assert main([str(path), "--write", "0.50"]) == 0
    assert (written / "model.safetensors").stat().st_mtime_ns == when


@pytest.mark.parametrize("name", ["0.25", "../parent", ""])
def test_what_was_not_scored_is_not_written(
    large: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A candidate's name is one of those that the round scored."""
    path = shutil.copytree(large, tmp_path / "round")
    assert main([str(path), "--write", name]) == 4
    assert "has no candidate" in capfd.readouterr().err
    assert files(path / "parent") == files(large / "parent")
    assert not (path / "candidates").exists()


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (f"{RESULT}/{WEIGHTS}", "weights.safetensors is damaged"),
        ("parent/model.safetensors", "candidate 0.50 cannot be made again"),
    ],
)
def test_what_is_not_what_was_scored_is_not_written(
    large: Path, tmp_path: Path, damaged: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One bit of what it is made from is another; nothing is left of the attempt."""
    path = shutil.copytree(large, tmp_path / "round")
    damage(path / damaged)
    assert main([str(path), "--write", "0.50"]) == 4
    assert said in capfd.readouterr().err
    assert not list((path / "candidates").glob("*"))


@pytest.mark.parametrize(
    "step",
    [
        DurableStep.STAGE_MAKE,
        DurableStep.STAGE_SYNC_FILE,
        DurableStep.STAGE_SYNC_DIRECTORY,
        DurableStep.PUBLISH_RENAME,
        DurableStep.PUBLISH_SYNC_PARENT,
    ],
)
def test_killed_anywhere_it_is_whole_or_not_there(large: Path, small: Path, tmp_path: Path, step: DurableStep) -> None:
    """And is written the next time."""
    path = shutil.copytree(large, tmp_path / "round")
    pid = os.fork()
    if not pid:
        durable_writes._reached.clear()
        os.environ[FAULT_VARIABLE] = f"{step.value}:kill"
        try:
            main([str(path), "--write", "0.50"])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    is_there = (path / "candidates" / "0.50").exists()
    assert is_there == (step is DurableStep.PUBLISH_SYNC_PARENT)
    assert main([str(path), "--write", "0.50"]) == 0
    assert files(path / "candidates") == {
        f"0.50/{name}": content for name, content in files(small / "candidates" / "0.50").items()
    }


def test_a_round_of_one_candidate_writes_it_and_nothing_beside_it(
    base: Published, small: Path, tmp_path: Path, none_at_once: None
) -> None:
    """However large: nothing is chosen."""
    recipe = RECIPE.model_copy(update={"interpolation": (0.5,)})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe)
    report = run_round(path)
    assert not (path / RESULT).exists()
    assert files(path / "candidates" / "0.50") == files(small / "candidates" / "0.50")
    assert report.slices["1"].candidates["0.50"] == read_report(small).slices["1"].candidates["0.50"]
    assert main([str(path), "--write", "0.50"]) == 0


@pytest.mark.parametrize("case", ["adapter", "merged", "labels", "float32"])
def test_every_kind_of_round_is_written_as_it_was_scored(tmp_path: Path, case: str, none_at_once: None) -> None:
    """What an adapter did not change is the parent's, merged or not; a grown head has its rows; float32 is exact."""
    path = tmp_path / "round"
    if case == "labels":
        base = grown_round(path)
    else:
        base = tiny.generation(tmp_path / "g", tiny.llama(), tiny.tokenizer(), "causal-lm")
        rounds = {"adapter": 1, "merged": 0}
        adapter = {"adapter": "lora", "adapter_rank": 2, "adapter_rounds": rounds[case]} if case in rounds else {}
        tiny.causal_round(path, base, recipe=FEW_STEPS.model_copy(update=adapter))
    scored = run_round(path).slices["anchor"].candidates
    for name in SHARES:
        assert main([str(path), "--write", name]) == 0
    # Whole models alone, as an earlier version left them: loaded from disk they score the same.
    shutil.rmtree(path / RESULT, ignore_errors=True)
    again = judged_again(tmp_path / "again", base, path)
    rescored = run_round(again).slices["anchor"].candidates
    for name in SHARES:
        assert [row.nll for row in rescored[name]] == pytest.approx([row.nll for row in scored[name]], rel=1e-6)


def grown_round(path: Path) -> Published:
    """Write a round that brings a label which its parent's head lacks; the parent."""
    base = tiny.generation(path.parent / "bert", tiny.bert(), tiny.tokenizer(bert=True), "classifier")
    write_round(
        path,
        replace(tiny.spec_for(base, kind="classifier", recipe=FEW_STEPS), new_labels=("engine",)),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=tiny.labelled(20, seed=2, labels=(*tiny.LABELS, "engine")),
        replay=tiny.labelled(20, seed=3, first=700),
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.labelled(20, seed=9, first=9000)))],
    )
    return base


def judged_again(path: Path, base: Published, trained: Path) -> Path:
    """A round that judges again what another one trained, on the same text."""
    kept = keep(trained, trained_in=1, judgings=1)
    earlier = read_round(trained)
    write_round(
        path,
        replace(earlier.spec, round=2, kept=kept),
        parent_dir=base.path,
        base_dir=base.path,
        kept_dir=trained,
        fresh=earlier.fresh,
        replay=earlier.replay,
        early_stop=[],
        slices=earlier.slices,
    )
    return path


@pytest.mark.parametrize("case", ["plain", "labels"])
def test_what_is_kept_is_judged_again_from_what_it_is_made_of(
    base: Published, large: Path, tmp_path: Path, case: str, none_at_once: None
) -> None:
    """Nothing is trained or written; the scores are those that it had, to the last bit."""
    if case == "labels":
        trained = tmp_path / "first"
        base = grown_round(trained)
        run_round(trained)
    else:
        trained = shutil.copytree(large, tmp_path / "first")
    path = judged_again(tmp_path / "again", base, trained)
    report, earlier = run_round(path), read_report(trained)
    assert (report.outcome, report.training) == (Outcome.TRAINED, earlier.training)
    assert {name: each.candidates for name, each in report.slices.items()} == {
        name: each.candidates for name, each in earlier.slices.items()
    }
    assert (path / RESULT / WEIGHTS).samefile(trained / RESULT / WEIGHTS)
    assert not (path / "candidates").exists()
    for each in (path, trained):
        assert main([str(each), "--write", "0.50"]) == 0
    assert files(path / "candidates") == files(trained / "candidates")


def test_each_candidate_says_what_it_answers(small: Path) -> None:
    """As its stored weights do: an engine that serves it is held to that."""
    for share in SHARES:
        directory = small / "candidates" / share
        reference = read_reference(directory)
        assert reference == reference_of(load_model(directory, "causal-lm"), load_tokenizer(directory))
        assert reference is not None
    told = {read_reference(small / "candidates" / share) for share in SHARES}
    assert len(told) == len(SHARES)
