"""The database file in use: its connections, turns at writing it, and whether it still is the one that was opened."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from memory.database import opening, sqlite
from memory.database.sqlite import Connection
from memory.database.sqlite_errors import RESTORE, describe_damage, explain, explain_unreadable
from memory.errors import (
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnreadable,
    WrongState,
)
from memory.settings import MemorySettings
from streams.closing import Closing

CACHE_KIB = 8 * 1024
IDLE_READERS = 4
LOOK_SECONDS = 1.0
"""How long a look at the file waits for one who holds it locked."""


class Database(Closing):
    """One writer connection, and reader connections as they are needed. Safe to use from any thread.

    Nothing is open before `reopen`, and after `suspend`: everything then raises what is wrong.

    Args:
        make: whether a file that is missing, or empty, may be made a new store.

    Attributes:
        opened: changes whenever the file is opened anew, which may then be another one.
        fault: what everything raises now; None while the file can be used.
    """

    def __init__(self, path: Path, settings: MemorySettings, *, read_only: bool, make: bool = True) -> None:
        self.path = path
        self.read_only = read_only
        self._make = make
        self._settings = settings
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._readers: list[Connection] = []
        self._readers_lock = threading.Lock()
        self.opened = 0
        self._identity: tuple[int, int] | None = None
        self._closed = False
        self._noticed: StoreError | None = None
        self.fault: StoreError | None = StoreClosed(f"{path} is not open yet.")

    @classmethod
    def open(cls, path: Path, settings: MemorySettings, *, read_only: bool) -> Self:
        """Open the file, make it where it is missing, check it and migrate it."""
        database = cls(path, settings, read_only=read_only)
        try:
            database.reopen()
        except BaseException:
            database.close()
            raise
        return database

    def reopen(self) -> None:
        """Open the file as it lies there now, whatever was open before.

        Raises:
            StoreError: it cannot be used, and why; nothing is open then.
        """
        with self._turn:
            if self._closed:
                raise StoreClosed(f"{self.path} was closed.")
            self._close_connections()
            try:
                self._open_writer()
            except BaseException as error:
                # Nothing stays half open, whatever ended it; only what the store suffers from is told to others.
                self._close_connections()
                if isinstance(error, StoreError):
                    self.fault = error
                raise
            self._noticed = self.fault = None

    def suspend(self, fault: StoreError) -> None:
        """Let everything raise `fault` from now on, and hold nothing open that a person would replace."""
        self.fault, self._identity = fault, None
        # Who writes may wait for a lock or for the disk; then `reopen` closes what is open.
        if self._turn.acquire(timeout=LOOK_SECONDS):
            try:
                self._close_connections()
            finally:
                self._turn.release()

    def look(self, *, deep: bool = False) -> StoreError | None:
        """What is wrong with the file, by what was noticed in use and by a look at it; None where nothing is.

        Args:
            deep: look through all of it, about a second a gigabyte, where the settings want that at all.
        """
        noticed, self._noticed = self._noticed, None
        if noticed is not None:
            return noticed
        try:
            self._refuse_another_file()
            with self._translate_errors():
                self._look_inside(deep=deep and self._settings.integrity_check)
        except StoreError as error:
            # It is this very error that was noted on its way here.
            self._noticed = None
            return error
        return None

    def _refuse_another_file(self) -> None:
        identity = _identity_of(self.path)
        if identity is None:
            raise StoreMissing(f"{self.path} is gone. {RESTORE} Reading, rounds and commands wait for it.")
        if self._identity is not None and identity != self._identity:
            raise StoreUnreadable(f"{self.path} was replaced while it was in use: the new file is opened now.")

    def _look_inside(self, *, deep: bool) -> None:
        """Through a connection of its own: others have pages in mind that may be others on the disk by now."""
        # mode=rw: without it SQLite would make the file where it is missing.
        connection = sqlite.connect(f"{self.path.absolute().as_uri()}?mode=rw", timeout=LOOK_SECONDS, uri=True)
        try:
            opening.refuse_foreign(self.path, connection)
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreDamaged(describe_damage(self.path, "it is empty"))
            if deep:
                opening.check(self.path, connection)
        finally:
            connection.close()

    def _open_writer(self) -> None:
        opening.refuse_old_sqlite(sqlite.sqlite_version_info)
        self._refuse_missing()
        with self._translate_errors():
            self._connection = self._connect(self._settings.busy_timeout_s)
            opening.prepare(self.path, self._connection, self._settings, read_only=self.read_only)
        self._identity = _identity_of(self.path)

    def _refuse_missing(self) -> None:
        size = _size_of(self.path)
        if self.read_only and size is None:
            raise StoreMissing(f"There is no store at {self.path}. Start Riverkeep there once, or correct `state_dir`.")
        if not self._make and not size:
            how = "There is no database at" if size is None else "Nothing is in the database"
            raise StoreMissing(
                f"{how} {self.path}, though generations have served from its folder. {RESTORE} To go on without what "
                "it held, say `riverkeep memory begin-anew`."
            )
        if size is None:
            _create(self.path)

    def _connect(self, timeout_s: float) -> Connection:
        # No isolation level: transactions begin where the code says so, and not before some statements. Connections go
        # from thread to thread, one at a time.
        connection = sqlite.connect(str(self.path), timeout=timeout_s, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def check(self) -> None:
        """Look through the file's structure.

        Raises:
            StoreDamaged: it is inconsistent; the message says what to do.
        """
        with self.exclusive() as writer:
            opening.check(self.path, writer)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A turn at writing: one transaction, committed when the block ends and undone when it raises."""
        if self.read_only:
            raise WrongState(f"{self.path} was opened for reading only.")
        with self.exclusive() as writer, sqlite.transaction(writer):
            yield writer

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A turn at writing without a transaction, for what cannot run inside one."""
        with self._turn, self._translate_errors():
            yield self._usable()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of what is committed; it neither waits for a writer nor delays one."""
        with self._translate_errors():
            opened = self.opened
            reader = self._take_reader()
            try:
                # Else each statement would see the state of its own moment.
                reader.execute("BEGIN")
                yield reader
            finally:
                self._give_back(reader, opened)

    def _take_reader(self) -> Connection:
        with self._readers_lock:
            self._usable()
            if self._readers:
                return self._readers.pop()
        reader = self._connect(self._settings.busy_timeout_s)
        reader.execute("PRAGMA query_only = ON")
        return reader

    def _give_back(self, reader: Connection, opened: int) -> None:
        # Not where the file is damaged: whoever asked has an error already, which this must not hide.
        with suppress(sqlite.DatabaseError):
            if reader.in_transaction:
                reader.execute("COMMIT")
            with self._readers_lock:
                usable = not self._closed and self.fault is None and opened == self.opened
                if usable and len(self._readers) < IDLE_READERS:
                    self._readers.append(reader)
                    return
        reader.close()

    def file_bytes(self) -> dict[str, int]:
        """Sizes of the database and of its write-ahead log, as they are now."""
        return {name: _size_of(file) or 0 for name, file in self._files().items()}

    def signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Inode, size and time of change (ns) of database and write-ahead log; None for one that is not there."""
        return tuple(_signature_of(file) for file in self._files().values())

    def _files(self) -> dict[str, Path]:
        return {"database": self.path, "wal": self.path.with_name(self.path.name + "-wal")}

    @property
    def _writer(self) -> Connection:
        return self._usable()

    def _usable(self) -> Connection:
        if self._closed:
            raise StoreClosed(f"{self.path} was closed.")
        if self.fault is not None:
            # A new one each time: many threads would hang their traces on the same one.
            raise type(self.fault)(*self.fault.args)
        if self._connection is None:
            raise StoreClosed(f"{self.path} is not open yet.")
        return self._connection

    def _close_connections(self) -> None:
        """Called in a turn at writing; readers that are in use close themselves when they are given back."""
        with self._readers_lock:
            writer, self._connection = self._connection, None
            for connection in (*self._readers, *([writer] if writer else [])):
                with suppress(sqlite.DatabaseError):
                    connection.close()
            self._readers.clear()
            # Within the lock: who gives a reader back sees by this that it belongs to the file before.
            self.opened += 1

    def close(self) -> None:
        """Wait for the running write, then close every connection; idempotent."""
        with self._turn:
            self._closed = True
            self._close_connections()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """SQLite's errors in words that say what to do."""
        try:
            yield
        except sqlite.DatabaseError as error:
            if (explained := explain(self.path, error)) is None:
                raise
            if isinstance(explained, StoreDamaged | StoreUnreadable):
                self._noticed = explained
            raise explained from error


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _signature_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _size_of(path: Path) -> int | None:
    """Bytes of a file; None where there is none. Of what cannot be looked at SQLite tells the error."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError:
        return 1


def _create(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its log files the same mode."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise explain_unreadable(path, str(error)) from error
