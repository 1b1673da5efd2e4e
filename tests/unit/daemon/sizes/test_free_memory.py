"""Free memory is what the tightest of all limits leaves."""

from pathlib import Path

import psutil
import pytest

from daemon.sizes.free_memory import free_bytes

MIB = 2**20


def group(path: Path, limit: str, names: tuple[str, str, str]) -> None:
    """A control group that uses 100 MiB, of which the kernel gives 30 back when asked."""
    path.mkdir(parents=True, exist_ok=True)
    (path / names[0]).write_text(f"{limit}\n")
    (path / names[1]).write_text(f"{100 * MIB}\n")
    (path / "memory.stat").write_text(f"anon {70 * MIB}\n{names[2]} {30 * MIB}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


@pytest.mark.parametrize(
    ("line", "mounted", "names"), [("0::/pod/container", ".", V2), ("5:memory:/pod/container", "memory", V1)]
)
@pytest.mark.parametrize("below", [".", "pod", "pod/container"])
def test_a_limit_of_the_group_or_of_one_above_counts(
    tmp_path: Path, line: str, mounted: str, names: tuple[str, str, str], below: str
) -> None:
    """What the kernel would give back is free."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"9:cpu:/pod\n{line}\n")
    for place in (".", "pod", "pod/container"):
        group(tmp_path / "cg" / mounted / place, f"{512 * MIB}" if place == below else "max", names)
    assert free_bytes(tmp_path / "cg", tmp_path / "proc") == (512 - 70) * MIB


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    """Where nothing can be read too; within what comes and goes meanwhile."""
    there = free_bytes(tmp_path / "cg", tmp_path / "proc")
    assert there == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_group_that_is_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    """Never a negative number."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/\n")
    group(tmp_path / "cg", f"{50 * MIB}", V2)
    assert free_bytes(tmp_path / "cg", tmp_path / "proc") == 0
