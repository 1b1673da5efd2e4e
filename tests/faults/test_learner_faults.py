"""The learner on bad days: killed, out of memory, diverging, with a damaged parent, with a hole in its directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoints.generation_store import Published
from daemon.processes.learner import LearnerEnding, LearnerExit, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds.out_of_memory import MicroBatchLimits
from learner.__main__ import main
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import read_spec
from tests.disks import files_limited
from tests.harness import wait_until
from tests.unit.learner import tiny
from tests.unit.memory.helpers import Stream, begin, open_store, text

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# When training begins, all but a little of the memory is taken away.
STARVED = """
import resource, sys
from learner import job
from learner.__main__ import main

train = job.train_round

def starved(*arguments, **named):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), used + (48 << 20)))
    return train(*arguments, **named)

job.train_round = starved
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tiny.tokenizer(), "causal-lm")


@pytest.mark.slow
def test_round_killed_in_training_leaves_no_report_and_can_be_run_again(base: Published, tmp_path: Path) -> None:
    """SIGKILL between two steps: nothing says that it finished, and a second run gives an undisturbed one's weights."""
    recipe = tiny.SMALL.model_copy(update={"epochs": 10, "interpolation": (0.0,)})
    path, undisturbed = (tiny.causal_round(tmp_path / name, base, recipe=recipe) for name in ("killed", "undisturbed"))
    progress = path / "progress.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "learner", str(path)], env=ENVIRONMENT, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: progress.exists() and '"name":"train"' in progress.read_text(), what="training")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (path / "report.json").exists()
    assert [main([str(each)]) for each in (path, undisturbed)] == [0, 0]
    weights = [(each / "candidates" / "0.00" / "model.safetensors").read_bytes() for each in (path, undisturbed)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_memory_that_runs_out_ends_with_its_own_code(base: Published, tmp_path: Path) -> None:
    """A real refusal of the allocator: exit code 3, no report, and the reason on standard error."""
    recipe = tiny.SMALL.model_copy(update={"batch_sequences": 4000, "micro_batch": 4000})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe, fresh=4000)
    ended = subprocess.run(
        [sys.executable, "-c", STARVED, str(path)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr[-2000:]
    assert "out of memory" in ended.stderr.splitlines()[-1]
    assert not (path / "report.json").exists()


@pytest.mark.slow
def test_memory_that_runs_out_is_halved_until_a_real_round_fits(base: Published, tmp_path: Path) -> None:
    """The allocator refuses again and again; what fits in the end takes as many steps of as many sequences."""
    recipe = tiny.SMALL.model_copy(update={"batch_sequences": 1000, "micro_batch": 1000, "interpolation": (0.0,)})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe, fresh=4000)
    ratios: list[float] = []
    with open_store(tmp_path / "memory.db") as store:
        store.append(Stream().of([text(n) for n in range(50)]))
        number = begin(store, recipe=recipe.model_dump(mode="json")).number
        limits = MicroBatchLimits(store, show=ratios.append)
        limits.begin(path, number)
        process = LearnerProcess(command=(sys.executable, "-c", STARVED), environment=ENVIRONMENT)
        ended = limits.learn(path, number, lambda: run_starved(process, path))
        assert ended.ending is LearnerEnding.FINISHED, ended.detail
        noted = sorted(note.micro_batch for note in store.rounds.too_large())
        assert all(note.certain for note in store.rounds.too_large())
    fits = read_spec(path).recipe.micro_batch
    assert noted == [1000 >> halved for halved in reversed(range(len(noted)))]
    assert (fits, ratios[-1]) == (1000 >> len(noted), fits / 1000)
    training = read_report(path).training
    assert training is not None
    assert training.micro_batch == fits < 1000
    assert read_spec(path).recipe.batch_sequences == 1000


def run_starved(process: LearnerProcess, path: Path) -> LearnerExit:
    """Run a round to its end, with all the time that it takes."""
    return process.run(path, limits=LearnerLimits(600, 600), on_progress=lambda _: None, must_stop=lambda: False)


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_with_its_own_code(base: Published, tmp_path: Path) -> None:
    """A real refusal in mid-result: exit code 5, no report, and the file that had no room."""
    path = tiny.causal_round(tmp_path / "round", base)
    with files_limited(20_000):
        ended = subprocess.run(
            [sys.executable, "-m", "learner", str(path)], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 5, ended.stderr[-2000:]
    last = ended.stderr.splitlines()[-1]
    assert f"no space to write {path / 'result'}" in last
    assert "(File too large). Free space on that disk" in last
    assert not (path / "report.json").exists()
    assert main([str(path)]) == 0
    assert read_report(path).outcome is Outcome.TRAINED


def test_loss_that_is_not_finite_ends_with_a_report(tmp_path: Path) -> None:
    """Exit code 0: the round is over, its report says why, and no candidate is there to be promoted."""
    broken = tiny.generation(tmp_path / "g", tiny.broken_llama(), tiny.tokenizer(), "causal-lm")
    path = tiny.causal_round(tmp_path / "round", broken)
    assert main([str(path)]) == 0
    assert read_report(path).outcome is Outcome.DIVERGED
    assert not (path / "candidates").exists()


def test_flipped_bit_in_the_parent_is_found_before_anything_is_trained(
    base: Published, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 and the file's name; a damaged model never becomes a parent."""
    path = tiny.causal_round(tmp_path / "round", base)
    weights = path / "parent" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 0b100
    weights.unlink()  # the round's file is a link to the generation's, which must stay whole
    weights.write_bytes(content)
    assert main([str(path)]) == 4
    assert "model.safetensors is damaged" in capfd.readouterr().err.splitlines()[-1]
    assert not (path / "report.json").exists()


@pytest.mark.parametrize("name", ["round.json", "fresh.jsonl", "parent/config.json", "base/tokenizer.json"])
def test_directory_with_a_hole_is_refused(
    base: Published, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 and the file's name, whichever is missing."""
    path = tiny.causal_round(tmp_path / "round", base)
    (path / name).unlink()
    assert main([str(path)]) == 4
    assert Path(name).name in capfd.readouterr().err.splitlines()[-1]


def test_parent_that_is_no_such_model_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A causal LM given as a classifier: exit code 4, and what it lacks."""
    base = tiny.generation(tmp_path / "g", tiny.llama(), tiny.tokenizer(), "causal-lm")
    path = tiny.classifier_round(tmp_path / "round", base, fresh=tiny.labelled(3, seed=1), replay=[], recipe=tiny.SMALL)
    assert main([str(path)]) == 4
    assert "lacks weights of a classifier" in capfd.readouterr().err.splitlines()[-1]
