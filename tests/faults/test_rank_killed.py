"""A round that several ranks run, of which one is killed: it ends with a reason, and goes on from what it saved.

Each process of a learner imports torch anew, which is what these tests take their time for.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from checkpoints.generation_store import Published
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import CANDIDATES, PROGRESS, REPORT
from learner.directory.saved_round import saved_step
from learner.processes.launcher import loopback_interface
from tests.unit.learner import tiny

PATIENT = LearnerLimits(silence=600, time=600)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback_interface()}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "learner")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tiny.tokenizer(), "causal-lm")


def written(path: Path, base: Published, **more: Any) -> Path:
    """A round of two ranks that saves itself after each step."""
    recipe = tiny.SMALL.model_copy(update={"epochs": 2, "interpolation": (0.0,)})
    return tiny.causal_round(path, base, recipe=recipe, devices=2, threads=2, **more)


def ranks_of_this_process() -> dict[str, psutil.Process]:
    """The ranks that run below this process, by their numbers."""
    below = psutil.Process().children(recursive=True)
    return {each.environ().get("RANK", ""): each for each in below if each.is_running()}


def said(path: Path, event: str) -> list[dict[str, Any]]:
    """What a round's progress tells of an event."""
    lines = (path / PROGRESS).read_text().splitlines()
    return [each for each in map(json.loads, filter(None, lines)) if each["event"] == event]


def end_by_killing_one(path: Path, when: str) -> None:
    """Run a round whose second rank is killed at the first event of a name; no process of it is left."""
    killed: list[psutil.Process] = []

    def kill_one(event: ProgressEvent) -> None:
        if event.event == when and not killed:
            killed.extend(ranks_of_this_process().values())
            ranks_of_this_process()["1"].send_signal(signal.SIGKILL)

    learner = LearnerProcess(environment=ENVIRONMENT)
    ended = learner.run(path, limits=PATIENT, on_progress=kill_one, must_stop=lambda: False)
    assert ended.ending is LearnerEnding.OUT_OF_MEMORY
    assert ended.detail.startswith("rank 1 of 2 was ended by signal 9 (SIGKILL), which the kernel's out-of-memory")
    assert not ended.certain
    assert len(killed) == 3
    assert not [each for each in killed if each.is_running()]
    assert not (path / REPORT).exists()


@pytest.mark.slow
def test_a_killed_rank_of_divided_weights_ends_the_round_with_a_reason(base: Published, tmp_path: Path) -> None:
    """As it begins to train; nothing was saved, and the next run begins anew."""
    path = written(tmp_path / "round", base, save_seconds=0.0, sharded=True)
    end_by_killing_one(path, "moments")
    assert saved_step(path) is None


@pytest.mark.slow
def test_a_killed_rank_ends_the_round_with_a_reason_and_it_goes_on(base: Published, tmp_path: Path) -> None:
    """By `python -m learner`, no process is left; by `torchrun` it comes to the weights that it would have come to."""
    path, undisturbed = written(tmp_path / "round", base, save_seconds=0.0), written(tmp_path / "undisturbed", base)
    end_by_killing_one(path, "saved")
    step = saved_step(path)
    assert step is not None

    for command in ((*TORCHRUN, str(path)), (sys.executable, "-m", "tests.unit.learner.two_ranks", str(undisturbed))):
        subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    assert [event["step"] for event in said(path, "goes_on")] == [step]
    assert read_report(path).outcome is Outcome.TRAINED
    weights = [(each / CANDIDATES / "0.00" / "model.safetensors").read_bytes() for each in (path, undisturbed)]
    assert weights[0] == weights[1]
