"""What the kernel counts of its kills, read from files laid out as it lays them out."""

import os
from pathlib import Path

import pytest

from daemon.processes.killed_for_memory import KillCounter, offer_first, resident_bytes

EVENTS = "low 0\nhigh 0\nmax 31\noom 2\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VERSION_2 = "0::/riverkeep.service\n"
VERSION_1 = "9:name=systemd:/\n4:memory:/riverkeep.service\n1:cpu:/\n0::/\n"


def a_process(tmp_path: Path, groups: str) -> KillCounter:
    """A counter for process 7, which is in these groups."""
    (tmp_path / "proc" / "7").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text(groups)
    return KillCounter(7, cgroups=tmp_path / "cgroup", processes=tmp_path / "proc")


@pytest.mark.parametrize(
    ("groups", "file", "content"),
    [
        (VERSION_2, "riverkeep.service/memory.events", EVENTS),
        (VERSION_2, "memory.events", EVENTS),
        (VERSION_1, "memory/riverkeep.service/memory.oom_control", CONTROL),
        (VERSION_1, "memory/memory.oom_control", CONTROL),
    ],
    ids=["version 2", "version 2 in a container", "version 1", "version 1 in a container"],
)
def test_kills_since_it_was_made_are_counted(tmp_path: Path, groups: str, file: str, content: str) -> None:
    """What happened before is not, in both versions of control groups."""
    path = tmp_path / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(content.format(3))
    counter = a_process(tmp_path, groups)
    assert counter.rise() == 0
    path.write_text(content.format(5))
    assert counter.rise() == 2


@pytest.mark.parametrize("groups", [VERSION_2, VERSION_1, "", "8:pids:/a:b\n"])
def test_without_the_kernels_count_nothing_is_claimed(tmp_path: Path, groups: str) -> None:
    """No such files, or no such controller, is no evidence either way."""
    assert a_process(tmp_path, groups).rise() is None


@pytest.mark.parametrize("content", ["oom 2\n", "oom_kill many\n", ""])
def test_a_file_without_the_count_claims_nothing(tmp_path: Path, content: str) -> None:
    """Kernels before 4.13 do not count kills."""
    path = tmp_path / "cgroup" / "riverkeep.service" / "memory.events"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert a_process(tmp_path, VERSION_2).rise() is None


def test_a_process_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """It may end at any moment, and not every system has these files."""
    gone = 2**22 + 1  # above the kernel's highest number
    assert KillCounter(gone).rise() is None
    assert resident_bytes(gone) is None
    offer_first(gone)


def test_memory_of_a_living_process_is_seen() -> None:
    """This interpreter holds more than a megabyte."""
    held = resident_bytes(os.getpid())
    assert held is not None
    assert held > 1 << 20
