"""A process that publishes is killed, or its disk fills, at every durable step: each generation is whole or absent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoints.card import Card
from checkpoints.errors import NumberTaken
from checkpoints.files.durable_writes import FAULT_VARIABLE, DurableStep
from checkpoints.generation_store import GenerationStore

# What the daemon does around a round: publish, promote, retire an old one. Serving is at 1 when it begins.
WRITER = """
import sys
from pathlib import Path
from checkpoints.card import Card
from checkpoints.errors import PublishFailed
from checkpoints.generation_store import GenerationStore

store = GenerationStore(Path(sys.argv[1]))
store.sweep()
try:
    store.publish(Path(sys.argv[2]), 2, Card(2, "causal-lm", parent=1, round=2))
    store.point_to(2)
except PublishFailed as error:
    sys.exit(f"publish failed: {error}")
store.remove(0)
"""


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A directory that passes for a model where nothing is loaded."""
    path = tmp_path / "candidate"
    path.mkdir()
    (path / "model.safetensors").write_bytes(os.urandom(50_000))
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture
def store(tmp_path: Path, candidate: Path) -> GenerationStore:
    """Generations 0 and 1, of which 1 serves."""
    store = GenerationStore(tmp_path / "checkpoints")
    for number in (0, 1):
        store.publish(candidate, number, Card(number, "causal-lm"))
        store.point_to(number)
    return store


def write(store: GenerationStore, candidate: Path, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Run the writer, with a fault in its way."""
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(store.root), str(candidate)],
        env={**os.environ, FAULT_VARIABLE: fault},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_whole(store: GenerationStore) -> None:
    """Every generation that has a name verifies, and so does what serves."""
    for number in store.numbers():
        store.verify(number)
    pointer = store.serving()
    assert pointer
    assert pointer.generation in (1, 2)
    assert store.digest(pointer.generation) == pointer.digest


@pytest.mark.parametrize("label", list(DurableStep))
def test_killed_at_any_step_it_is_whole_or_absent(store: GenerationStore, candidate: Path, label: DurableStep) -> None:
    """SIGKILL at each step leaves nothing half; running again finishes the work and leaves no litter."""
    killed = write(store, candidate, f"{label}:kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_whole(store)

    finished = write(store, candidate)
    assert finished.returncode == 0, finished.stderr
    assert_whole(store)
    assert store.numbers() == [1, 2]
    pointer = store.serving()
    assert pointer
    assert pointer.generation == 2
    assert not list(store.root.rglob(".*"))


@pytest.mark.parametrize(
    "label", [DurableStep.STAGE_COPY, DurableStep.STAGE_SYNC_FILE, DurableStep.FILE_WRITE, DurableStep.FILE_RENAME]
)
def test_a_full_disk_changes_nothing(store: GenerationStore, candidate: Path, label: DurableStep) -> None:
    """The writer says what happened, the old generation serves, and there is no litter; with space it goes on."""
    failed = write(store, candidate, f"{label}:enospc")
    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr
    assert "Free space" in failed.stderr
    assert_whole(store)
    pointer = store.serving()
    assert pointer
    assert pointer.generation == 1
    assert not list(store.root.rglob(".*"))
    assert write(store, candidate).returncode == 0


def test_a_number_stays_used_though_its_removal_was_killed(store: GenerationStore, candidate: Path) -> None:
    """A removal that was cut short still burns the number."""
    write(store, candidate)
    store.point_to(1)
    assert write_removal(store, "remove.delete:kill").returncode == -signal.SIGKILL
    reopened = GenerationStore(store.root)
    reopened.sweep()
    assert reopened.numbers() == [1]
    with pytest.raises(NumberTaken):
        reopened.publish(candidate, 2, Card(2, "causal-lm"))


def write_removal(store: GenerationStore, fault: str) -> subprocess.CompletedProcess[str]:
    """Remove generation 2 in a process of its own."""
    code = "import sys; from pathlib import Path; from checkpoints.generation_store import GenerationStore as S; "
    code += "S(Path(sys.argv[1])).remove(2)"
    return subprocess.run(
        [sys.executable, "-c", code, str(store.root)],
        env={**os.environ, FAULT_VARIABLE: fault},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
