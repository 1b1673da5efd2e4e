"""The one SQLite module that every part of the memory uses.

A file must be opened with one and the same library everywhere, and the standard library's may be too old.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError, connect, sqlite_version_info
else:
    from pysqlite3 import Connection, DatabaseError, connect, sqlite_version_info

__all__ = ["OLDEST", "Connection", "DatabaseError", "connect", "primary_code", "sqlite_version_info"]

# Older ones can corrupt a database when its write-ahead log is reset.
OLDEST = (3, 51, 3)

PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB = 3, 5, 6, 8, 10, 11, 13, 14, 26


def primary_code(error: DatabaseError) -> int:
    """SQLite's primary result code of an error; 0 where the error did not come from SQLite."""
    # Extended codes carry the primary one in their low byte.
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def as_json(ids: Iterable[int]) -> str:
    """Ids as one bound value, which `json_each` takes apart again: no limit on how many, one statement for all."""
    return json.dumps(list(ids))


@contextmanager
def transaction(writer: Connection) -> Iterator[None]:
    """Committed when the block ends and undone when it raises."""
    # The write lock at once: a transaction that began with reading fails instead of waiting where another one wrote.
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    except BaseException:
        # SQLite has undone the transaction itself after some errors (a full disk among them).
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
