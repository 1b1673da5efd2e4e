"""A growing log of 64-bit hashes in a table: in order of arrival, many to a row, read once and then followed."""

from typing import Final

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.fingerprints import UInt64s

ROW_HASHES: Final = 1024
"""Hashes to a row: few enough to rewrite the last row with each batch, enough to load fast at start."""


class HashLog:
    """A reader and writer of such a table, `(id INTEGER PRIMARY KEY, hashes BLOB)`.

    Changed inside a transaction; when that is undone, `load` must be called.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self._last_row, self._last_length = 0, 0

    def load(self, tx: Connection) -> UInt64s:
        """The whole log."""
        self._last_row, self._last_length = 0, 0
        return self.catch_up(tx)

    def catch_up(self, tx: Connection) -> UInt64s:
        """What was added since the last look, by whomever."""
        # The last row again, as it may have grown.
        rows = tx.execute(
            f"SELECT id, hashes FROM {self._table} WHERE id >= ? ORDER BY id", (self._last_row,)
        ).fetchall()
        news = [
            np.frombuffer(blob, np.uint64)[self._last_length if row == self._last_row else 0 :] for row, blob in rows
        ]
        if not news:
            return np.zeros(0, np.uint64)
        self._last_row, self._last_length = rows[-1][0], len(rows[-1][1]) // 8
        return np.concatenate(news)

    def append(self, tx: Connection, hashes: UInt64s) -> None:
        """Add hashes at the end."""
        room = ROW_HASHES - self._last_length if self._last_row else 0
        if len(hashes[:room]):
            tx.execute(
                # In SQLite `||` makes a text even of two blobs.
                f"UPDATE {self._table} SET hashes = CAST(hashes || ? AS BLOB) WHERE id = ?",
                (hashes[:room].tobytes(), self._last_row),
            )
            self._last_length += len(hashes[:room])
        for start in range(room, len(hashes), ROW_HASHES):
            row = hashes[start : start + ROW_HASHES]
            self._last_row, self._last_length = self._last_row + 1, len(row)
            tx.execute(f"INSERT INTO {self._table}(id, hashes) VALUES (?, ?)", (self._last_row, row.tobytes()))

    def replace(self, tx: Connection, hashes: UInt64s) -> None:
        """Let these be all that the log holds."""
        # In rows of higher numbers: who follows the log reads them as news.
        earlier, self._last_length = self._last_row, ROW_HASHES
        self.append(tx, hashes)
        tx.execute(f"DELETE FROM {self._table} WHERE id <= ?", (earlier,))
