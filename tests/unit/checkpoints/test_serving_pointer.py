"""The pointer names what serves, and what to fall back to; it moves only to what is intact."""

import json
from pathlib import Path

import pytest

from checkpoints.errors import CheckpointsError, DamagedGeneration, MissingGeneration, PublishFailed
from checkpoints.files.durable_writes import FAULT_VARIABLE
from checkpoints.generation_store import GenerationStore
from checkpoints.serving_pointer import Canary
from tests.unit.checkpoints.conftest import card, publish


def test_nothing_serves_before_the_first(store: GenerationStore) -> None:
    """An empty store points nowhere."""
    assert store.serving() is None


def test_the_pointer_names_generation_and_digest(store: GenerationStore, candidate: Path) -> None:
    """Followers learn what to load and since when."""
    published = store.publish(candidate, 1, card(1))
    store.point_to(1)
    pointer = store.serving()
    assert pointer
    assert (pointer.generation, pointer.digest, pointer.since) == (1, published.digest, 1000.0)
    assert json.loads(store.pointer_path.read_text())["generation"] == 1


def test_a_damaged_generation_is_never_pointed_to(store: GenerationStore, candidate: Path) -> None:
    """The pointer stays where it was when the new one does not verify."""
    publish(store, candidate, 1, 2)
    store.point_to(1)
    (store.path(2) / "model.safetensors").write_bytes(b"rotten")
    with pytest.raises(DamagedGeneration):
        store.point_to(2)
    pointer = store.serving()
    assert pointer
    assert pointer.generation == 1


def test_a_missing_generation_is_never_pointed_to(store: GenerationStore) -> None:
    """The error says where to look."""
    with pytest.raises(MissingGeneration, match="riverkeep generations"):
        store.point_to(9)


def test_what_served_before_is_remembered(store: GenerationStore, candidate: Path) -> None:
    """The way back is in the pointer, newest first."""
    publish(store, candidate, 1, 2, 3)
    for number in (1, 2, 3):
        store.point_to(number)
    pointer = store.serving()
    assert pointer
    assert pointer.before == (2, 1)


def test_what_was_rolled_back_from_is_no_fallback(store: GenerationStore, candidate: Path) -> None:
    """After a rollback those later than its target are not fallen back to, not even after the next promotion."""
    publish(store, candidate, 1, 2, 3, 4)
    for number in (1, 2, 3, 1, 4):
        store.point_to(number)
    pointer = store.serving()
    assert pointer
    assert pointer.before == (1,)


def test_a_broken_pointer_is_reported_and_can_be_written_anew(store: GenerationStore, candidate: Path) -> None:
    """Garbage in serving.json is a clear error; pointing to a generation repairs it."""
    publish(store, candidate, 1)
    store.point_to(1)
    store.pointer_path.write_bytes(b'{"generation": ')
    with pytest.raises(CheckpointsError, match="rollback"):
        store.serving()
    store.point_to(1)
    assert store.serving()


def test_a_full_disk_leaves_the_pointer(
    store: GenerationStore, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pointer that cannot be written stays, and the error says so."""
    publish(store, candidate, 1, 2)
    store.point_to(1)
    monkeypatch.setenv(FAULT_VARIABLE, "file.rename:enospc")
    with pytest.raises(PublishFailed, match="No space left"):
        store.point_to(2)
    pointer = store.serving()
    assert pointer
    assert pointer.generation == 1


def test_a_canary_is_named_beside_what_serves(store: GenerationStore, candidate: Path) -> None:
    """With its share and its digest; what to fall back to stays; without one the file is as it always was."""
    publish(store, candidate, 1, 2, 3)
    for number in (1, 2):
        store.point_to(number)
    assert "canary" not in json.loads(store.pointer_path.read_text())
    store.point_to(2, canary=Canary(3, 0.25, "canary", since=7.0))
    pointer = store.serving()
    assert pointer
    assert (pointer.generation, pointer.before) == (2, (1,))
    assert pointer.canary == Canary(3, 0.25, "canary", 7.0, store.digest(3))
    store.point_to(3)
    promoted = store.serving()
    assert promoted
    assert (promoted.generation, promoted.before, promoted.canary) == (3, (2, 1), None)


def test_a_canary_is_verified_and_kept_on_disk(store: GenerationStore, candidate: Path) -> None:
    """One that is damaged is not pointed to, and one that is watched is not removed."""
    publish(store, candidate, 1, 2)
    store.point_to(1, canary=Canary(2, 0.25, "canary", since=7.0))
    with pytest.raises(CheckpointsError, match="watched as a canary"):
        store.remove(2)
    store.point_to(1)
    (store.path(2) / "model.safetensors").write_bytes(b"rotten")
    with pytest.raises(DamagedGeneration):
        store.point_to(1, canary=Canary(2, 0.25, "canary", since=7.0))
    pointer = store.serving()
    assert pointer
    assert pointer.canary is None


def test_who_goes_forward_again_falls_back_to_nothing_that_was_rolled_back_from(
    store: GenerationStore, candidate: Path
) -> None:
    """Older numbers may be of another line: the ledger says which were not good enough."""
    publish(store, candidate, 1, 3, 4, 5)
    for number in (1, 3, 5):
        store.point_to(number)
    store.point_to(4, rolled_back={3, 5})
    pointer = store.serving()
    assert pointer
    assert pointer.before == (1,)
