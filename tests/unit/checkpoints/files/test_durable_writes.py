"""Files and directories appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from checkpoints.files import durable_writes
from checkpoints.files.durable_writes import DurableStep


@pytest.fixture(autouse=True)
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_writes, "_reached", type(durable_writes._reached)())


def test_a_directory_holds_what_it_was_given(tmp_path: Path) -> None:
    """Copied files and given bytes are there under their names, and nothing else is left."""
    (tmp_path / "source").write_bytes(b"copied")
    durable_writes.publish_directory({"a": tmp_path / "source", "sub/b": b"given"}, tmp_path / "out" / "000001")
    assert (tmp_path / "out/000001/a").read_bytes() == b"copied"
    assert (tmp_path / "out/000001/sub/b").read_bytes() == b"given"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000001"]


def test_all_of_a_directory_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files, and each directory that holds their names; after the rename the one that holds its own."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    durable_writes.publish_directory({"a": b"a", "sub/b": b"b", "sub/deeper/c": b"c"}, tmp_path / "out" / "000001")
    staging = "out/.staging-000001"
    before = {f"{staging}/{name}" for name in ("a", "sub", "sub/b", "sub/deeper", "sub/deeper/c")} | {staging}
    assert set(synced[:-1]) == before
    assert synced[-1] == "out"


def test_a_published_file_is_a_copy(tmp_path: Path) -> None:
    """Writing into the original later does not change what was published."""
    (tmp_path / "source").write_bytes(b"before")
    durable_writes.publish_directory({"a": tmp_path / "source"}, tmp_path / "out")
    (tmp_path / "source").write_bytes(b"after!")
    assert (tmp_path / "out/a").read_bytes() == b"before"


@pytest.mark.parametrize(
    "label", [step for step in DurableStep if step.startswith("stage.") or step == DurableStep.PUBLISH_RENAME]
)
def test_a_full_disk_leaves_nothing_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: DurableStep
) -> None:
    """Whatever step the disk refuses, neither the directory nor its staging remains."""
    monkeypatch.setenv(durable_writes.FAULT_VARIABLE, f"{label}:enospc")
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(OSError, match="No space left") as caught:
        durable_writes.publish_directory({"a": tmp_path / "source", "b": b"y"}, tmp_path / "out" / "000001")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("label", [DurableStep.FILE_WRITE, DurableStep.FILE_SYNC, DurableStep.FILE_RENAME])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: DurableStep) -> None:
    """A file that cannot be replaced keeps its content, and nothing lies beside it."""
    monkeypatch.setenv(durable_writes.FAULT_VARIABLE, f"{label}:enospc")
    (tmp_path / "pointer").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        durable_writes.replace_file(tmp_path / "pointer", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"pointer": b"old"}


def test_a_counted_fault_waits_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LABEL@2` lets the first time pass."""
    monkeypatch.setenv(durable_writes.FAULT_VARIABLE, "file.write@2:enospc")
    durable_writes.replace_file(tmp_path / "pointer", b"first")
    with pytest.raises(OSError, match="No space left"):
        durable_writes.replace_file(tmp_path / "pointer", b"second")


def test_sweeping_removes_only_leftovers(tmp_path: Path) -> None:
    """What an interrupted step left goes; published directories stay."""
    for name in (".staging-000002", ".removed-000001", "000003"):
        (tmp_path / name).mkdir()
    (tmp_path / ".serving.json.17.new").write_bytes(b"half")
    assert durable_writes.sweep(tmp_path) == [".removed-000001", ".serving.json.17.new", ".staging-000002"]
    assert [path.name for path in tmp_path.iterdir()] == ["000003"]
