"""`python -m learner ROUND_DIR`: run one round; with `--write NAME`, write one of its candidates once it has run.

Exit codes: 0 a report was written (its outcome says what became of the round), or the candidate; 3 out of memory, 4
the round's directory cannot be used, 5 no room on the disk, 1 anything else. The last line on standard error says what
happened.
"""

import argparse
import sys
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
    from learner.job import run_round
    from learner.progress import Progress


def main(arguments: list[str] | None = None) -> int:
    """Run the round that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m learner", description="Run one update round.")
    parser.add_argument("round_dir", type=Path, help="directory of the round, as the daemon writes it")
    parser.add_argument(
        "--write", metavar="NAME", help="write this candidate of a round that has run, and nothing else"
    )
    given = parser.parse_args(arguments)
    path = given.round_dir
    transformers_logging.set_verbosity_error()
    try:
        if given.write is None:
            run_round(path, echo=sys.stdout)
        else:
            with Progress(path / PROGRESS, sys.stdout, goes_on=True) as progress:
                write_candidate(path, given.write, progress)
    except (LearnerError, CheckpointsError, OSError, RuntimeError, MemoryError) as error:
        if (ending := _ending_of(error, path)) is None:
            raise
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


def _no_room(error: OSError, path: Path) -> str:
    # Of two files, the first was read.
    written = error.filename2 or error.filename
    what = f" to write {written}" if written else ""
    return f"{path}: no space{what} ({error.strerror}). Free space on that disk: the next round tries again"


if __name__ == "__main__":
    sys.exit(main())
