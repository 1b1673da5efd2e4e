"""Files and directories that appear whole or not at all, by steps that a test can stop at.

A directory is written beside its place, each file is synced, then the directory, then it is renamed and its
parent synced: after a crash at any point the old state or the new one is there.

Test seam: with `RIVERKEEP_FAULT="LABEL:kill"` the process kills itself (SIGKILL) when it reaches that step,
with `LABEL:enospc` the step fails as a full disk does. `LABEL@3:kill` waits for the third time. Labels are
the values of `DurableStep`. The variable is for tests of crashes and has no other use.
"""

import errno
import hashlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

FAULT_VARIABLE: Final = "RIVERKEEP_FAULT"
CHUNK_BYTES: Final = 4 * 1024 * 1024


class DurableStep(StrEnum):
    """The durable steps, in the order in which they are taken."""

    STAGE_MAKE = "stage.make"
    STAGE_COPY = "stage.copy"
    STAGE_SYNC_FILE = "stage.sync_file"
    STAGE_MANIFEST = "stage.manifest"
    STAGE_SYNC_DIRECTORY = "stage.sync_directory"
    PUBLISH_RENAME = "publish.rename"
    PUBLISH_SYNC_PARENT = "publish.sync_parent"
    PUBLISHED = "published"
    FILE_WRITE = "file.write"
    FILE_SYNC = "file.sync"
    FILE_RENAME = "file.rename"
    FILE_SYNC_PARENT = "file.sync_parent"
    POINTED = "pointed"
    REMOVE_RENAME = "remove.rename"
    REMOVE_DELETE = "remove.delete"
    REMOVED = "removed"


_reached: Counter[str] = Counter()


def step(label: DurableStep) -> None:
    """Mark that the step `label` begins; the place where fault tests kill the process or fill the disk.

    Raises:
        OSError: ENOSPC, when a test asked for it.
    """
    fault = os.environ.get(FAULT_VARIABLE)
    if not fault:
        return
    where, _, action = fault.partition(":")
    name, _, count = where.partition("@")
    if name != label:
        return
    _reached[name] += 1
    # At that time alone, so that what is tried again after a failure goes through.
    if _reached[name] != int(count or 1):
        return
    if action == "kill":
        # No exception and no exit: those would run `finally` blocks, which a crash does not.
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(label))


def _sync_file(path: Path) -> None:
    """Make the content of a file durable that somebody else has written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    # Syncing a file writes its content; its name is content of the directory.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new content, whole or not at all, durable on return. A reader sees the old or the new.

    Raises:
        OSError: the disk refused; the old content is untouched.
    """
    # In the same folder: a rename across file systems is a copy, which can be cut off.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        step(DurableStep.FILE_WRITE)
        with beside.open("wb") as file:
            file.write(data)
            step(DurableStep.FILE_SYNC)
            file.flush()
            # Before the rename: else the new name can outlive a power cut with nothing behind it.
            os.fsync(file.fileno())
        step(DurableStep.FILE_RENAME)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    # The rename is durable only with its folder.
    step(DurableStep.FILE_SYNC_PARENT)
    sync_directory(path.parent)


def publish_directory(files: Mapping[str, Path | bytes], target: Path) -> None:
    """Make directory `target` of `files` (name to content or to the file to copy), whole or not at all.

    The caller sees to it that `target` does not exist. Files are copied, never linked: whoever writes into
    the original later must not change a generation.

    Raises:
        OSError: the disk refused; nothing remains.
    """
    with _staging(target) as staging:
        for name, content in files.items():
            _write_durably(staging / name, content)


@contextmanager
def built_directory(target: Path) -> Iterator[Path]:
    """Give an empty directory beside `target`, which becomes it, durably, when the block has filled it.

    For what a library writes. The caller sees to it that `target` does not exist.

    Raises:
        OSError: the disk refused; of that, and of whatever the block raises, nothing remains.
    """
    with _staging(target) as staging:
        yield staging
        for file in sorted(path for path in staging.rglob("*") if path.is_file()):
            step(DurableStep.STAGE_SYNC_FILE)
            _sync_file(file)


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Give an empty directory that takes the place of `target` when the block ends well; its files are synced there."""
    # Beside it, in the same file system: only there a rename is one step.
    staging = target.with_name(f".staging-{target.name}")
    try:
        step(DurableStep.STAGE_MAKE)
        # What a crash left there may be half of another candidate.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        step(DurableStep.STAGE_SYNC_DIRECTORY)
        # Before the rename, like the files: else a power cut can leave the name with an empty directory behind it.
        for directory in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            sync_directory(directory)
        step(DurableStep.PUBLISH_RENAME)
        staging.rename(target)
    except Exception:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    step(DurableStep.PUBLISH_SYNC_PARENT)
    # Until then a power cut takes the rename back, and whoever was told of the generation would not find it.
    sync_directory(target.parent)
    step(DurableStep.PUBLISHED)


def _write_durably(path: Path, content: Path | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        if isinstance(content, bytes):
            step(DurableStep.STAGE_MANIFEST)
            target.write(content)
        else:
            step(DurableStep.STAGE_COPY)
            with content.open("rb") as source:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
        step(DurableStep.STAGE_SYNC_FILE)
        target.flush()
        os.fsync(target.fileno())


def remove_directory(path: Path) -> None:
    """Remove a directory so that no reader ever finds half of it under its name."""
    # Deleting takes many steps, renaming one.
    gone = path.with_name(f".removed-{path.name}")
    step(DurableStep.REMOVE_RENAME)
    # What an earlier removal left half done would be in the way of the rename.
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    # Before anything is deleted: else a power cut could bring the name back with half of its files.
    sync_directory(path.parent)
    step(DurableStep.REMOVE_DELETE)
    shutil.rmtree(gone)
    step(DurableStep.REMOVED)


def sweep(parent: Path) -> list[str]:
    """Remove what interrupted publications and removals left under `parent`; returns the names removed."""
    leftovers = [path for pattern in (".staging-*", ".removed-*", ".*.new") for path in parent.glob(pattern)]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return sorted(path.name for path in leftovers)


def sha256_of(content: Path | bytes) -> str:
    """SHA-256 of a file or of bytes, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
