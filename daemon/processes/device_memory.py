"""How large the memory is that a round can have, by what tells without torch: so that a change of it is noticed."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from daemon.processes.killed_for_memory import CGROUPS, PROCESSES, control_groups

LIMITS: Final = {"": (".", "memory.max"), "memory": ("memory", "memory.limit_in_bytes")}
"""By the controllers that a line of /proc/self/cgroup names: where their groups are mounted, and the limit's file."""


def describe_memory(device: str, *, cgroups: Path = CGROUPS, processes: Path = PROCESSES) -> str:
    """The GPUs with their memory, where the device may be one, and main memory within its limits.

    Args:
        device: as in `learner.device`.
        cgroups: where control groups are mounted.
        processes: where the kernel shows processes.
    """
    main = min((psutil.virtual_memory().total, *_limits(cgroups, processes)))
    return f"{'' if device == 'cpu' else _gpus()}{main} bytes of main memory"


def _limits(cgroups: Path, processes: Path) -> Iterator[int]:
    for controllers, path in control_groups("self", processes):
        if controllers in LIMITS:
            mounted, name = LIMITS[controllers]
            top = cgroups / mounted
            for group in {top, *(top / part for part in (path, *path.parents))}:
                with suppress(OSError, ValueError):  # "max" is no number
                    yield int((group / name).read_text())


def _gpus() -> str:
    """Each GPU in a line; nothing where there is none, or nvidia-smi does not tell."""
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
