"""Memory that is freed goes back to the system, in a process of its own: what is told to the C library stays told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from learner.devices.large_blocks import keep_large_blocks_apart

MIB = 2**20
HOLES = """
import json, os, sys
from pathlib import Path
from learner.devices.large_blocks import keep_large_blocks_apart

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

told = sys.argv[1] == "told" and keep_large_blocks_apart(huge_pages=Path(sys.argv[2]))
# From now on the C library takes blocks of this size, and smaller ones, out of its heap, unless it was told otherwise.
bytearray(b"1") * 32_000_000
before = held()
blocks = [bytearray(b"1") * 8_000_000 for _ in range(40)]
del blocks[::2]
print(json.dumps({"told": told, "held": held() - before, "torch": os.environ.get("THP_MEM_ALLOC_ENABLE")}))
"""


@pytest.fixture
def gives(tmp_path: Path) -> Path:
    """What a kernel says that gives huge pages to who asks for them."""
    said = tmp_path / "enabled"
    said.write_text("always [madvise] never\n")
    return said


def after_holes(how: str, huge_pages: Path) -> dict[str, object]:
    """What a process holds of 320 MB of which it freed every second block."""
    command = [sys.executable, "-c", HOLES, how, str(huge_pages)]
    found: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


def test_what_is_freed_between_other_blocks_is_given_back(gives: Path) -> None:
    """Half of it; by itself the C library keeps all."""
    told, untold = after_holes("told", gives), after_holes("untold", gives)
    assert (told["told"], told["torch"]) == (True, "1")
    assert isinstance(told["held"], int)
    assert isinstance(untold["held"], int)
    assert told["held"] < 180 * MIB
    assert untold["held"] > 290 * MIB


@pytest.mark.parametrize("said", ["always madvise [never]\n", None])
def test_nothing_changes_where_the_kernel_gives_no_huge_pages(said: str | None, tmp_path: Path) -> None:
    """Each block would cost a fault for each 4 KiB."""
    if said is not None:
        (tmp_path / "enabled").write_text(said)
    environ = dict[str, str]()
    assert not keep_large_blocks_apart(environ, tmp_path / "enabled")
    assert not environ


def test_what_the_environment_says_stays(gives: Path) -> None:
    """Whoever set it knows the machine."""
    environ = {"THP_MEM_ALLOC_ENABLE": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    assert keep_large_blocks_apart(environ, gives)
    assert environ == {"THP_MEM_ALLOC_ENABLE": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
