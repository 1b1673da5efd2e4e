"""Processes that an earlier daemon of this state directory left behind when it was killed."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from daemon.processes.compiled_code import compiled_dir

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.05

# Not RIVERKEEP_…: those are settings, and a child that reads them would refuse one it does not know.
OWNER_VARIABLE = "OWNED_BY_RIVERKEEP_AT"

COMPILED_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch keeps code that it has compiled."""


def child_environment(state_dir: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child process, which names the state directory it belongs to.

    systemd's variables stay out: a child does not speak for the service. What torch compiles it keeps in the state
    directory unless the environment says otherwise: where it would by itself others may write, and it is run.
    """
    passed_on = {name: value for name, value in environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    # Unbuffered: what a child wrote before it was killed has arrived.
    state_dir = state_dir.resolve()
    own = {"PYTHONUNBUFFERED": "1", OWNER_VARIABLE: str(state_dir)}
    return {COMPILED_VARIABLE: str(compiled_dir(state_dir)), **passed_on, **own}


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
    alive = _still_alive(orphans, patience_seconds)
    for process in alive:
        _signal(process, kill=True)
    _still_alive(alive, patience_seconds)
    if orphans:
        log.warning("orphans_ended", pids=[process.pid for process in orphans], killed=len(alive))
    return [process.pid for process in orphans]


def _belongs_to(process: psutil.Process, owner: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(OWNER_VARIABLE) == owner
    # Another user's, or one that has just ended: none of ours.
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill() if kill else process.terminate()


def _still_alive(processes: list[psutil.Process], patience_seconds: float) -> list[psutil.Process]:
    """Wait for their end; those that are left after `patience_seconds`."""
    deadline = time.monotonic() + patience_seconds
    while alive := [process for process in processes if not _has_ended(process)]:
        if time.monotonic() >= deadline:
            return alive
        time.sleep(LOOK_EVERY_SECONDS)
    return []


def _has_ended(process: psutil.Process) -> bool:
    # A zombie has ended; in a container nobody may ever come to reap it.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a child has ended; looked at, not reaped, so that its number stays taken."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_group(process: "subprocess.Popen[bytes]", *, patience_seconds: float = 0.0) -> int:
    """End a child that leads its own process group, and all that is in the group; returns its exit status.

    With patience it is asked first (SIGTERM) and waited for; then the group is killed, also when the child
    ended by itself: workers that it left behind end with it.
    """
    if patience_seconds > 0 and not has_ended(process):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_seconds
        while not has_ended(process) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        # While it is not reaped its number is still its own: later the group could be another's.
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
