"""A round whose weights are divided over ranks saves itself, each rank its shares, and goes on from there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from checkpoints.files.durable_writes import FAULT_VARIABLE, DurableStep
from learner.directory.saved_round import SAVED, read_saved
from tests.unit.learner import tiny
from tests.unit.learner.lives import digests, said

RECIPE = tiny.SMALL.model_copy(
    update={"max_steps": 4, "ewc": 0.5, "batch_sequences": 6, "early_stop_checks": 2, "interpolation": (0.0,)}
)


def by_two(*paths: Path, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Run rounds by two ranks, each of which meets the fault."""
    command = ["env", f"{FAULT_VARIABLE}={fault}", sys.executable, "-m", "tests.unit.learner.two_ranks"]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that was never disturbed, and one whose ranks were killed in their third save."""
    root = tmp_path_factory.mktemp("divided")
    base = tiny.generation(root / "g", tiny.llama(tied=False, dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm")
    whole, killed = (
        tiny.causal_round(root / name, base, recipe=RECIPE, devices=2, sharded=True, save_seconds=seconds)
        for name, seconds in (("whole", 1e9), ("killed", 0.0))
    )
    assert by_two(whole).returncode == 0
    assert by_two(killed, fault=f"{DurableStep.STAGE_COPY.value}@3:kill").returncode != 0
    return whole, killed


def test_killed_ranks_go_on_from_their_shares_and_reach_the_same(rounds: tuple[Path, Path], tmp_path: Path) -> None:
    """The very weights of a round that was never disturbed; of a save of which a share is damaged none goes on."""
    whole, killed = rounds
    saved = read_saved(killed)
    assert saved is not None
    assert saved.place.steps == 2
    (share,) = saved.shares
    assert share.listed.bytes < 0.6 * (saved.listed.bytes + share.listed.bytes)
    goes_on, damaged = (shutil.copytree(killed, tmp_path / name) for name in ("goes on", "damaged"))
    of_second = damaged / SAVED / share.tensors
    of_second.write_bytes(of_second.read_bytes()[:-1] + b"?")
    result = by_two(goes_on, damaged)
    assert result.returncode == 0, result.stderr
    assert [event["step"] for event in said(goes_on, "goes_on")] == [2]
    (event,) = said(damaged, "begun_anew")
    assert event["reason"].endswith(f"{share.tensors} is damaged: it is not what was saved")
    for path in (goes_on, damaged):
        assert digests(path) == digests(whole)
        assert not (path / SAVED).exists()


def test_a_full_disk_stops_no_rank(rounds: tuple[Path, Path], tmp_path: Path) -> None:
    """The save is told of, the one before it stands, and nobody waits for the other for ever."""
    whole, killed = rounds
    path = shutil.copytree(killed, tmp_path / "round")
    result = by_two(path, fault=f"{DurableStep.STAGE_COPY.value}@1:enospc")
    assert result.returncode == 0, result.stderr
    (refused,) = said(path, "not_saved")
    assert "No space left" in refused["reason"]
    assert digests(path) == digests(whole)
