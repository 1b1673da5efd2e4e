"""Rounds run by two ranks on this machine's CPU: `python -m tests.unit.learner.two_ranks ROUND_DIR ...`.

What `torchrun` starts are two processes that each import what takes most of such a test's time. Here one imports it and
becomes two.
"""

import os
import sys
import tempfile
import traceback
from pathlib import Path

from learner import progress
from learner.devices.ranks import joined_ranks
from learner.job import run_round
from learner.processes.launcher import loopback_interface


def run(rank: int, meeting: Path, paths: list[Path]) -> None:
    """Be one of the two in one round after another; each step is told."""
    progress.INTERVAL_S = 0.0
    with joined_ranks(meeting, {"RANK": str(rank), "WORLD_SIZE": "2"}) as ranks:
        for path in paths:
            run_round(path, ranks=ranks)


def main() -> None:
    """Run the rounds that the command line names."""
    paths = list(map(Path, sys.argv[1:]))
    os.environ["GLOO_SOCKET_IFNAME"] = loopback_interface()
    with tempfile.TemporaryDirectory() as folder:
        other = os.fork()
        if not other:
            try:
                run(1, Path(folder) / "meeting", paths)
            except BaseException:  # noqa: BLE001 - told here, as nobody waits for it otherwise
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        run(0, Path(folder) / "meeting", paths)
        _, status = os.waitpid(other, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
