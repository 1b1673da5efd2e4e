"""Tombstones as they arrive: each is noted with its offset, and withdraws what came of its key in the same batch.

One erases what came of its key before it, and nothing that comes after: it is noted with the id that the next sample
gets. That is one row in the transaction of its offset, so none is lost and none is done twice.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from memory.database import facts
from memory.database.sqlite import Connection
from memory.identity.fingerprints import Bools, Int64s
from memory.intake.dead_letters_and_gaps import KnownKeys
from memory.intake.hashes_and_sketches import Looked
from memory.samples.offsets import Position, position_of
from streams.document import Erasure, Partition

TALLY = "erased_by_tombstone"


def note(
    tx: Connection, erasures: Sequence[Erasure], positions: Mapping[Partition, Position], keys: KnownKeys
) -> list[tuple[Erasure, int]]:
    """Note the erasures that are new, each with the hash of its key; to be called before the batch's text is taken."""
    new = [
        (erasure, keys.key_hash(erasure.key))
        for erasure in erasures
        if erasure.offset >= position_of(positions, erasure.partition, erasure.offset).first_new
    ]
    if new:
        next_sample = facts.get_int(tx, "next_sample")
        letters = tx.execute("SELECT coalesce(max(id), 0) FROM dead_letters").fetchone()[0]
        tx.executemany(
            # A later tombstone of a key erases all that an earlier one does: one row for each key is enough.
            "INSERT INTO pending_erasures(key_hash, samples_before, letters_until) VALUES (?, ?, ?) "
            "ON CONFLICT(key_hash) DO UPDATE SET samples_before = excluded.samples_before, "
            "letters_until = excluded.letters_until",
            [(key, next_sample, letters) for _, key in new],
        )
    return new


def withdrawn(columns: Looked, erasures: Sequence[tuple[Erasure, int]]) -> Bools:
    """The documents of a batch that a tombstone behind them in the same batch erases: they are not stored at all."""
    is_withdrawn = np.zeros(len(columns), bool)
    if not erasures:
        return is_withdrawn
    last: dict[tuple[object, int], int] = {}
    for erasure, key in erasures:
        last[erasure.partition, key] = max(erasure.offset, last.get((erasure.partition, key), -1))
    keys: Int64s = columns.keys
    rows = zip(columns.partitions, keys.tolist(), columns.keyed.tolist(), columns.offsets.tolist(), strict=True)
    for row, (partition, key, keyed, offset) in enumerate(rows):
        is_withdrawn[row] = keyed and offset < last.get((partition, key), -1)
    return is_withdrawn
