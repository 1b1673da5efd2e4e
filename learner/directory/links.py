"""Whole directories once more without a second copy of their files, where the file system can do that. Torch-free."""

import os
import shutil
from pathlib import Path


def link_tree(source: Path, target: Path) -> None:
    """Make `target` a directory with the files of `source`: hard links, and copies where links are impossible.

    Raises:
        OSError: `source` cannot be read, or there is something at `target`, or the disk refused.
    """
    shutil.copytree(source, target, copy_function=link_or_copy)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Let one file have another name."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
