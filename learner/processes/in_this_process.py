"""A round, or one of its ranks, run in this process: what becomes of an error, and how it is told."""

import sys
import traceback
from pathlib import Path

from checkpoints.errors import CheckpointsError
from checkpoints.files.disk_errors import is_no_room
from checkpoints.quick_imports import quick_imports
from learner.directory.round_directory import PROGRESS
from learner.errors import BadRoundDirectory, LearnerError, NoRoom, OutOfMemory

with quick_imports():
    from transformers.utils import logging as transformers_logging

    from learner.candidates import write_candidate
    from learner.devices.device import is_out_of_memory
    from learner.devices.ranks import joined_ranks
    from learner.job import run_round
    from learner.progress import Progress


def run(path: Path, *, write: str | None = None, meeting: Path | None = None) -> int:
    """Run a round, or write one of its candidates; return the exit code, with an error told on standard error.

    Args:
        path: directory of the round.
        write: name of the candidate; None where the round is run.
        meeting: the file by which the ranks of a round find each other; None where they are told otherwise.
    """
    transformers_logging.set_verbosity_error()
    try:
        if write is None:
            with joined_ranks(meeting) as ranks:
                run_round(path, echo=sys.stdout, ranks=ranks)
        else:
            with Progress(path / PROGRESS, sys.stdout, goes_on=True) as progress:
                write_candidate(path, write, progress)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person reads a sentence
        if (ending := _ending_of(error, path)) is None:
            # Before the sentence, which is the last line: whoever mends the program needs to know where.
            traceback.print_exception(error)
            ending = _unforeseen(error, path), LearnerError.exit_code
        message, code = ending
        print(message, file=sys.stderr)
        return code
    return 0


def _ending_of(error: Exception, path: Path) -> tuple[str, int] | None:
    """What to say of an error, and the exit code; None for what nobody foresaw."""
    if is_out_of_memory(error):
        said = str(error).partition("\n")[0]
        return f"out of memory: {said}", OutOfMemory.exit_code
    if isinstance(error, LearnerError):
        return str(error), error.exit_code
    if isinstance(error, CheckpointsError):
        return str(error), BadRoundDirectory.exit_code
    if isinstance(error, OSError) and is_no_room(error):
        return _no_room(error, path), NoRoom.exit_code
    if isinstance(error, OSError):
        return f"{path}: {error}", LearnerError.exit_code
    return None


def _unforeseen(error: Exception, path: Path) -> str:
    said = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return (
        f"the round in {path} ended by a fault that nobody foresaw: {what}. Its log says where in the program; "
        "`riverkeep doctor` rehearses a round with these settings, and tells whether the next one would end so too"
    )


def _no_room(error: OSError, path: Path) -> str:
    # Of two files, the first was read.
    written = error.filename2 or error.filename
    what = f" to write {written}" if written else ""
    return f"{path}: no space{what} ({error.strerror}). Free space on that disk: the next round tries again"
