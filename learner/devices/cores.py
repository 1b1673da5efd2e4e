"""How many cores there are to compute with, by what this machine has and by what a container may use of it."""

import math
import os
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Physical cores that this process may use, at least 1.

    The affinity and a container's CPU limit (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`) count: more threads than
    cores take turns and slow each other down.
    """
    here = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else here
    quota = _quota(cgroup)
    return max(1, min(here, allowed, here if quota is None else quota))


def _quota(cgroup: Path) -> int | None:
    try:
        quota, period = _v2(cgroup) if (cgroup / "cpu.max").exists() else _v1(cgroup)
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else None
    except (OSError, ValueError):
        return None  # no limit, or none that can be read


def _v2(cgroup: Path) -> tuple[str, str]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return quota, period


def _v1(cgroup: Path) -> tuple[str, str]:
    cpu = cgroup / "cpu"
    return (cpu / "cpu.cfs_quota_us").read_text(), (cpu / "cpu.cfs_period_us").read_text()
