"""One daemon per state directory: a lock that ends with its holder, and whose file names that holder."""

import fcntl
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, read_json, write_json
from daemon.errors import AlreadyRunning, StateDirUnusable

FILE_NAME = "lock"

# `riverkeep status` looks at the lock for some microseconds; a daemon must not take that for another daemon.
ATTEMPTS = 5
ATTEMPT_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, config=STRICT)
class Holder:
    """Who holds a state directory.

    Attributes:
        pid: of its process.
        host: the machine that it runs on.
        started_at: unix seconds.
        admin: the admin surface, as `http://host:port`; empty until it listens.
        doing: until then, what it does, as `it checks the store`; empty where that is not said.
    """

    pid: int
    host: str
    started_at: float
    admin: str = ""
    doing: str = ""


class StateLock:
    """Holds a state directory while it is entered.

    The lock belongs to the open file: it ends with the process, however that dies, so a stale file blocks
    nobody. The file itself stays; unlinking it would let two processes lock two files of one name.
    """

    def __init__(self, state_dir: Path, *, now: float) -> None:
        self._path = state_dir / FILE_NAME
        self._holder = Holder(pid=os.getpid(), host=socket.gethostname(), started_at=now)
        self._descriptor: int | None = None
        self._announced = False

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunning: another process has it; the message names it.
            StateDirUnusable: the state directory cannot be made or written.
        """
        make_state_dir(self._path.parent)
        try:
            # Not inheritable (Python's default): a learner that outlives the daemon must not keep the lock.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StateDirUnusable(self._path.parent, error) from error
        if not _lock_exclusively(descriptor):
            os.close(descriptor)
            raise AlreadyRunning(_refusal(self._path))
        self._descriptor = descriptor
        self._write(self._holder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            # While the lock is held: after it the file may be the next daemon's.
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def announce(self, admin: str) -> None:
        """Write where the admin surface listens (`http://host:port`), for the commands to find it."""
        self._announced = True
        self._write(replace(self._holder, admin=admin))

    def tell(self, doing: str) -> None:
        """Write what is done before anything listens (`it checks the store`); nothing once the address is told."""
        # A database is taken up while the daemon runs, too: the address must stay there for the commands.
        if not self._announced:
            self._write(replace(self._holder, doing=doing))

    def _write(self, holder: Holder) -> None:
        assert self._descriptor is not None
        line = write_json(holder) + b"\n"
        # Longer first, cut after: a reader never finds the file empty while the lock is held.
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))


def make_state_dir(path: Path) -> None:
    """Make the state directory where there is none. Raises StateDirUnusable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateDirUnusable(path, error) from error


def holder_of(state_dir: Path) -> Holder | None:
    """Who holds the state directory now; None when nobody does."""
    path = state_dir / FILE_NAME
    with suppress(FileNotFoundError, NotADirectoryError), path.open("rb") as file:
        try:
            # A shared lock for an instant; a daemon that starts meanwhile tries again.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(path)
    return None


def _lock_exclusively(descriptor: int) -> bool:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(ATTEMPT_EVERY_S)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _read(path: Path) -> Holder:
    try:
        return read_json(Holder, path.read_bytes())
    except ValidationError:
        # It is locked and not written yet.
        return Holder(pid=0, host="", started_at=0.0)


def _refusal(path: Path) -> str:
    holder = _read(path)
    who = f"process {holder.pid} on {holder.host}" if holder.pid else "another process"
    where = f", admin at {holder.admin}" if holder.admin else ""
    return (
        f"{path.parent} is in use by {who}{where}. "
        "One daemon per state directory: stop that one, or give this one another `state_dir`."
    )
