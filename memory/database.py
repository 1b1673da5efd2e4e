"""The database file: opening it, checking it, and turns at writing it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import structlog
from sqlite_utils import Database as UtilsDatabase

from memory import schema, sqlite
from memory.errors import (
    NotAStore,
    SqliteTooOld,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreFull,
    StoreMissing,
    StoreTooNew,
    StoreTooOld,
    StoreUnreadable,
    WrongState,
)
from memory.settings import MemorySettings
from memory.sqlite import Connection
from streams.closing import Closing

log = structlog.get_logger(__name__)

PAGE_BYTES = 8192
CACHE_KIB = 8 * 1024
CHECKPOINT_PAGES = 2_000
WAL_BYTES_KEPT = 64 * 2**20
IDLE_READERS = 4


class Database(Closing):
    """One writer connection, and reader connections as they are needed. Safe to use from any thread."""

    def __init__(self, path: Path, settings: MemorySettings, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._timeout_s = settings.busy_timeout_s
        self._turn = threading.Lock()
        self._readers: list[Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        with self._translated():
            self._writer = self._connect()

    @classmethod
    def open(cls, path: Path, settings: MemorySettings, *, read_only: bool) -> Self:
        """Open the file, make it where it is missing, check it and migrate it."""
        refuse_old_sqlite(sqlite.sqlite_version_info)
        if read_only and not path.exists():
            raise StoreMissing(f"There is no store at {path}. Start Riverkeep there once, or correct `state_dir`.")
        if not path.exists():
            _create(path)
        database = cls(path, settings, read_only=read_only)
        try:
            database._prepare(settings)
        except BaseException:
            database.close()
            raise
        return database

    def _connect(self) -> Connection:
        connection = sqlite.connect(
            str(self.path), timeout=self._timeout_s, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def _prepare(self, settings: MemorySettings) -> None:
        with self._translated():
            self._refuse_foreign()
            utils = UtilsDatabase(self._writer, recursive_triggers=False, execute_plugins=False)
            if unknown := schema.unknown_migrations(utils):
                raise StoreTooNew(
                    f"{self.path} was written by a newer Riverkeep (it has {', '.join(unknown)}). Install that version."
                )
            if self.read_only:
                self._prepare_reading(utils)
            else:
                self._prepare_writing(utils, check=settings.integrity_check)

    def _refuse_foreign(self) -> None:
        """An empty file may become a store; another program's database may not."""
        tables = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self._writer.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != schema.APPLICATION_ID:
            raise NotAStore(f"{self.path} is an SQLite database, but not of Riverkeep. Choose another `state_dir`.")

    def _prepare_reading(self, utils: UtilsDatabase) -> None:
        if pending := schema.migrations.pending(utils):
            raise StoreTooOld(
                f"{self.path} needs {len(pending)} migration(s). Start this version of Riverkeep there once."
            )
        self._writer.execute("PRAGMA query_only = ON")

    def _prepare_writing(self, utils: UtilsDatabase, *, check: bool) -> None:
        writer = self._writer
        writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute("PRAGMA secure_delete = ON")
        writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        if check:
            self.check()
        if schema.migrations.pending(utils):
            with self.write():  # In our own turn, so that two starting processes do not both migrate.
                for migration in schema.migrations.pending(utils):
                    log.info("store_migrating", path=str(self.path), migration=migration.name)
                schema.migrations.apply(utils)

    def check(self) -> None:
        """Look through the file's structure.

        Raises:
            StoreDamaged: it is inconsistent; the message says what to do.
        """
        with self._translated():
            findings = [row[0] for row in self._writer.execute("PRAGMA quick_check(3)")]
        if findings != ["ok"]:
            raise StoreDamaged(_damaged(self.path, "; ".join(findings)))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A turn at writing: one transaction, committed when the block ends and undone when it raises."""
        if self.read_only:
            raise WrongState(f"{self.path} was opened for reading only.")
        with self._turn, self._translated():
            self._refuse_closed()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite has undone the transaction itself after some errors (a full disk among them).
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A turn at writing without a transaction, for what cannot run inside one."""
        with self._turn, self._translated():
            self._refuse_closed()
            yield self._writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of what is committed; it neither waits for a writer nor delays one."""
        with self._translated():
            reader = self._take_reader()
            try:
                reader.execute("BEGIN")
                yield reader
            finally:
                self._give_back(reader)

    def _take_reader(self) -> Connection:
        with self._readers_lock:
            self._refuse_closed()
            if self._readers:
                return self._readers.pop()
        reader = self._connect()
        reader.execute("PRAGMA query_only = ON")
        return reader

    def _give_back(self, reader: Connection) -> None:
        if reader.in_transaction:
            reader.execute("COMMIT")
        with self._readers_lock:
            if not self._closed and len(self._readers) < IDLE_READERS:
                self._readers.append(reader)
                return
        reader.close()

    def file_bytes(self) -> dict[str, int]:
        """Sizes of the database and of its write-ahead log, as they are now."""
        files = {"database": self.path, "wal": self.path.with_name(self.path.name + "-wal")}
        return {name: file.stat().st_size if file.exists() else 0 for name, file in files.items()}

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.path} was closed.")

    def close(self) -> None:
        """Wait for the running write, then close every connection; idempotent."""
        with self._turn, self._readers_lock:
            if self._closed:
                return
            self._closed = True
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors in words that say what to do."""
        try:
            yield
        except sqlite.DatabaseError as error:
            explain = _EXPLANATIONS.get(sqlite.primary_code(error))
            if "decode to UTF-8" in str(error):  # The module's own error, without a code: only encoded text is stored.
                explain = _explain_damage
            if explain is None:
                raise
            raise explain(self.path, str(error)) from error


def _create(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its log files the same mode."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise _explain_unreadable(path, str(error)) from error


def refuse_old_sqlite(version: tuple[int, ...]) -> None:
    """Raise `SqliteTooOld` for a library that is not safe to keep the store with."""
    if version < sqlite.OLDEST:
        found, needed = ".".join(map(str, version)), ".".join(map(str, sqlite.OLDEST))
        raise SqliteTooOld(
            f"SQLite {found} can corrupt a database when its write-ahead log is reset; Riverkeep needs {needed} or "
            "newer. Install pysqlite3 0.6.1 or newer into this environment: it brings its own."
        )


def _damaged(path: Path, finding: str) -> str:
    oldest = ".".join(map(str, sqlite.OLDEST))
    return (
        f"{path} is damaged: {finding}. Stop Riverkeep and copy {path.name}, {path.name}-wal and {path.name}-shm "
        "elsewhere before anything else. Then restore a backup of all three, or rebuild what can be read with "
        f"`sqlite3 {path.name} .recover | sqlite3 rebuilt.db` (the sqlite3 tool, {oldest} or newer) and put rebuilt.db "
        "in its place. Offsets are in the store: with an older copy, Kafka's records since then are read again. Look "
        "for the cause in the disk or in the machine's memory."
    )


def _explain_damage(path: Path, message: str) -> StoreDamaged:
    return StoreDamaged(_damaged(path, message))


def _explain_full(path: Path, message: str) -> StoreFull:
    return StoreFull(
        f"No room to write {path} ({message}). The write was undone as a whole. Free space on that disk: the "
        "daemon then goes on by itself; a command is to be run again, and a backfill goes on where it stopped."
    )


def _explain_busy(path: Path, message: str) -> StoreBusy:
    return StoreBusy(
        f"Another process has been writing {path} for longer than `memory.busy_timeout_s` ({message}). Try again when "
        "the backfill or erasure that is running has ended."
    )


def _explain_unreadable(path: Path, message: str) -> StoreUnreadable:
    return StoreUnreadable(
        f"{path} cannot be read or written ({message}). Check that the disk is mounted, healthy and not full, and that "
        "this user may write to the folder."
    )


_EXPLANATIONS: dict[int, Callable[[Path, str], Exception]] = {
    sqlite.BUSY: _explain_busy,
    sqlite.LOCKED: _explain_busy,
    sqlite.FULL: _explain_full,
    sqlite.CORRUPT: _explain_damage,
    sqlite.NOTADB: _explain_damage,
    sqlite.IOERR: _explain_unreadable,
    sqlite.CANTOPEN: _explain_unreadable,
    sqlite.READONLY: _explain_unreadable,
}
