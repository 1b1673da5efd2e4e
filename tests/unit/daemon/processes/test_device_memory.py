"""A change of the memory that a round can have is seen: main memory, a limit on it, GPUs."""

import os
from pathlib import Path

import psutil
import pytest

from daemon.processes.device_memory import describe_memory


def test_main_memory_counts_within_the_limit_of_a_control_group(tmp_path: Path) -> None:
    """Of the process's own group and of those above it, the lowest."""
    processes, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (processes / "self").mkdir(parents=True)
    (processes / "self" / "cgroup").write_text("0::/pod/container\n")
    (cgroups / "pod" / "container").mkdir(parents=True)
    total = psutil.virtual_memory().total
    (cgroups / "pod" / "container" / "memory.max").write_text("max\n")
    assert describe_memory("cpu", cgroups=cgroups, processes=processes) == f"{total} bytes of main memory"
    (cgroups / "pod" / "memory.max").write_text("1048576\n")
    assert describe_memory("cpu", cgroups=cgroups, processes=processes) == "1048576 bytes of main memory"


def test_gpus_are_named_with_their_memory_where_a_round_may_use_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for nvidia-smi; a device that is the CPU needs none."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA H100, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert describe_memory("auto").startswith("0, NVIDIA H100, 81559 MiB\n")
    assert "NVIDIA" not in describe_memory("cpu")
    tool.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert describe_memory("auto") == describe_memory("cpu")
