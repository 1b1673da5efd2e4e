"""Disks without room."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unproven import MOUNT, program


@contextmanager
def files_limited(size: int) -> Iterator[None]:
    """Let the operating system refuse to write any file of this process beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of so many MiB on that folder; skips where none may be mounted."""
    folder.mkdir(parents=True)
    command = [program("mount", MOUNT), "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        MOUNT.skip()
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
