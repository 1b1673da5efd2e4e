"""A run says what it did not prove, and no test skips past that."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unproven import LACKS, MAKE, MOUNT, Lack, unproven

ROOT = Path(__file__).parents[2]
SKIPS = re.compile(r"pytest\.(skip|importorskip)\(|mark\.(skip|skipif|xfail)\b")
# What the embedded broker has not is proved on Apache Kafka in the same run, or said to be unproven by that one's lack.
MAY_SKIP = {"tests/unproven.py", "tests/streams_harness.py", "tests/docs/test_unproven.py"}


def test_every_skip_is_told_at_the_end() -> None:
    """A test skips for something lacking that is known by name; what pip installs may not be lacking at all."""
    skipping = {
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py") if SKIPS.search(path.read_text())
    }
    assert skipping <= MAY_SKIP


@pytest.mark.parametrize("lack", LACKS, ids=lambda lack: lack.missing.split()[0])
def test_something_lacking_is_told_once_with_what_to_do(lack: Lack) -> None:
    """However many tests skipped for it, and nothing that was not lacking."""
    reasons = [f"('tests/test_it.py', 7, 'Skipped: {lack.missing}')"] * 3
    assert unproven([*reasons, "('tests/test_it.py', 9, 'Skipped: of another kind')"]) == [lack]
    missing, promises = lack.lines()
    assert re.search(r": (apt install|run|see) ", missing)
    assert promises.startswith("This run did not prove ")


@pytest.mark.slow
def test_the_last_lines_of_a_run_say_what_it_did_not_prove() -> None:
    """Here one in which no program is found, on two workers as in `make test`."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "tests/docs/test_make.py"],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    last = run.stdout.partition(" unproven ")[2]
    assert all(last.count(line) == 1 for line in MAKE.lines())
    assert MOUNT.missing not in last
