"""Processes that an earlier daemon of this state directory left behind when it was killed."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)

# Not RIVERKEEP_…: those are settings, and a child that reads them would refuse one it does not know.
OWNER_VARIABLE = "OWNED_BY_RIVERKEEP_AT"


def child_environment(state_dir: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child process, which names the state directory it belongs to.

    systemd's variables stay out: a child does not speak for the service.
    """
    passed_on = {name: value for name, value in environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    return {**passed_on, "PYTHONUNBUFFERED": "1", OWNER_VARIABLE: str(state_dir.resolve())}


def end_orphans(state_dir: Path, *, patience_seconds: float = 5.0) -> list[int]:
    """End what an earlier daemon left running; returns the process ids.

    Called by the holder of the lock before it starts children of its own, so that whatever carries this state
    directory's mark has no daemon any more. A learner among them would write into a round directory that
    recovery removes; a serving process would hold the port. Each is asked first and killed after
    `patience_seconds`.
    """
    orphans = [process for process in psutil.process_iter() if _belongs_to(process, str(state_dir.resolve()))]
    for process in orphans:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(orphans, timeout=patience_seconds)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=patience_seconds)
    if orphans:
        log.warning("orphans_ended", pids=[process.pid for process in orphans], killed=len(alive))
    return [process.pid for process in orphans]


def _belongs_to(process: psutil.Process, owner: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(OWNER_VARIABLE) == owner
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill() if kill else process.terminate()
