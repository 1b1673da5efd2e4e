"""The process of a comparison, with scripts that stand in for one that behaves badly, and the real one, killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.processes.children import OWNER_VARIABLE, child_environment
from daemon.processes.comparison_process import ComparisonEnding, ComparisonExit, ComparisonProcess
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt
from tests.harness import wait_until

ROOT = Path(__file__).parents[4]
MODEL = ROOT / "daemon/demo/data/model"
PROMPT = "The <script>alert(1)</script> river\nrises"
READ = "import json, os, sys, time; asked = json.loads(sys.stdin.readline())\n"
TOLD = "def tell(event, **more): print(json.dumps({'event': event, 'generation': 1, **more}), flush=True)\n"


def asked(
    prompt: str = PROMPT, checkpoints: Path = Path("/nowhere"), generations: tuple[int, ...] = (1,)
) -> ComparisonPrompt:
    """A prompt for generation 1."""
    return ComparisonPrompt(
        checkpoints=checkpoints, kind="causal-lm", generations=generations, prompt=prompt, max_tokens=12
    )


def run(script: str) -> tuple[ComparisonExit, list[AnswerEvent]]:
    """Run a stand-in to its end."""
    heard: list[AnswerEvent] = []
    process = ComparisonProcess(environment=os.environ, command=(sys.executable, "-c", script))
    return process.run(asked(), on_event=heard.append, must_stop=lambda: False), heard


def test_the_prompt_goes_by_standard_input_and_events_come_line_by_line() -> None:
    """On no command line and in no variable; what a library prints between is passed over."""
    script = f"""{READ}{TOLD}
print("Loading weights: 100%")
public = open("/proc/self/cmdline").read() + json.dumps(dict(os.environ))
tell("answered", answer=dict(text=asked["prompt"], finish="length" if asked["prompt"][4:12] in public else "stop"))
"""
    ended, heard = run(script)
    assert ended == ComparisonExit(ComparisonEnding.ANSWERED)
    assert heard[-1].answer is not None
    assert (heard[-1].answer.text, heard[-1].answer.finish) == (PROMPT, "stop")


def test_it_steps_back_sees_no_gpu_and_is_offered_first_when_memory_runs_out(tmp_path: Path) -> None:
    """By the whole group, and with the mark by which a next daemon finds it."""
    script = f"""{READ}{TOLD}
def stands(): return os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/oom_score_adj").read()
while stands() != ({min(19, os.nice(0) + 7)}, "1000\\n"):
    time.sleep(0.01)
tell("answered", answer=dict(text=json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], os.environ["{OWNER_VARIABLE}"]])))
"""
    heard: list[AnswerEvent] = []
    process = ComparisonProcess(environment=child_environment(tmp_path), command=(sys.executable, "-c", script), nice=7)
    process.run(asked(), on_event=heard.append, must_stop=lambda: False)
    assert heard[0].answer is not None
    assert json.loads(heard[0].answer.text) == ["", str(tmp_path)]


TELL = """read -r asked; echo '{"event": "%s", "generation": 1%s}';"""


@pytest.mark.parametrize(
    ("script", "ending", "says"),
    [
        (TELL % ("failed", ', "reason": "It is too long."') + "exit 1", ComparisonEnding.FAILED, "It is too long."),
        ("echo no >&2; echo 'KeyError: weight' >&2; exit 1", ComparisonEnding.FAILED, "status 1: KeyError: weight"),
        ("true", ComparisonEnding.FAILED, "ended with status 0."),
        ("kill -9 $$", ComparisonEnding.KILLED, "killed by signal 9, which the kernel sends"),
        ("kill -11 $$", ComparisonEnding.KILLED, "killed by signal 11."),
        (TELL % ("answered", "") + "head -c 3000000 /dev/zero", ComparisonEnding.ANSWERED, ""),
    ],
    ids=["says why", "traceback", "without a word", "killed", "faulted", "a line without end"],
)
def test_how_it_ends_is_told(script: str, ending: ComparisonEnding, says: str) -> None:
    """In a sentence for whoever asked."""
    process = ComparisonProcess(environment=os.environ, command=("sh", "-c", script))
    ended = process.run(asked(), on_event=lambda _: None, must_stop=lambda: False)
    assert ended.ending is ending
    assert says in ended.detail


@pytest.mark.parametrize(
    "ending", [ComparisonEnding.OUT_OF_TIME, ComparisonEnding.SHORT_OF_MEMORY, ComparisonEnding.STOPPED]
)
def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path, ending: ComparisonEnding) -> None:
    """Also where it reads nothing of a prompt that is longer than the pipe holds, and heeds no signal."""
    begun = tmp_path / "child"
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/new; mv {tmp_path}/new {begun}; wait"
    # Of the first look at it, and of all later ones once it hangs.
    late = iter([0.0])
    process = ComparisonProcess(
        environment=os.environ,
        command=("sh", "-c", script),
        is_short=lambda: ending is ComparisonEnding.SHORT_OF_MEMORY and begun.exists(),
        clock=lambda: next(late, 1e6 if ending is ComparisonEnding.OUT_OF_TIME and begun.exists() else 0.0),
    )
    ended = process.run(
        asked("x" * 300_000),
        on_event=lambda _: None,
        must_stop=lambda: ending is ComparisonEnding.STOPPED and begun.exists(),
    )
    assert ended.ending is ending
    assert ended.detail
    child = int(begun.read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's real model, as generations 0 and 1."""
    root = tmp_path_factory.mktemp("checkpoints")
    store = GenerationStore(root)
    for number in (0, 1):
        store.publish(MODEL, number, Card(number, "causal-lm"))
    return root


def test_the_real_one_answers_with_a_real_model_and_says_what_is_gone(checkpoints: Path) -> None:
    """The first whole, the second with a sentence: the whole way, from the prompt to the end of the process."""
    heard: list[AnswerEvent] = []
    process = ComparisonProcess(environment=os.environ)
    ended = process.run(
        asked(checkpoints=checkpoints, generations=(1, 7)), on_event=heard.append, must_stop=lambda: False
    )
    assert ended.ending is ComparisonEnding.FAILED
    assert ended.detail.startswith("Generation 7 cannot answer: ")
    (answered,) = [event.answer for event in heard if event.answer is not None]
    assert (answered.tokens, answered.finish) == (12, "length")
    assert answered.text.strip()
    assert [event.event for event in heard][1:] == ["loading", "answering", "answered", "loading", "failed"]


def test_one_that_is_killed_in_the_midst_is_told_of_and_the_next_runs(checkpoints: Path) -> None:
    """By a SIGKILL from outside, while it loads."""
    process = ComparisonProcess(environment=os.environ)

    def kill(_: AnswerEvent) -> None:
        # Others of this process's children may be about.
        (child,) = [each for each in psutil.Process().children() if "serving.comparison" in each.cmdline()]
        child.send_signal(signal.SIGKILL)

    question = asked(checkpoints=checkpoints)
    assert process.run(question, on_event=kill, must_stop=lambda: False).ending is ComparisonEnding.KILLED
    heard: list[AnswerEvent] = []
    ended = process.run(question, on_event=heard.append, must_stop=lambda: bool(heard))
    assert (ended.ending, heard[0].event) == (ComparisonEnding.STOPPED, "loading")


def test_when_the_daemon_is_killed_it_ends_by_itself(checkpoints: Path, tmp_path: Path) -> None:
    """Whoever has it answered holds its standard input open, and nobody else."""
    script = f"""
import os, sys
from daemon.processes.comparison_process import ComparisonProcess
from serving.comparison.exchange import ComparisonPrompt
asked = ComparisonPrompt.model_validate_json({asked(checkpoints=checkpoints).model_dump_json()!r})
ComparisonProcess(environment=os.environ).run(
    asked, on_event=lambda event: print(event.event, flush=True), must_stop=lambda: False
)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"loading\n"
        (child,) = psutil.Process(daemon.pid).children()
        daemon.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="its end")
