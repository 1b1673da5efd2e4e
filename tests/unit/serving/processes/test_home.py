"""What engines leave behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serving.processes.home import PREFIX, engines_home


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of one that lives, nor of anybody else."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    names = [f"{PREFIX}{ended.pid}-a", f"{PREFIX}{os.getpid()}-b", f"{PREFIX}x-c", "others-1-d"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    with engines_home() as home:
        (home / "log").touch()
        assert {path.name for path in tmp_path.iterdir()} == {*names[1:], home.name}
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
