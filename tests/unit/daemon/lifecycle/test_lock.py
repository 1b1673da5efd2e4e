"""One daemon per state directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.errors import AlreadyRunning
from daemon.lifecycle.lock import FILE_NAME, Holder, StateLock, holder_of

HOLD = """
import sys
from pathlib import Path
from daemon.lifecycle.lock import StateLock
with StateLock(Path(sys.argv[1]), now=5.0) as lock:
    lock.announce("http://127.0.0.1:1")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    """The file tells who holds it, since when, and where it listens."""
    with StateLock(tmp_path, now=7.0) as lock:
        lock.announce("http://127.0.0.1:8710")
        holder = holder_of(tmp_path)
    assert holder is not None
    assert (holder.started_at, holder.admin) == (7.0, "http://127.0.0.1:8710")


def test_a_second_daemon_is_told_who_is_there(tmp_path: Path) -> None:
    """Two on one directory: the second is refused, with the first one's process and address."""
    with StateLock(tmp_path, now=0.0) as lock:
        lock.announce("http://127.0.0.1:8710")
        with pytest.raises(AlreadyRunning, match=r"process \d+ on .*http://127.0.0.1:8710"), StateLock(tmp_path, now=0):
            pass
        assert holder_of(tmp_path) is not None


def test_nobody_holds_it_before_and_after(tmp_path: Path) -> None:
    """Without a daemon there is no holder, whatever the file says."""
    assert holder_of(tmp_path / "nowhere") is None
    assert holder_of(tmp_path) is None
    with StateLock(tmp_path, now=0.0):
        pass
    assert holder_of(tmp_path) is None
    (tmp_path / FILE_NAME).write_text(json.dumps({"pid": 1, "host": "h", "started_at": 0.0, "admin": ""}))
    assert holder_of(tmp_path) is None


def test_looking_does_not_hold_up_a_start(tmp_path: Path) -> None:
    """A look takes the lock for an instant only; a daemon can start right after it."""
    with StateLock(tmp_path, now=0.0):
        pass
    for _ in range(20):
        holder_of(tmp_path)
        with StateLock(tmp_path, now=0.0):
            pass


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    """After kill -9 the file is there, the lock is not."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.pid == process.pid
        process.kill()
        process.wait()
        with StateLock(tmp_path, now=0.0):
            assert holder_of(tmp_path) == Holder(os.getpid(), holder.host, 0.0)


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A learner that outlives the daemon must not keep the state directory."""
    with StateLock(tmp_path, now=0.0):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with child:
        with StateLock(tmp_path, now=0.0):
            assert child.poll() is None
        child.communicate(b"\n")


def test_a_damaged_file_still_refuses(tmp_path: Path) -> None:
    """Nonsense in a locked file names nobody, but the lock holds."""
    with StateLock(tmp_path, now=0.0):
        (tmp_path / FILE_NAME).write_text("{")
        with pytest.raises(AlreadyRunning, match="another process"), StateLock(tmp_path, now=0.0):
            pass


def test_what_is_done_later_hides_no_address(tmp_path: Path) -> None:
    """A database that is taken up while the service runs is told of like one at the start: commands still find it."""
    with StateLock(tmp_path, now=1.0) as lock:
        lock.tell("it checks the store")
        lock.announce("http://127.0.0.1:8710")
        lock.tell("it imports the base")
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.admin == "http://127.0.0.1:8710"
