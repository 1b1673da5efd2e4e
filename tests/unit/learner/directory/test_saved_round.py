"""What a round saved of itself, and why it cannot be used."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints.manifest import ListedFile
from learner.directory.saved_round import (
    SAVED,
    STATE,
    SavedRound,
    StoppingPlace,
    TrainingPlace,
    UnusableSave,
    drop_unnoted,
    forget_saved,
    note_saved,
    read_saved,
    require_usable,
    saved_step,
    tensors_path,
)

KNOWN_BY = {"round": "7, seed 3", "parent": "abc", "recipe": "def", "version of torch": "2.9"}
STOPPING = StoppingPlace(next_part=2, steps=5, step_of_last_look=3, best_loss=2.5, best_step=3, without_gain=0)
PLACE = TrainingPlace(
    steps=5, tokens_new=10, tokens_replayed=20, seconds=1.5, recent=({"new": 0.1, "kl": 1e-17},), stopping=STOPPING
)


@pytest.fixture
def saved(tmp_path: Path) -> SavedRound:
    """A save in a round's directory."""
    path = tensors_path(tmp_path, PLACE.steps)
    path.write_bytes(b"tensors")
    made = SavedRound(KNOWN_BY, PLACE, path.name, ListedFile(hashlib.sha256(b"tensors").hexdigest(), 7))
    note_saved(tmp_path, made)
    return made


def test_a_save_is_read_back_as_it_was(saved: SavedRound, tmp_path: Path) -> None:
    """To the last bit of each loss."""
    assert read_saved(tmp_path) == saved
    assert saved_step(tmp_path) == 5
    assert require_usable(tmp_path, saved, KNOWN_BY).read_bytes() == b"tensors"


def test_where_nothing_was_saved_there_is_nothing(tmp_path: Path) -> None:
    """And none is made in a directory that is gone."""
    assert read_saved(tmp_path) is None
    assert saved_step(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        tensors_path(tmp_path / "gone", 3)


@pytest.mark.parametrize("name", KNOWN_BY)
def test_a_save_of_something_else_is_refused(saved: SavedRound, tmp_path: Path, name: str) -> None:
    """The reason names what differs; so does one that an earlier version lacked."""
    others = [replace(saved, belongs_to={**KNOWN_BY, name: "other"})]
    others.append(replace(saved, belongs_to={key: value for key, value in KNOWN_BY.items() if key != name}))
    for other in others:
        with pytest.raises(UnusableSave, match=f"another {name}$"):
            require_usable(tmp_path, other, KNOWN_BY)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"tens", "is damaged"), (b"tensorz", "is damaged"), (None, "No such")]
)
def test_damaged_tensors_are_refused(saved: SavedRound, tmp_path: Path, content: bytes | None, reason: str) -> None:
    """Cut off, of the same length but not the same, or gone."""
    path = tmp_path / SAVED / saved.tensors
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UnusableSave, match=reason):
        require_usable(tmp_path, saved, KNOWN_BY)


@pytest.mark.parametrize("spoilt", [b"{", b"[]", b"", b'{"format": 2}'])
def test_a_note_that_cannot_be_understood_is_refused(saved: SavedRound, tmp_path: Path, spoilt: bytes) -> None:
    """Cut off, or of another version; the daemon takes it for none."""
    (tmp_path / SAVED / STATE).write_bytes(spoilt)
    with pytest.raises(UnusableSave, match="cannot be understood"):
        read_saved(tmp_path)
    assert saved_step(tmp_path) is None


def test_one_save_is_kept(saved: SavedRound, tmp_path: Path) -> None:
    """What was cut off and what another took the place of go; in the end all of it does."""
    tensors_path(tmp_path, 6).write_bytes(b"half")
    (tmp_path / SAVED / ".state.json.1.new").touch()
    drop_unnoted(tmp_path)
    assert sorted(path.name for path in (tmp_path / SAVED).iterdir()) == [saved.tensors, STATE]
    forget_saved(tmp_path)
    forget_saved(tmp_path)
    assert list(tmp_path.iterdir()) == []
