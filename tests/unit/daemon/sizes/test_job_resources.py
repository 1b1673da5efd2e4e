"""What is known of the memory of a round that is a Job, before it runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.settings.tree import Settings
from daemon.sizes import sequence_length
from daemon.sizes.checkpointing import checkpointing_in_job
from daemon.sizes.job_resources import JobMemory, cores_of_job, describe_job, devices_of_job, memory_of_job
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from tests.models import make_causal
from tests.unit.daemon.sizes.test_sequence_length import SMOLLM2

JOB = """
apiVersion: batch/v1
kind: Job
spec: {template: {spec: {containers: [{name: learner, resources: {limits: {%s}}}]}}}
"""


def written(tmp_path: Path, limits: str) -> Path:
    """A template that asks for this."""
    path = tmp_path / "job.yaml"
    path.write_text(JOB % limits)
    return path


@pytest.mark.parametrize(
    ("limits", "device", "memory"),
    [
        ("nvidia.com/gpu: 1, memory: 8Gi", "auto", JobMemory(on_gpu=True, bytes=None)),
        ("nvidia.com/gpu: 1, memory: 8Gi", "cpu", JobMemory(on_gpu=False, bytes=2**33)),
        ("memory: 8Gi", "auto", JobMemory(on_gpu=False, bytes=2**33)),
        ("memory: 8Gi", "cuda", JobMemory(on_gpu=True, bytes=None)),
        ("cpu: 4", "auto", JobMemory(on_gpu=False, bytes=None)),
    ],
)
def test_only_what_the_template_says_is_known(tmp_path: Path, limits: str, device: str, memory: JobMemory) -> None:
    """A GPU's memory is that of the node which is found; the daemon's own machine is never looked at."""
    assert memory_of_job(written(tmp_path, limits), device) == memory


def test_a_template_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    """The run itself tells why."""
    assert memory_of_job(tmp_path / "none.yaml", "auto") == JobMemory(on_gpu=False, bytes=None)
    assert describe_job(tmp_path / "none.yaml") == ""
    assert cores_of_job(tmp_path / "none.yaml") is None
    assert devices_of_job(tmp_path / "none.yaml") == 0


@pytest.mark.parametrize(("limits", "cores"), [("cpu: 500m", 1), ("cpu: 6.5", 7), ("memory: 8Gi", None)])
def test_threads_are_for_the_cores_of_the_job(tmp_path: Path, limits: str, cores: int | None) -> None:
    """Not for the few that the daemon's pod has."""
    assert cores_of_job(written(tmp_path, limits)) == cores
    assert devices_of_job(written(tmp_path, f"{limits}, nvidia.com/gpu: 2")) == 2


def test_checkpointing_is_decided_by_the_limit_of_the_job(tmp_path: Path) -> None:
    """Of main memory; for a GPU it waits until memory has run out."""
    model = make_causal(tmp_path / "model")

    def decided(limits: str) -> bool:
        decide = checkpointing_in_job(written(tmp_path, limits))
        return decide(model, "causal-lm", RecipeSettings(), LearnerSettings()).on

    assert decided("memory: 1Mi")
    assert not decided("memory: 1Ti")
    assert not decided("nvidia.com/gpu: 1, memory: 1Mi")


def test_lengths_are_chosen_for_where_rounds_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the GPU that a Job asks for, though the daemon has none; within the limit of a Job without one."""
    monkeypatch.setattr(sequence_length, "shape_of_files", lambda *_, **where: replace(SMOLLM2, **where))
    monkeypatch.setattr(
        sequence_length, "memory_of_round", lambda _: pytest.fail("the daemon's own memory was looked at")
    )

    def length(limits: str) -> int:
        tree = {"model": {"path": str(tmp_path)}, "jobs": {"template_file": str(written(tmp_path, limits))}}
        return sequence_length.length_of(
            Settings.model_validate({"state_dir": str(tmp_path / "state"), **tree}), None
        ).tokens

    assert length("nvidia.com/gpu: 1") == sequence_length.WANTED["cuda"]
    assert length("memory: 1Ti") == sequence_length.WANTED["cpu"]
    assert length("memory: 4Gi") < sequence_length.WANTED["cpu"]
