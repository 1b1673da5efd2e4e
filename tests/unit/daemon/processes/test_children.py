"""Processes that a killed daemon left behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.processes.children import child_environment, end_orphans

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A child of a daemon on `tmp_path`, and one of a daemon on another directory; both ignore SIGTERM."""
    children = [_child(tmp_path), _child(tmp_path / "other")]
    yield children
    for child in children:
        child.kill()
        child.communicate()


def _child(state_dir: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", STUBBORN]
    child = subprocess.Popen(command, env=child_environment(state_dir), stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def test_only_this_directorys_orphans_end(tmp_path: Path, left_behind: list[subprocess.Popen[bytes]]) -> None:
    """A stubborn orphan is killed; another directory's child is left alone."""
    mine, other = left_behind
    assert end_orphans(tmp_path, patience_seconds=0.3) == [mine.pid]
    assert mine.wait(10) == -signal.SIGKILL
    assert other.poll() is None


def test_a_child_does_not_speak_to_systemd(tmp_path: Path) -> None:
    """The notify socket is not passed on."""
    environment = child_environment(tmp_path, {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "PATH": "/bin"})
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG_USEC" not in environment
    assert environment["PATH"] == "/bin"
