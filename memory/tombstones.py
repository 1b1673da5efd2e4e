"""Erasures that the stream asks for: noted with the offset, done many at a time.

A tombstone erases what came of its key before it, and nothing that comes after: each is noted with the id that the
next sample gets. That is one row in the transaction of its offset, so none is lost and none is done twice; the erasure
itself reads over the memory, once for all that wait.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from memory import counters, erasure, facts, near_duplicates, quarantine, removal
from memory.fingerprints import Bools, Int64s
from memory.looks import Looked
from memory.offsets import Position, position_of
from memory.quarantine import Keys
from memory.records import Forgotten
from memory.sqlite import Connection
from streams.document import Erasure, Partition

TALLY = "erased_by_tombstone"


def note(
    tx: Connection, erasures: Sequence[Erasure], positions: Mapping[Partition, Position], keys: Keys
) -> list[tuple[Erasure, int]]:
    """Note the erasures that are new, each with the hash of its key; to be called before the batch's text is taken."""
    new = [
        (one, keys.key_hash(one.key))
        for one in erasures
        if one.offset >= position_of(positions, one.partition, one.offset).first_new
    ]
    if new:
        before = facts.get_int(tx, "next_sample")
        letters = tx.execute("SELECT coalesce(max(id), 0) FROM dead_letters").fetchone()[0]
        tx.executemany(
            "INSERT INTO pending_erasures(key_hash, samples_before, letters_until) VALUES (?, ?, ?) "
            "ON CONFLICT(key_hash) DO UPDATE SET samples_before = excluded.samples_before, "
            "letters_until = excluded.letters_until",
            [(key, before, letters) for _, key in new],
        )
    return new


def withdrawn(looked: Looked, erasures: Sequence[tuple[Erasure, int]]) -> Bools:
    """The documents of a batch that a tombstone behind them in the same batch erases: they are not stored at all."""
    found = np.zeros(len(looked), bool)
    if not erasures:
        return found
    last: dict[tuple[object, int], int] = {}
    for one, key in erasures:
        last[one.partition, key] = max(one.offset, last.get((one.partition, key), -1))
    keys: Int64s = looked.keys
    rows = zip(looked.partitions, keys.tolist(), looked.keyed.tolist(), looked.offsets.tolist(), strict=True)
    for row, (partition, key, keyed, offset) in enumerate(rows):
        found[row] = keyed and offset < last.get((partition, key), -1)
    return found


def wait(tx: Connection) -> bool:
    """Whether erasures wait."""
    return tx.execute("SELECT 1 FROM pending_erasures LIMIT 1").fetchone() is not None


def apply(tx: Connection) -> Forgotten:
    """Erase what waits to be erased, and name what had seen it. The keys may come again, with later text."""
    known = [
        row[0]
        for row in tx.execute(
            "SELECT s.id FROM samples s JOIN pending_erasures p ON p.key_hash = s.key_hash "
            "WHERE s.id < p.samples_before"
        )
    ]
    given = tx.execute(
        "SELECT r.round, r.sample, r.part FROM round_samples r JOIN pending_erasures p ON p.key_hash = r.key_hash "
        "WHERE r.sample < p.samples_before"
    ).fetchall()
    near_duplicates.forget_trained(tx, {*known, *(sample for _, sample, _ in given)})
    removal.remove(tx, known)
    letters = quarantine.drop(tx, {row[0] for row in tx.execute(_LETTERS)})
    tx.execute("DELETE FROM pending_erasures")
    counters.tally(tx, {TALLY: len(known)})
    return erasure.named(tx, known, letters, given)


_LETTERS = (
    "SELECT d.id FROM dead_letters d, json_each(d.key_hashes) j JOIN pending_erasures p ON p.key_hash = j.value "
    "WHERE d.id <= p.letters_until"
)
