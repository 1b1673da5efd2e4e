"""Exact duplicates: which contents have arrived before."""

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.fingerprints import Bools, UInt64s
from memory.identity.hash_log import ROW_HASHES, HashLog
from memory.identity.sorted_runs import SortedRuns


class SeenContents:
    """The latest contents that arrived, by hash: a log in the store and a sorted copy in RAM.

    The log is bounded; the oldest are forgotten first.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._log = HashLog("seen")
        self._runs = SortedRuns()

    def load(self, tx: Connection) -> None:
        """Read the whole log."""
        self._runs = SortedRuns()
        self._runs.add(self._log.load(tx))

    def catch_up(self, tx: Connection) -> None:
        """Read what another process has added since; its log may have been cut too, which can wait for `load`."""
        self._runs.add(self._log.catch_up(tx))

    def unseen(self, hashes: UInt64s) -> Bools:
        """For each content whether it is the first of its kind, also within the batch."""
        first = np.zeros(len(hashes), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        return first & ~self._runs.contains(hashes)

    def add(self, tx: Connection, hashes: UInt64s) -> None:
        """Add contents; the oldest are forgotten when the log has outgrown its window by a tenth."""
        self._log.append(tx, hashes)
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
