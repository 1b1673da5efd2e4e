"""Keys that came before sides were remembered, and on which side an earlier version let each of them fall."""

from enum import StrEnum

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.fingerprints import Bools, Int64s


class SplitByShare(StrEnum):
    """What a store of an earlier version goes on splitting by its least share alone, as nobody knows what had come.

    Values are stored.
    """

    NOTHING = "nothing"
    CONTENTS = "contents"
    EVERYTHING = "everything"


def split_by_share(tx: Connection) -> SplitByShare:
    """What a store splits by its least share alone; nothing, where it knows all that ever came."""
    row = tx.execute("SELECT value FROM facts WHERE name = 'split_by_share'").fetchone()
    return SplitByShare.NOTHING if row is None else SplitByShare(row[0])


class EarlierKeys:
    """The keys of text that an earlier version stored or trained on, in RAM; none in a store that is newer."""

    def __init__(self) -> None:
        self._held: Int64s = np.zeros(0, np.int64)
        self._trained: Int64s = np.zeros(0, np.int64)
        self.split_by_share = SplitByShare.NOTHING

    def load(self, tx: Connection) -> None:
        """Read them; they become fewer by erasures alone."""
        self.split_by_share = split_by_share(tx)
        rows = tx.execute("SELECT key_hash, held FROM earlier_keys").fetchall()
        keys, held = np.array(rows, np.int64).reshape(-1, 2).T
        self._held, self._trained = keys[held == 1], keys[held == 0]

    def keep_sides(self, keys: Int64s, keyed: Bools, is_wanted: Bools) -> Bools:
        """Which documents are to be held out, where those of such a key stay on its side; all of shape (documents,)."""
        if not len(self._held) and not len(self._trained):
            return is_wanted
        is_held, is_trained = (keyed & np.isin(keys, known) for known in (self._held, self._trained))
        kept: Bools = (is_wanted | is_held) & ~is_trained
        return kept


def forget_key(tx: Connection, key_hash: int) -> None:
    """Forget a key that was erased: nothing of it is taken in again."""
    tx.execute("DELETE FROM earlier_keys WHERE key_hash = ?", (key_hash,))
