"""Micro-batches with which a round ran out of memory, and under which conditions, so that later rounds begin smaller.

What the conditions are the daemon decides: here they are a text that is equal where they are.
"""

from typing import Final

from memory.database.sqlite import Connection
from memory.ledger.records import TooLarge

KEPT: Final = 64
"""Rows kept, the latest: each doubling of a micro-batch under one set of conditions has one."""


def note(tx: Connection, conditions: str, micro_batch: int, *, certain: bool, round_number: int, now: float) -> None:
    """Note that memory ran out (or seems to have) with micro-batches of so many sequences."""
    tx.execute(
        "INSERT INTO too_large(conditions, micro_batch, times, certain, round, at) VALUES (?1, ?2, 1, ?3, ?4, ?5) "
        "ON CONFLICT(conditions, micro_batch) DO UPDATE SET times = times + 1, certain = max(certain, ?3), "
        "round = ?4, at = ?5",
        (conditions, micro_batch, certain, round_number, now),
    )
    tx.execute(
        "DELETE FROM too_large WHERE rowid NOT IN (SELECT rowid FROM too_large ORDER BY at DESC, rowid DESC LIMIT ?)",
        (KEPT,),
    )


def note_fits(tx: Connection, conditions: str, micro_batch: int) -> None:
    """Forget what speaks against micro-batches of so many sequences: a round has finished with them."""
    tx.execute("DELETE FROM too_large WHERE conditions = ? AND micro_batch <= ?", (conditions, micro_batch))


def listed(tx: Connection) -> list[TooLarge]:
    """All that is noted, the latest first."""
    rows = tx.execute(
        "SELECT conditions, micro_batch, times, certain, round, at FROM too_large ORDER BY at DESC, micro_batch"
    )
    return [TooLarge(row[0], row[1], row[2], bool(row[3]), row[4], row[5]) for row in rows]
