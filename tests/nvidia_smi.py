"""A fake of nvidia-smi, put before all else on PATH: it tells of GPUs that are not here."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class FakeInstance:
    """An instance of a GPU that is divided (MIG); what is free and there in MiB."""

    uuid: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """A GPU; what is free and there in MiB."""

    uuid: str
    free: int | str
    total: int = 81_559
    name: str = "NVIDIA H100 80GB HBM3"
    capability: str = "9.0"
    instances: tuple[FakeInstance, ...] = ()


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, gpus: Sequence[FakeGpu], *, old: bool = False) -> None:
    """Let nvidia-smi tell of these GPUs, to a torch that computes on them, and let nothing hide any.

    Args:
        folder: for the fake.
        monkeypatch: puts it on PATH.
        gpus: in the order of the bus.
        old: whether its driver knows no `compute_cap`, and refuses a question for it.
    """
    lines = [f"{number}, {gpu.uuid}, {gpu.name}, {gpu.free}, {gpu.total}" for number, gpu in enumerate(gpus)]
    refuses = 'case "$*" in *compute_cap*) echo "Field \\"compute_cap\\" is not a valid field to query."; exit 2;; esac'
    with_capability = [f"{line}, {gpu.capability}" for line, gpu in zip(lines, gpus, strict=True)]
    script = f"""#!/bin/sh
{refuses if old else ""}
case "$*" in
  -L) printf '%s\\n' {shlex.quote(_names(gpus))};;
  "-q -x") printf '%s\\n' {shlex.quote(_memory(gpus))};;
  *compute_cap*) printf '%s\\n' {shlex.quote(chr(10).join(with_capability))};;
  *memory.free*) printf '%s\\n' {shlex.quote(chr(10).join(lines))};;
  *) printf '%s\\n' {shlex.quote(chr(10).join(lines))};;
esac
"""
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / "nvidia-smi"
    tool.write_text(script)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr("learner.devices.gpus.torch_computes_on_gpus", lambda: True)


def _names(gpus: Sequence[FakeGpu]) -> str:
    lines = []
    for number, gpu in enumerate(gpus):
        lines.append(f"GPU {number}: {gpu.name} (UUID: {gpu.uuid})")
        lines += [f"  MIG 1g.10gb     Device  {at}: (UUID: {one.uuid})" for at, one in enumerate(gpu.instances)]
    return "\n".join(lines)


def _memory(gpus: Sequence[FakeGpu]) -> str:
    told = "".join(
        "<gpu><mig_devices>"
        + "".join(
            f"<mig_device><index>{at}</index><fb_memory_usage><total>{one.total} MiB</total>"
            f"<free>{one.free} MiB</free></fb_memory_usage></mig_device>"
            for at, one in enumerate(gpu.instances)
        )
        + "</mig_devices></gpu>"
        for gpu in gpus
    )
    return f'<?xml version="1.0" ?><nvidia_smi_log>{told}</nvidia_smi_log>'
