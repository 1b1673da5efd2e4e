"""A key added to the file, and taken out of it."""

import os
import stat
import threading
from pathlib import Path

import pytest

from serving.door.bearer import digest_of
from serving.errors import CannotServe
from serving.keys.entries import read_entries
from serving.keys.key_file import KeyNotAdded, UnknownKey, add_key, revoke_key

OLD = "an-old-key-in-plain-text"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "keys"


def names(path: Path) -> list[str]:
    """Whose keys the file has."""
    return [entry.name for entry in read_entries(path) if entry.digest is not None]


def test_only_the_hash_of_a_new_key_is_kept(path: Path) -> None:
    """In a file for its owner alone, and nothing else is left beside it."""
    added = add_key(path, "alice", {"at_once": 3})
    assert len(added.secret) > 40
    assert added.secret not in path.read_text()
    (entry,) = read_entries(path)
    assert (entry.name, entry.digest, entry.limits) == ("alice", digest_of(added.secret), {"at_once": 3})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_else_the_file_has_stays_as_it_is(path: Path) -> None:
    """Remarks, other keys, and the right of the service's group to read it."""
    path.write_text(f"# ours\n\n{OLD}\n# end")
    path.chmod(0o640)
    add_key(path, "alice", {})
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# ours", "", OLD, "# end"]
    assert lines[4].startswith("alice sha256:")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_key_in_plain_text_becomes_its_hash(path: Path) -> None:
    """In its place, so that those behind it keep theirs; it opens the door as before."""
    path.write_text(f"{OLD}\nanother\n{OLD}\nlast\n")
    assert add_key(path, "alice", {}, secret=OLD).replaced == 1
    assert OLD not in path.read_text()
    assert [(entry.name, entry.digest) for entry in read_entries(path)] == [
        ("alice", digest_of(OLD)),
        ("line-2", digest_of("another")),
        ("line-4", digest_of("last")),
    ]


def test_a_revoked_key_is_out_and_others_keep_their_names(path: Path) -> None:
    """Also those in plain text, which are called by their place."""
    path.write_text(f"{OLD}\nanother\n")
    add_key(path, "alice", {})
    assert revoke_key(path, "line-1") == 2
    assert names(path) == ["line-2", "alice"]
    assert revoke_key(path, "alice") == 1
    assert path.read_text() == "\nanother\n"


def test_the_last_key_can_be_revoked(path: Path) -> None:
    """The file then says that it lets nobody in: an empty one is a mistake, which changes nothing."""
    add_key(path, "alice", {})
    assert revoke_key(path, "alice") == 0
    assert path.read_text().endswith("\nalice revoked\n")
    assert names(path) == []
    with pytest.raises(UnknownKey):
        revoke_key(path, "alice")
    add_key(path, "alice", {})
    assert names(path) == ["alice"]
    assert "revoked" not in path.read_text()


def test_what_cannot_be_added_changes_nothing(path: Path) -> None:
    """A name that is there, a key that is there, one that can be guessed, one that is none."""
    secret = add_key(path, "alice", {}).secret
    before = path.read_bytes()
    for name, given, says in (
        ("alice", None, "already"),
        ("bob", secret, "under the name alice"),
        ("bob", "too-short", "can be guessed"),
        ("bob", "sixteen letters and blanks", "without blanks"),
        ("bob", "", "can be guessed"),
        ("bob smith", None, "up to 64 letters"),
        ("line-1", None, "by its place"),
    ):
        with pytest.raises(KeyNotAdded, match=says):
            add_key(path, name, {}, given)
    assert path.read_bytes() == before


def test_a_file_that_is_broken_is_not_written_over(path: Path) -> None:
    """Nor what is no file."""
    path.write_text("two words\n")
    with pytest.raises(CannotServe, match="line 1"):
        add_key(path, "alice", {})
    assert path.read_text() == "two words\n"
    os.mkfifo(path.parent / "pipe")
    with pytest.raises(CannotServe, match="a regular one"):
        add_key(path.parent / "pipe", "alice", {})


def test_a_link_stays_one(path: Path) -> None:
    """What it names is changed."""
    (path.parent / "real").write_text(f"{OLD}\n")
    path.symlink_to("real")
    add_key(path, "alice", {})
    assert path.is_symlink()
    assert names(path.parent / "real") == ["line-1", "alice"]


def test_several_at_once_lose_none(path: Path) -> None:
    """Each waits for the other's end."""
    threads = [threading.Thread(target=add_key, args=(path, f"key-{number}", {})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(path)) == [f"key-{number}" for number in range(8)]


def test_a_disk_that_is_full_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and nothing beside it."""
    add_key(path, "alice", {})
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        add_key(path, "bob", {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
