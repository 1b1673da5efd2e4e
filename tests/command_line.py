"""`riverkeep` as a process: started as a person starts it, or forked from one that has imported all that commands need.

What a command does takes a tenth of the time that its imports take. A fork is a process of its own all the same, with
its own standard streams, folder, environment and exit status; what a start itself does is tested with processes that
are really started.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

TIMEOUT_S = 120
PIPE_BYTES = 65_536
"""How much a pipe takes before anybody reads."""
NEEDED = (
    *(
        f"daemon.cli.commands.{name}"
        for name in ("api_keys", "backfill", "memory", "people", "rounds", "setup", "status")
    ),
    *(
        f"daemon.cli.render.{name}"
        for name in ("api_keys", "findings", "generations", "kept", "people", "rounds", "status")
    ),
    *("daemon.cli.follow", "daemon.cli.main", "daemon.cli.reach", "daemon.admin.client", "daemon.settings.load"),
    *("daemon.control.without_daemon", "daemon.doctor.machine", "daemon.doctor.notes", "daemon.ingestion.backfill"),
    *("daemon.settings.reference", "memory.store", "tests.command_line"),
)


def riverkeep(
    *arguments: str, cwd: Path, stdin: str = "", environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end, in a fork of a process that has imported what it needs."""
    read, write = _forks().Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder, read, write:
        process = _forks().Process(
            target=_run, args=(arguments, cwd, read, Path(folder), surroundings(environment)), name="riverkeep"
        )
        process.start()
        read.close()
        given = stdin.encode()
        assert len(given) <= PIPE_BYTES, "more than a pipe takes at once"
        os.write(write.fileno(), given)
        write.close()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, TIMEOUT_S)
        status = process.exitcode
        process.close()
        out, error = ((Path(folder) / name).read_text() for name in ("out", "error"))
    return subprocess.CompletedProcess(arguments, status, out, error)


def started_riverkeep(*arguments: str, cwd: Path, python: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end, in a process that is started for it.

    Args:
        python: options of the interpreter.
    """
    return subprocess.run(
        [sys.executable, *python, "-m", "daemon", *arguments],
        cwd=cwd,
        env=surroundings(),
        input="",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def surroundings(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of whoever runs the tests, and with some more."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RIVERKEEP_")} | dict(more or {})


@cache
def _forks() -> ForkServerContext:
    """Processes that begin with all of that imported. It has a single thread, so that nothing is cut off by a fork."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(NEEDED))
    return context


def _run(arguments: tuple[str, ...], cwd: Path, stdin: Connection, folder: Path, environment: dict[str, str]) -> None:
    """Run one command in this process, and end it."""
    os.dup2(stdin.fileno(), 0)
    for descriptor, name in ((1, "out"), (2, "error")):
        opened = os.open(folder / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    # The one that there was is closed; the other two write to their descriptors, whatever is behind these now.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open as long as the process
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    sys.argv = ["riverkeep", *arguments]
    from daemon.cli.main import main

    main()
