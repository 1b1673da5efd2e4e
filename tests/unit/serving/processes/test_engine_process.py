"""An engine ends whole: with what it began, when it is told to, when it is killed, and when who started it is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from serving.processes.engine_process import EngineProcess
from serving.processes.launch import EngineLaunch
from tests.daemon_harness import ROOT
from tests.harness import wait_until

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
ENGINE = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {DEAF!r}])
"""
STARTER = """
import sys
from pathlib import Path
from serving.processes.engine_process import EngineProcess
from serving.processes.launch import EngineLaunch
import os, signal
EngineProcess(EngineLaunch((sys.executable, "-c", sys.argv[1]), dict(os.environ)), Path(sys.argv[2]))
signal.pause()
"""


def family(pid: int) -> list[psutil.Process]:
    """A guardian's engine and what that began, once both are there."""
    found = wait_until(
        lambda: len(below := psutil.Process(pid).children(recursive=True)) == 2 and below, what="both processes"
    )
    return list(found)


def start(output: Path, program: str) -> EngineProcess:
    """An engine of two processes."""
    process = EngineProcess(EngineLaunch((sys.executable, "-c", program), {}), output)
    wait_until(lambda: process.ended or "up" in output.read_text(), what="its second process")
    return process


def test_told_to_end_it_ends_with_what_it_began(tmp_path: Path) -> None:
    """Though what it began takes no word."""
    process = start(tmp_path / "log", ENGINE)
    both = family(process.pid)
    process.end()
    assert not psutil.wait_procs(both, timeout=20)[1]
    assert "its process ended with signal SIGTERM (it wrote: up)" in process.ended


def test_killed_it_leaves_nothing(tmp_path: Path) -> None:
    """What it began holds the memory that the next engine needs."""
    process = start(tmp_path / "log", ENGINE)
    both = family(process.pid)
    both[0].kill()
    assert not psutil.wait_procs(both, timeout=20)[1]
    wait_until(lambda: "signal SIGKILL" in process.ended, what="the word of its end")
    process.end()


def test_it_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    """Killed, that one cannot end it any more."""
    with started(tmp_path / "log") as (starter, _, both):
        starter.kill()
        assert not psutil.wait_procs(both, timeout=30)[1]


def test_it_does_not_outlive_its_guardian(tmp_path: Path) -> None:
    """Though what it began may: nobody is left to know of it."""
    with started(tmp_path / "log") as (_, guardian, both):
        guardian.kill()
        assert not psutil.wait_procs(both[:1], timeout=30)[1]
        both[1].kill()


@contextmanager
def started(log: Path) -> Iterator[tuple[psutil.Process, psutil.Process, list[psutil.Process]]]:
    """A process that has started an engine; its guardian; the engine and what that began."""
    with subprocess.Popen([sys.executable, "-c", STARTER, ENGINE, str(log)], cwd=ROOT) as starter:
        try:
            wait_until(lambda: log.exists() and "up" in log.read_text(), what="the engine")
            (guardian,) = psutil.Process(starter.pid).children()
            yield psutil.Process(starter.pid), guardian, family(guardian.pid)
        finally:
            starter.kill()


def test_its_status_and_words_are_told(tmp_path: Path) -> None:
    """Of one that ends by itself, and of one that is not there."""
    process = EngineProcess(EngineLaunch((sys.executable, "-c", "print('no room'); exit(3)"), {}), tmp_path / "log")
    wait_until(lambda: process.ended == "its process ended with status 3 (it wrote: no room)", what="its words")
    process.end()
    process = EngineProcess(EngineLaunch(("/no/such/engine",), {}), tmp_path / "log")
    wait_until(lambda: "No such file" in process.ended, what="its absence")
    process.end()
