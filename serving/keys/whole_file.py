"""A small file that several processes change: one after the other, and whoever reads sees the old one or the new."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.errors import CannotServe


class WholeFile:
    """A file while nobody else changes it.

    Attributes:
        content: of it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._found = os.fstat(descriptor)
        if not stat.S_ISREG(self._found.st_mode):
            raise CannotServe(f"{path} is no file that can be changed: name a regular one.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            self.content = file.read()

    def replace(self, content: bytes, *, durable: bool) -> None:
        """Give it other content, with the rights and the owner that it has.

        Args:
            content: all of it.
            durable: whether it is on disk on return, and never half; else it is so unless the power fails.

        Raises:
            OSError: it could not be written; the old one is there.
        """
        beside = self._path.with_name(f".{self._path.name}.new")
        # Left behind by one that was killed: nobody else writes while this one has the file.
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._give_rights(descriptor)
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(descriptor)
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(self._path.parent)

    def _give_rights(self, descriptor: int) -> None:
        """Those that the file had: the service, which may be another user than this one, goes on reading it."""
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (self._found.st_uid, self._found.st_gid):
            os.fchown(descriptor, self._found.st_uid, self._found.st_gid)
        os.fchmod(descriptor, self._found.st_mode & 0o7777)


@contextmanager
def opened(path: Path, *, make: bool) -> Iterator[WholeFile]:
    """The file, locked against others that change it this way. A link is followed: what it names is changed.

    Args:
        path: of it.
        make: whether it is made, for its owner alone, where there is none.

    Raises:
        CannotServe: it is no regular file.
        OSError: it cannot be opened for writing.
    """
    path = path.resolve()
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if make else 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had it before has put another in its place.
            if _is_still(path, descriptor):
                yield WholeFile(path, descriptor)
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    # A rename is content of the folder.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
