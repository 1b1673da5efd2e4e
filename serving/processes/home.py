"""Where engines write, and where generations lie that are made whole for them: as long as this process lives."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

PREFIX: Final = "riverkeep-engines-"


@contextmanager
def engines_home() -> Iterator[Path]:
    """A directory of this process's, in the one for temporary files; those that killed ones left behind are removed.

    Raises:
        OSError: there is no room for one.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as home:
        yield Path(home)


def _sweep(folder: Path) -> None:
    """Remove the directories of processes that are no more: a generation in one may be many gigabytes."""
    for left in folder.glob(f"{PREFIX}*-*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        # Another user's cannot be removed, and is none of ours.
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            with suppress(OSError):
                shutil.rmtree(left)
