"""Erasures that tombstones asked for, done many at a time: one reads over the memory once for all that wait."""

from dataclasses import replace

from memory.database.sqlite import Connection
from memory.intake import dead_letters_and_gaps, feedback
from memory.intake.tombstones import TALLY
from memory.people import erasure
from memory.people.erasure import Forgotten
from memory.samples import counters


def wait(tx: Connection) -> bool:
    """Whether erasures wait."""
    return tx.execute("SELECT 1 FROM pending_erasures LIMIT 1").fetchone() is not None


def apply(tx: Connection) -> Forgotten:
    """Erase what waits to be erased, and name what had seen it. The keys may come again, with later text."""
    sample_ids = [
        row[0]
        for row in tx.execute(
            "SELECT s.id FROM samples s JOIN pending_erasures p ON p.key_hash = s.key_hash "
            "WHERE s.id < p.samples_before"
        )
    ]
    uses = tx.execute(
        "SELECT r.round, r.sample, r.part FROM round_samples r JOIN pending_erasures p ON p.key_hash = r.key_hash "
        "WHERE r.sample < p.samples_before"
    ).fetchall()
    erasure.remove_samples(tx, sample_ids, uses)
    letters = dead_letters_and_gaps.drop(tx, {row[0] for row in tx.execute(_LETTERS)})
    opinions = feedback.erase(tx, [row[0] for row in tx.execute("SELECT key_hash FROM pending_erasures")])
    # With the erasure itself: where that is undone, they wait again.
    tx.execute("DELETE FROM pending_erasures")
    counters.tally(tx, {TALLY: len(sample_ids)})
    return replace(erasure.name_who_saw(tx, sample_ids, letters, uses), feedback=opinions)


_LETTERS = (
    "SELECT d.id FROM dead_letters d, json_each(d.key_hashes) j JOIN pending_erasures p ON p.key_hash = j.value "
    "WHERE d.id <= p.letters_until"
)
