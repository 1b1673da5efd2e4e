"""The learner's process, with scripts that stand in for a learner that behaves badly."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from daemon.processes.learner import LearnerEnding, LearnerExit, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from learner.directory.progress_event import ProgressEvent
from tests.disks import files_limited
from tests.harness import wait_until

PATIENT = LearnerLimits(silence=60, time=60)


def learner(script: str) -> LearnerProcess:
    """A stand-in learner: a Python script that gets the round directory as its argument."""
    return LearnerProcess(command=(sys.executable, "-c", script))


def run(
    script: str, directory: Path, limits: LearnerLimits = PATIENT, stop_when: ProgressEvent | None = None
) -> tuple[LearnerExit, list[ProgressEvent]]:
    """Run a stand-in to its end, or until it has said `stop_when`."""
    heard: list[ProgressEvent] = []
    ended = learner(script).run(
        directory, limits=limits, on_progress=heard.append, must_stop=lambda: stop_when in heard
    )
    return ended, heard


def test_progress_is_heard_line_by_line(tmp_path: Path) -> None:
    """JSON objects are handed on; what a library prints between them is not."""
    script = """
import sys
print('{"event": "phase", "name": "train"}')
print("Loading weights: 100%")
print('[1, 2]')
sys.stdout.write('{"event": "step", '); sys.stdout.flush()
print('"step": 1}')
sys.stderr.write("a warning")
"""
    ended, heard = run(script, tmp_path)
    assert ended.ending is LearnerEnding.FINISHED
    assert heard == [ProgressEvent("phase", name="train"), ProgressEvent("step", step=1)]
    assert (tmp_path / "learner.log").read_text() == "a warning"


def test_a_run_is_given_the_context_in_which_it_begins(tmp_path: Path) -> None:
    """As it is then, beside what every run is given."""
    script = "import os; open('seen', 'w').write(os.environ['TRACEPARENT'] + os.environ['OMP_WAIT_POLICY'])"
    contexts = iter(["first", "second"])
    process = LearnerProcess(
        command=(sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {script}"),
        context=lambda: {"TRACEPARENT": next(contexts)},
    )
    for context in ("first", "second"):
        process.run(tmp_path, limits=PATIENT, on_progress=lambda _: None, must_stop=lambda: False)
        assert (tmp_path / "seen").read_text() == f"{context}PASSIVE"


def test_a_whole_pipe_of_last_words_is_heard(tmp_path: Path) -> None:
    """Lines written right before the end are not lost."""
    script = 'print(\'\\n\'.join(\'{"event": "step", "step": %d}\' % i for i in range(4000)), flush=True)'
    _, heard = run(script, tmp_path)
    assert [event.step for event in heard] == list(range(4000))


@pytest.mark.parametrize(
    ("script", "ending", "says"),
    [
        ("raise SystemExit(3)", LearnerEnding.OUT_OF_MEMORY, "ran out of memory"),
        (
            "import sys; sys.stderr.write('no slices.json\\n'); sys.exit(4)",
            LearnerEnding.BAD_DIRECTORY,
            "no slices.json",
        ),
        (
            "import sys; sys.stderr.write('no space\\n'); sys.exit(5)",
            LearnerEnding.NO_ROOM,
            "no room on the disk: no space",
        ),
        ("raise KeyError('weight')", LearnerEnding.CRASHED, "status 1: KeyError: 'weight'"),
        ("import os; os.kill(os.getpid(), 9)", LearnerEnding.OUT_OF_MEMORY, "killed by signal 9, which the kernel's"),
        (
            "import sys; sys.stderr.write('rank 1 of 2 was ended by signal 9 (SIGKILL)\\n'); sys.exit(137)",
            LearnerEnding.OUT_OF_MEMORY,
            "rank 1 of 2 was ended by signal 9 (SIGKILL), which the kernel's",
        ),
        (
            "import sys; sys.stderr.write('rank 0 of 2 was ended by signal 11 (SIGSEGV)\\n'); sys.exit(139)",
            LearnerEnding.CRASHED,
            "rank 0 of 2 was ended by signal 11 (SIGSEGV)",
        ),
        ("import os; os.kill(os.getpid(), 11)", LearnerEnding.CRASHED, "killed by signal 11 (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 40)", LearnerEnding.CRASHED, "killed by signal 40"),
    ],
)
def test_how_it_ended_is_told(tmp_path: Path, script: str, ending: LearnerEnding, says: str) -> None:
    """Exit statuses and signals become an ending and a sentence."""
    ended, _ = run(script, tmp_path)
    assert ended.ending is ending
    assert says in ended.detail


@pytest.mark.parametrize(("status", "ending"), [(0, LearnerEnding.FINISHED), (3, LearnerEnding.OUT_OF_MEMORY)])
def test_a_log_without_room_changes_no_ending(tmp_path: Path, status: int, ending: LearnerEnding) -> None:
    """The log is a convenience: without it the exit is judged all the same, and a warning says what is missing."""
    script = f"import sys; sys.stderr.write('x' * 9000); sys.exit({status})"
    with capture_logs() as logged, files_limited(4096):
        ended, _ = run(script, tmp_path)
    assert ended.ending is ending
    (event,) = [each for each in logged if each["event"] == "learner_log_not_written"]
    assert event["reason"] == f"File too large: {tmp_path / 'learner.log'}"


def test_a_silent_learner_is_killed(tmp_path: Path) -> None:
    """Silence beyond its limit ends it, and the sentence says so."""
    ended, _ = run("import time; time.sleep(600)", tmp_path, LearnerLimits(silence=0.5, time=60))
    assert ended.ending is LearnerEnding.HUNG
    assert "said nothing" in ended.detail


def test_a_kill_from_outside_names_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL that is not ours counts as out of memory, with the kernel's count and the learner's size."""

    class OneKill:
        def __init__(self, pid: int) -> None: ...

        def rise(self) -> int:
            return 1

    monkeypatch.setattr("daemon.processes.learner_process.KillCounter", OneKill)
    heard: list[ProgressEvent] = []

    def kill_when_heard() -> bool:
        if heard:
            os.kill(number_in(heard[0]), signal.SIGKILL)
        return False

    script = 'import os, time; print(\'{"event": "step", "step": %d}\' % os.getpid(), flush=True); time.sleep(600)'
    ended = learner(script).run(tmp_path, limits=PATIENT, on_progress=heard.append, must_stop=kill_when_heard)
    assert ended.ending is LearnerEnding.OUT_OF_MEMORY
    assert "it has counted 1 here" in ended.detail
    assert "GiB of main memory when last looked at" in ended.detail


def test_the_kernel_would_take_a_learner_first(tmp_path: Path) -> None:
    """Where memory runs out, ingestion and serving stay."""
    script = """
import time
while int(open("/proc/self/oom_score_adj").read()) < 1000:
    time.sleep(0.01)
"""
    ended, _ = run(script, tmp_path, LearnerLimits(silence=10, time=10))
    assert ended.ending is LearnerEnding.FINISHED


def test_a_learner_that_overruns_is_killed(tmp_path: Path) -> None:
    """Talking does not buy time."""
    script = 'import time\nwhile True: print(\'{"event": "alive"}\', flush=True); time.sleep(0.05)'
    ended, _ = run(script, tmp_path, LearnerLimits(silence=60, time=0.5))
    assert ended.ending is LearnerEnding.OUT_OF_TIME


def test_its_workers_end_with_it(tmp_path: Path) -> None:
    """The whole process group is killed, also what ignores a polite request."""
    script = """
import os, signal, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print('{"event": "worker", "step": %d}' % worker.pid, flush=True)
print('{"event": "ready"}', flush=True)
time.sleep(600)
"""
    ended, heard = run(script, tmp_path, stop_when=ProgressEvent("ready"))
    assert ended.ending is LearnerEnding.STOPPED
    wait_until(lambda: _is_gone(number_in(heard[0])))


def test_workers_left_behind_end_too(tmp_path: Path) -> None:
    """A learner that ends by itself leaves nothing running and is not waited for by their open pipes."""
    script = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print('{"event": "worker", "step": %d}' % worker.pid, flush=True)
"""
    ended, heard = run(script, tmp_path)
    assert ended.ending is LearnerEnding.FINISHED
    wait_until(lambda: _is_gone(number_in(heard[0])))


def test_endless_lines_take_bounded_memory(tmp_path: Path) -> None:
    """A line without an end is dropped, and later lines are heard."""
    script = "import sys; sys.stdout.write('x' * 3_000_000); print(); print('{\"event\": \"done\"}')"
    _, heard = run(script, tmp_path)
    assert heard == [ProgressEvent("done")]


def test_a_learner_steps_back_on_the_processor(tmp_path: Path) -> None:
    """Before the process that started it, whose own niceness it has besides."""
    process = LearnerProcess(
        command=(
            sys.executable,
            "-c",
            'import os, time; time.sleep(0.2); print(\'{"event": "nice", "step": %d}\' % os.nice(0))',
        ),
        nice=3,
    )
    heard: list[ProgressEvent] = []
    process.run(tmp_path, limits=PATIENT, on_progress=heard.append, must_stop=lambda: False)
    assert heard == [ProgressEvent("nice", step=os.nice(0) + 3)]


def number_in(event: ProgressEvent) -> int:
    """The number that a stand-in told, as if it were a step's."""
    assert event.step is not None
    return event.step


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
