"""`riverkeep watch` at a real terminal, in a pipe, and where the daemon goes."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemon.admin.app import create_app
from daemon.admin.listener import listening
from daemon.admin.token import Token, ensure_token
from daemon.control.facts.status import status_without_store
from daemon.exit_codes import ExitCode
from daemon.lifecycle.lock import StateLock
from daemon.settings.admin import AdminSettings
from tests.command_line import riverkeep, surroundings
from tests.unit.daemon.fakes import FakeControl

PATIENCE_S = 60.0
# Who begins these tests in the background leaves SIGINT ignored, and that is inherited.
WATCH = ["env", "--default-signal=INT", sys.executable, "-m", "daemon", "watch", "--every", "0.2"]
SIZES = ("COLUMNS", "LINES")
ROUND = {
    "number": 15,
    "phase": "train",
    "step": 40,
    "steps": 100,
    "gone_on_from": 0,
    "waits_for": "",
    "work": {"done": 40, "of": 100, "unit": "steps", "seconds_left": 180.0},
    "begun_at": 0.0,
    "reason": "40 samples are fresh",
    "fresh_samples": 40,
    "early_stop_samples": 0,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with settings."""
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\n')
    return tmp_path


@contextmanager
def daemon_on(home: Path, **facts: Any) -> Iterator[FakeControl]:
    """A daemon that says this of itself, with the lock, the token and the admin surface; who answers is a fake."""
    control, state = FakeControl(), home / "state"
    whole: Any = {**status_without_store(state), **control.status(), **facts}
    control.status = lambda: whole  # type: ignore[method-assign]
    settings = AdminSettings(port=0)
    with StateLock(state, now=0.0) as lock:
        token = ensure_token(settings, state)
        with listening(create_app(control, CollectorRegistry(), Token(token)), settings) as admin:
            lock.announce(admin.address)
            yield control


@contextmanager
def at_a_terminal(home: Path, columns: int = 100) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The command on a terminal of this width, and our end of it."""
    ours, theirs = pty.openpty()
    resize(theirs, columns)
    # As wide as the terminal is, not as wide as a shell says that began these tests.
    environment = {name: value for name, value in surroundings({"TERM": "xterm"}).items() if name not in SIZES}
    process = subprocess.Popen(WATCH, cwd=home, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def resize(terminal: int, columns: int) -> None:
    """Give a terminal another width."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))


def read_until(terminal: int, *words: str) -> str:
    """What a terminal shows until these words are there."""
    shown, deadline = "", time.monotonic() + PATIENCE_S
    while not all(word in shown for word in words):
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


def test_a_terminal_shows_all_of_it_and_is_left_as_it_was(home: Path) -> None:
    """Sentence, lights, the round, what needs a person and its command; Ctrl-C ends with 0, on the other screen."""
    with daemon_on(home, round=ROUND, waiting=[14]), at_a_terminal(home) as (process, ours):
        shown = read_until(ours, "Round 14 waits for your word", "about 3 min left", "stream", "disk", "Ctrl-C ends")
        assert "\x1b[?1049h" in shown
        assert "$ riverkeep explain round 14" in shown
        process.send_signal(signal.SIGINT)
        shown = read_until(ours, "\x1b[?1049l")
        assert process.wait(PATIENCE_S) == ExitCode.OK
        assert "Traceback" not in shown


def test_a_terminal_that_gets_narrow_is_drawn_anew(home: Path) -> None:
    """At once, in its new width: no line is longer."""
    with daemon_on(home, round=ROUND), at_a_terminal(home, columns=120) as (process, ours):
        read_until(ours, "Ctrl-C ends this, not the daemon.")
        resize(ours, 40)
        process.send_signal(signal.SIGWINCH)
        # A rule goes from edge to edge: of the old width it would be longer.
        shown = read_until(ours, f"m{'─' * 40}\x1b")
        assert "Traceback" not in shown


def test_a_terminal_that_is_dragged_to_another_size_is_drawn_on(home: Path) -> None:
    """Signals come in heaps, and meet it at each of its steps: none of them stops it."""
    with daemon_on(home, round=ROUND), at_a_terminal(home) as (process, ours):
        read_until(ours, "Ctrl-C ends")
        for width in range(40, 100, 4):
            resize(ours, width)
            for _ in range(100):
                process.send_signal(signal.SIGWINCH)
            read_until(ours, "Ctrl-C ends")
        assert process.poll() is None


def test_a_daemon_that_goes_ends_it(home: Path) -> None:
    """With a sentence and exit status 5, and the terminal as it was."""
    with at_a_terminal_of_a_daemon_that_ends(home) as (process, ours):
        shown = read_until(ours, "has ended")
        assert "\x1b[?1049l" in shown
        assert process.wait(PATIENCE_S) == ExitCode.NOT_RUNNING


@contextmanager
def at_a_terminal_of_a_daemon_that_ends(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The command, which has seen the daemon before that ended."""
    with daemon_on(home):
        terminal = at_a_terminal(home)
        process, ours = terminal.__enter__()
        read_until(ours, "Ctrl-C ends")
    try:
        yield process, ours
    finally:
        terminal.__exit__(None, None, None)


def test_in_a_pipe_it_tells_what_changes(home: Path) -> None:
    """A line at first, one where something is another, none for how far a phase is; and no control of a terminal."""
    with daemon_on(home, round=ROUND) as control:
        process = subprocess.Popen(
            WATCH, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=surroundings()
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert "round 15 trains" in first
            whole = control.status()
            whole["round"] = None
            second = process.stdout.readline()
            assert "no round is in progress" in second
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert (rest, process.wait(PATIENCE_S)) == ("", ExitCode.OK)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
    assert "\x1b" not in first + second


def test_without_a_daemon_there_is_nothing_to_watch(home: Path) -> None:
    """Exit status 5, and why."""
    run = riverkeep("watch", cwd=home)
    assert (run.returncode, "no daemon runs" in run.stderr) == (ExitCode.NOT_RUNNING, True)
