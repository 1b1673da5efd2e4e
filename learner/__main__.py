"""`python -m learner ROUND_DIR`: run one round; with `--write NAME`, write one of its candidates once it has run.

A round on several devices is run by a process for each, which this one starts and watches; `torchrun -m learner
ROUND_DIR` starts them itself.

Exit codes: 0 a report was written (its outcome says what became of the round), or the candidate; 3 out of memory, 4
the round's directory cannot be used, 5 no room on the disk, 6 a rank was lost to the others, 128 and a signal's number
a rank was ended by it, 1 anything else. The last line on standard error says what happened.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from learner.devices.large_blocks import keep_large_blocks_apart
from learner.directory.round_directory import read_spec
from learner.errors import BadRoundDirectory
from learner.processes.launcher import end_with_launcher, ranks_to_start, run_ranks


def main(arguments: list[str] | None = None) -> int:
    """Run the round that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m learner", description="Run one update round.")
    parser.add_argument("round_dir", type=Path, help="directory of the round, as the daemon writes it")
    parser.add_argument(
        "--write", metavar="NAME", help="write this candidate of a round that has run, and nothing else"
    )
    parser.add_argument(
        "--meeting", type=Path, metavar="FILE", help="by which the ranks find each other that this command starts"
    )
    given = parser.parse_args(arguments)
    if given.meeting is not None:
        end_with_launcher()
    elif given.write is None and (count := ranks_to_start(given.round_dir)) > 1:
        return run_ranks(given.round_dir, count)
    if is_to_hold_little(given.round_dir):
        keep_large_blocks_apart()
    from learner.processes.in_this_process import run  # noqa: PLC0415 - torch only where a round is computed

    return run(given.round_dir, write=given.write, meeting=given.meeting)


def is_to_hold_little(path: Path) -> bool:
    """Whether a round computes activations again; what is wrong with its directory is said by who runs it."""
    with suppress(BadRoundDirectory):
        return bool(read_spec(path).recipe.gradient_checkpointing)
    return False


if __name__ == "__main__":
    sys.exit(main())
