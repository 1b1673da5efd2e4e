"""Whether a database file may be used by this version, and how it is made ready for that."""

from pathlib import Path

import structlog
from sqlite_utils import Database as UtilsDatabase

from memory.database import schema, sqlite
from memory.database.sqlite import Connection
from memory.database.sqlite_errors import describe_damage
from memory.errors import NotAStore, SqliteTooOld, StoreDamaged, StoreTooNew, StoreTooOld
from memory.settings import MemorySettings

log = structlog.get_logger(__name__)

PAGE_BYTES = 8192
CHECKPOINT_PAGES = 2_000
WAL_BYTES_KEPT = 64 * 2**20


def refuse_old_sqlite(version: tuple[int, ...]) -> None:
    """Raise `SqliteTooOld` for a library that is not safe to keep the store with."""
    if version < sqlite.OLDEST:
        present, needed = ".".join(map(str, version)), ".".join(map(str, sqlite.OLDEST))
        raise SqliteTooOld(
            f"SQLite {present} can corrupt a database when its write-ahead log is reset; Riverkeep needs {needed} or "
            "newer. Install pysqlite3 0.6.1 or newer into this environment: it brings its own."
        )


def refuse_foreign(path: Path, connection: Connection) -> None:
    """An empty file may become a store; another program's database may not."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != schema.APPLICATION_ID:
        raise NotAStore(f"{path} is an SQLite database, but not of Riverkeep. Choose another `state_dir`.")


def prepare(path: Path, writer: Connection, settings: MemorySettings, *, read_only: bool) -> None:
    """Refuse a file that this version must not use, and bring one that it may write up to date.

    Raises:
        NotAStore, StoreTooNew, StoreTooOld, StoreDamaged: see `memory.errors`.
    """
    refuse_foreign(path, writer)
    utils = UtilsDatabase(writer, recursive_triggers=False, execute_plugins=False)
    if unknown := schema.unknown_migrations(utils):
        raise StoreTooNew(
            f"{path} was written by a newer Riverkeep (it has {', '.join(unknown)}). Install that version."
        )
    if read_only:
        _prepare_reading(path, writer, utils)
    else:
        _prepare_writing(path, writer, utils, settings)


def _prepare_reading(path: Path, writer: Connection, utils: UtilsDatabase) -> None:
    if pending := schema.migrations.pending(utils):
        raise StoreTooOld(f"{path} needs {len(pending)} migration(s). Start this version of Riverkeep there once.")
    writer.execute("PRAGMA query_only = ON")


def _prepare_writing(path: Path, writer: Connection, utils: UtilsDatabase, settings: MemorySettings) -> None:
    # Before the log is turned on: after that SQLite changes no page's size any more.
    writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    writer.execute("PRAGMA journal_mode = WAL")
    # With NORMAL a power cut takes the last commits back, whose offsets Kafka has been told by then.
    writer.execute("PRAGMA synchronous = FULL")
    # What is deleted is overwritten: text that a person had erased does not stay in free pages.
    writer.execute("PRAGMA secure_delete = ON")
    writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    # Else the log keeps the greatest size that it ever had, as after an erasure.
    writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    if settings.integrity_check:
        check(path, writer)
    if schema.migrations.pending(utils):
        with sqlite.transaction(writer):  # So that two starting processes do not both migrate.
            for migration in schema.migrations.pending(utils):
                log.info("store_migrating", path=str(path), migration=migration.name)
            schema.migrations.apply(utils)


def check(path: Path, connection: Connection) -> None:
    """Look through a file's structure, about a second a gigabyte.

    Raises:
        StoreDamaged: it is inconsistent; the message says what to do.
    """
    # Three findings at most: a damaged file has thousands, and one is enough.
    findings = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if findings != ["ok"]:
        raise StoreDamaged(describe_damage(path, "; ".join(findings)))
