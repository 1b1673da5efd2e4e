"""Exact duplicates: which contents have arrived before."""

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.fingerprints import Bools, UInt64s
from memory.identity.sorted_runs import SortedRuns

ROW_HASHES = 1024
"""Hashes to a row of the log: few enough to rewrite the last row with each batch, enough to load fast at start."""


class SeenContents:
    """The latest contents that arrived, by hash: a log in the store and a sorted copy in RAM.

    The log is bounded; the oldest are forgotten first.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._runs = SortedRuns()
        self._last_row, self._last_length = 0, 0

    def load(self, tx: Connection) -> None:
        """Read the whole log."""
        self._runs = SortedRuns()
        self._last_row, self._last_length = 0, 0
        self.catch_up(tx)

    def catch_up(self, tx: Connection) -> None:
        """Read what another process has added since; its log may have been cut too, which can wait for `load`."""
        # The last row again, as it may have grown.
        rows = tx.execute("SELECT id, hashes FROM seen WHERE id >= ? ORDER BY id", (self._last_row,)).fetchall()
        news = [
            np.frombuffer(blob, np.uint64)[self._last_length if row == self._last_row else 0 :] for row, blob in rows
        ]
        if news:
            self._runs.add(np.concatenate(news))
            self._last_row, self._last_length = rows[-1][0], len(rows[-1][1]) // 8

    def unseen(self, hashes: UInt64s) -> Bools:
        """For each content whether it is the first of its kind, also within the batch."""
        first = np.zeros(len(hashes), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        return first & ~self._runs.contains(hashes)

    def add(self, tx: Connection, hashes: UInt64s) -> None:
        """Add contents; the oldest are forgotten when the log has outgrown its window by a tenth."""
        room = ROW_HASHES - self._last_length if self._last_row else 0
        if len(hashes[:room]):
            tx.execute(
                # In SQLite `||` makes a text even of two blobs.
                "UPDATE seen SET hashes = CAST(hashes || ? AS BLOB) WHERE id = ?",
                (hashes[:room].tobytes(), self._last_row),
            )
            self._last_length += len(hashes[:room])
        for start in range(room, len(hashes), ROW_HASHES):
            row = hashes[start : start + ROW_HASHES]
            self._last_row, self._last_length = self._last_row + 1, len(row)
            tx.execute("INSERT INTO seen(id, hashes) VALUES (?, ?)", (self._last_row, row.tobytes()))
        self._runs.add(hashes)
        # A tenth of slack: each cut reads the whole log anew.
        if len(self._runs) > self._window * 1.1 + ROW_HASHES:
            self._cut(tx)
            self.load(tx)

    def _cut(self, tx: Connection) -> None:
        """Remove the oldest rows of the log that lie beyond the window."""
        tx.execute(
            "DELETE FROM seen WHERE id IN (SELECT id FROM (SELECT id, sum(length(hashes) / 8) OVER "
            "(ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newer FROM seen) WHERE newer >= ?)",
            (self._window,),
        )
