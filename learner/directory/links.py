"""Whole directories once more without a second copy of their files, where the file system can do that. Torch-free."""

import os
import shutil
from pathlib import Path

from checkpoints.adapters.ground import BELOW, is_adapter, whole_dir


def link_generation(source: Path, target: Path) -> None:
    """Make `target` a directory with the files of a generation, below it those of what it lies on.

    Raises:
        checkpoints.errors.UnusableModel: what it says of that is damaged.
        OSError: as `link_tree`.
    """
    link_tree(source, target)
    # Where the generation is another round's, its ground lies below it already.
    if is_adapter(source) and not (target / BELOW).exists():
        link_tree(whole_dir(source), target / BELOW)


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
