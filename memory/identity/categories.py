"""Keys that name a category (a language, a region, a tenant) and not a person or a document, told by their share.

All text of one key lies on one side of the split, and a quota keeps one author from planting much. Neither may hold for
a key under which much of a source arrives: the source would be held out wholly or not at all, and be cut to a trickle.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.fingerprints import Int64s

KEYS_COUNTED: Final = 256
RECENT_DOCUMENTS: Final = 1_000_000
"""Beyond as many documents of a source their counts are halved, so that a change of its keys is noticed."""
# More than a count can be too low by, 1 / (KEYS_COUNTED + 1): a key that is as common cannot be missed.
COMMON_SHARE: Final = 1 / 128
TOGETHER: Final = 0.9
"""Common keys are categories where they hold as much of the source: one who floods it, among others, is none."""


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How many of a source's documents each of its most frequent keys has.

    A Misra-Gries summary: each count is at most `documents / (KEYS_COUNTED + 1)` too low, and never too high. Misra and
    Gries, Finding repeated elements, 1982; merged as in Agarwal et al., Mergeable summaries, 2012.

    Attributes:
        keys: keyed hashes, ascending, shape (n,), n at most `KEYS_COUNTED`.
        counts: of each, at least 1.
        documents: of the source, with and without a key.
    """

    keys: Int64s
    counts: Int64s
    documents: int

    def plus(self, arrived: Int64s, without_key: int = 0) -> "KeyCounts":
        """The counts after documents with these keys, and so many without one."""
        keys, members = np.unique(np.concatenate([self.keys, arrived]), return_inverse=True)
        counts = np.bincount(members, minlength=len(keys))
        # Each old key was counted once for standing in the concatenation.
        counts[members[: len(self.keys)]] += self.counts - 1
        documents = self.documents + len(arrived) + without_key
        if documents > RECENT_DOCUMENTS:
            counts, documents = counts // 2, documents // 2
        if len(counts) > KEYS_COUNTED:
            # As Misra and Gries do: the largest count beyond the bound is taken off all, and what comes to nothing
            # goes.
            counts = counts - np.partition(counts, -KEYS_COUNTED - 1)[-KEYS_COUNTED - 1]
        is_kept = counts > 0
        return KeyCounts(keys[is_kept], counts[is_kept], documents)

    def categories(self, key_quota: int) -> Int64s:
        """The keys that name a category; empty where the source's keys name people or documents."""
        common = self.counts > max(key_quota, self.documents * COMMON_SHARE)
        if self.counts[common].sum() < TOGETHER * self.documents:
            common = np.zeros_like(common)
        return np.extract(common, self.keys)


NOTHING_COUNTED: Final = KeyCounts(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)


class KeyedPart(NamedTuple):
    """What is counted by itself: a source's stream, or the text from before it, whose keys may be of another kind."""

    source: int
    before_stream: bool


class Categories:
    """The counts of every source, kept in the store and remembered.

    Changed inside a transaction; when that is undone, `forget` must be called.
    """

    def __init__(self, key_quota: int) -> None:
        self._quota = key_quota
        self._counted: dict[KeyedPart, KeyCounts] = {}

    def forget(self) -> None:
        """Look everything up anew: another process, or an undone transaction, may have made a difference."""
        self._counted.clear()

    def arrived(self, tx: Connection, part: KeyedPart, keys: Int64s, *, without_key: int) -> Int64s:
        """Count documents by their keys, and return those keys of the part that name a category."""
        counted = self._counted.get(part)
        if counted is None:
            counted = _read(tx, part)
        counted = self._counted[part] = counted.plus(keys, without_key)
        tx.execute(
            "INSERT OR REPLACE INTO key_counts(source, before_stream, documents, keys, counts) VALUES (?, ?, ?, ?, ?)",
            (*part, counted.documents, counted.keys.tobytes(), counted.counts.tobytes()),
        )
        return counted.categories(self._quota)


def all_categories(tx: Connection, key_quota: int) -> frozenset[int]:
    """The keyed hashes of every key that names a category in one source or another."""
    counted = (_counts(*row) for row in tx.execute("SELECT documents, keys, counts FROM key_counts"))
    return frozenset(key for counts in counted for key in counts.categories(key_quota).tolist())


def _read(tx: Connection, part: KeyedPart) -> KeyCounts:
    row = tx.execute(
        "SELECT documents, keys, counts FROM key_counts WHERE source = ? AND before_stream = ?", part
    ).fetchone()
    return NOTHING_COUNTED if row is None else _counts(*row)


def _counts(documents: int, keys: bytes, counts: bytes) -> KeyCounts:
    return KeyCounts(np.frombuffer(keys, np.int64), np.frombuffer(counts, np.int64), documents)
