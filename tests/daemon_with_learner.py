"""`riverkeep run` with a stand-in learner: `python -m tests.daemon_with_learner CONFIG COMMAND…`."""

import os
import sys
from pathlib import Path

from daemon import logs
from daemon.assembly.launch import Launch
from daemon.jobs.cluster import account_within
from daemon.service import running
from daemon.settings.load import load


def main(config: Path, learner: tuple[str, ...]) -> None:
    """Run until SIGTERM."""
    settings = load(config)
    logs.configure(level=settings.log.level, format=settings.log.format)
    # Where a test has a cluster: Kubernetes' own place for these files is no test's.
    files = os.environ.get("ACCOUNT_OF_TEST")
    account = None if files is None else account_within(os.environ, Path(files))
    with running(Launch(settings, config, learner, account=account)) as service:
        service.main_loop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]))
