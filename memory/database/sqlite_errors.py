"""SQLite's errors in words that say what to do."""

import resource
from collections.abc import Callable
from pathlib import Path

from memory.database import sqlite
from memory.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreUnreadable

NEAR_BYTES = 2**16
"""So close to a limit on files' sizes, it is the limit that stopped a write: SQLite writes page by page."""
RESTORE = "Put a copy of it there: a daemon that runs takes it up by itself."


def describe_damage(path: Path, finding: str) -> str:
    """What to do with a database that is damaged."""
    oldest = ".".join(map(str, sqlite.OLDEST))
    return (
        f"{path} is damaged: {finding}. Move {path.name}, {path.name}-wal and {path.name}-shm elsewhere before "
        "anything else. Then put a copy of the database in its place, or what can be rebuilt with "
        f"`sqlite3 {path.name} .recover | sqlite3 rebuilt.db` (the sqlite3 tool, {oldest} or newer); a daemon that "
        "runs takes it up by itself. Where there is no copy, `riverkeep memory begin-anew` begins with an empty "
        "memory. Offsets are in the store: with an older copy, Kafka's records since then are read again. Look for the "
        "cause in the disk or in the machine's memory, and see `riverkeep doctor`."
    )


def _explain_damage(path: Path, message: str) -> StoreDamaged:
    return StoreDamaged(describe_damage(path, message))


def _explain_full(path: Path, message: str) -> StoreFull:
    return StoreFull(
        f"No room to write {path} ({message}). The write was undone as a whole. Free space on that disk: the "
        "daemon then goes on by itself; a command is to be run again, and a backfill goes on where it stopped."
    )


def _explain_input_output(path: Path, message: str) -> StoreError:
    limit = _limit_reached(path)
    if limit is None:
        return explain_unreadable(path, message)
    return StoreFull(
        f"No room to write {path} ({message}): its files have reached the limit of {limit:,} bytes that this process "
        "has for the size of a file. The write was undone as a whole. Raise the limit (`prlimit --fsize` while it "
        "runs, `ulimit -f` or systemd's LimitFSIZE= before the next start): the daemon then goes on by itself; a "
        "command is to be run again."
    )


def _limit_reached(path: Path) -> int | None:
    """The limit on the size of files (bytes) that stopped a write, of which SQLite says only that it failed."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return None
    files = [file for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()]
    return limit if any(file.stat().st_size >= limit - NEAR_BYTES for file in files) else None


def _explain_busy(path: Path, message: str) -> StoreBusy:
    return StoreBusy(
        f"Another process has been writing {path} for longer than `memory.busy_timeout_s` ({message}). Try again when "
        "the backfill or erasure that is running has ended."
    )


def explain_unreadable(path: Path, message: str) -> StoreUnreadable:
    """What to do where the operating system refuses the file."""
    return StoreUnreadable(
        f"{path} cannot be read or written ({message}). Check that the disk is mounted, healthy and not full, and that "
        "this user may write to the folder."
    )


_EXPLANATIONS: dict[int, Callable[[Path, str], StoreError]] = {
    sqlite.BUSY: _explain_busy,
    sqlite.LOCKED: _explain_busy,
    sqlite.FULL: _explain_full,
    sqlite.CORRUPT: _explain_damage,
    sqlite.NOTADB: _explain_damage,
    sqlite.IOERR: _explain_input_output,
    sqlite.CANTOPEN: explain_unreadable,
    sqlite.PERM: explain_unreadable,
    sqlite.READONLY: explain_unreadable,
}


def explain(path: Path, error: sqlite.DatabaseError) -> StoreError | None:
    """The store's own error for one of SQLite's; None for one that says that the code is wrong, not the file."""
    message = str(error)
    # The module's own error, without a code: only encoded text is stored. Or tables that every store has.
    if "decode to UTF-8" in message or message.startswith(("no such table", "no such column")):
        return _explain_damage(path, message)
    explain_code = _EXPLANATIONS.get(sqlite.primary_code(error))
    return None if explain_code is None else explain_code(path, message)
