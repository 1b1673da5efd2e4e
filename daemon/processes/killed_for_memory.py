"""Was a process killed for memory? What the kernel counts for its control group, and how large it was.

The kernel's out-of-memory killer ends a process with SIGKILL, which says nothing of who sent it. It counts its
kills in the victim's control group (also where the limit was that of a group above, or the machine's), and counts
before it kills: a count that has risen by the time the process is gone is evidence. One that has not is none
against it: other guards of memory (earlyoom, systemd-oomd, an orchestrator's) send the same signal.
"""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

CGROUPS = Path("/sys/fs/cgroup")
PROCESSES = Path("/proc")
# The kernel's own word for "before all others". A process may be given a higher number without any right.
FIRST_TO_GO = 1000
# By the controllers that a line of /proc/PID/cgroup names (none in version 2): where their groups are mounted, and
# the file that has the count.
COUNTS = {"": (".", "memory.events"), "memory": ("memory", "memory.oom_control")}


class KillCounter:
    """The kernel's count of kills for memory in the control group that a process is in.

    Reads version 2 of control groups, and version 1's memory controller. The process must still be there when
    this is made.
    """

    def __init__(self, pid: int, *, cgroups: Path = CGROUPS, processes: Path = PROCESSES) -> None:
        places = _places(pid, cgroups, processes)
        self._file = next((file for file in places if file.is_file()), None)
        self._before = self._count()

    def rise(self) -> int | None:
        """How many kills there were since this was made; None where the kernel does not tell."""
        now = self._count()
        return None if now is None or self._before is None else now - self._before

    def _count(self) -> int | None:
        if self._file is None:
            return None
        with suppress(OSError, ValueError):
            for line in self._file.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return None


def resident_bytes(pid: int) -> int | None:
    """What a process holds of main memory now; None where it is gone or hidden."""
    try:
        # A zombie holds nothing any more, which is no measure of what it held.
        return psutil.Process(pid).memory_info().rss or None
    except psutil.Error:
        return None


def children_of(pid: int, processes: Path = PROCESSES) -> list[int]:
    """The processes that one's first thread has started and that are still there; none where they are hidden."""
    try:
        # Asked for by all processes' parents, as psutil does, it takes many times as long.
        return [int(child) for child in (processes / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []


def offer_first(pid: int, processes: Path = PROCESSES) -> None:
    """Let the kernel take this process before all others when memory runs out, where it can be told so."""
    with suppress(OSError):
        (processes / str(pid) / "oom_score_adj").write_text(str(FIRST_TO_GO))


def _places(pid: int, cgroups: Path, processes: Path) -> Iterator[Path]:
    """Where the count may stand: at the group's path, or in a container that is told the host's, at the top."""
    for controllers, group in control_groups(pid, processes):
        if controllers in COUNTS:
            mounted, name = COUNTS[controllers]
            yield cgroups / mounted / group / name
            yield cgroups / mounted / name


def control_groups(process: int | str, processes: Path = PROCESSES) -> Iterator[tuple[str, Path]]:
    """The control groups that a process is in: by which controllers (none in version 2), and its path among them.

    Args:
        process: its number, or `self`.
    """
    with suppress(OSError):
        for line in (processes / str(process) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            yield controllers, Path(path.lstrip("/"))


# From glibc's malloc.h.
M_ARENA_MAX: Final = -8

M_MMAP_THRESHOLD: Final = -3

THRESHOLD_BYTES: Final = 256 * 1024


def share_one_arena() -> bool:
    """Tell glibc to keep one pool of memory for all threads and to give large blocks back at once.

    By default each thread has a pool of its own, and the size from which a block is given back grows with the
    largest one freed: batches of some megabytes then leave tens of megabytes behind in every pool. Python's threads
    take turns anyway. Called before other threads begin. False where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_ARENA_MAX, 1)) and bool(mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES))
