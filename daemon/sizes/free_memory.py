"""How much main memory is free: the machine's, within the limits of this process's control groups."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from daemon.processes.killed_for_memory import CGROUPS, PROCESSES, control_groups

# By the controllers that a line of /proc/self/cgroup names (none in version 2): where their groups are mounted, the
# files of limit and use (bytes), and the line of memory.stat that says how much the kernel gives back when asked.
FILES = {
    "": (".", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_bytes(cgroups: Path = CGROUPS, processes: Path = PROCESSES) -> int:
    """Bytes that can be taken before the machine, or a control group, has no more."""
    return max(0, min((psutil.virtual_memory().available, *_left_in_groups(cgroups, processes))))


def _left_in_groups(cgroups: Path, processes: Path) -> Iterator[int]:
    for controllers, path in control_groups("self", processes):
        if controllers in FILES:
            mounted, *names = FILES[controllers]
            top = cgroups / mounted
            # In a container that is told the host's path the group is at the top.
            for group in {top, *(top / part for part in (path, *path.parents))}:
                yield from _left(group, *names)


def _left(group: Path, limit: str, use: str, given_back: str) -> Iterator[int]:
    """Of one group; nothing where it has no limit."""
    with suppress(OSError, ValueError):
        most = int((group / limit).read_text())
        used = int((group / use).read_text())
        lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield most - used + sum(int(value) for name, value in lines if name == given_back)
