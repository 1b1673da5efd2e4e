"""Settling into replay, and keeping replay within its budgets."""

from collections.abc import Iterator, Sequence

import numpy as np

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.identity.categories import all_categories
from memory.identity.fingerprints import priorities
from memory.samples import counters, removal
from memory.samples.fair_shares import over_quota
from memory.samples.records import Role
from memory.samples.replay_membership import Amount, RoundSpan, Stratum, allowances, merge_eras, too_many
from memory.settings import MemorySettings

BEFORE_STREAM = 0
"""The era of text from before the stream."""


def settle(tx: Connection, ids: Sequence[int], era: int, settings: MemorySettings, salt: int) -> None:
    """Let samples, which have the role replay already, into replay, then cut it back to its quotas and budgets."""
    if not ids:
        return
    rows = tx.execute(
        "SELECT id, source, label, bytes, key_hash FROM samples "
        "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (sqlite.as_json(ids),),
    ).fetchall()
    _add(tx, rows, era, salt)
    _open_era(tx, era, settings.replay_eras)
    # Only keys of what came now can have gone beyond their quota.
    keys = {row[4] for row in rows} - all_categories(tx, settings.key_quota)
    # Before the budgets: what a key has too much of should cost no other text its place.
    removal.evict(tx, _beyond_key_quota(tx, keys, settings.key_quota))
    enforce_budgets(tx, settings)


def settle_fresh(tx: Connection, ids: Sequence[int], era: int, settings: MemorySettings, salt: int) -> None:
    """Turn fresh samples into replay."""
    counters.change_role(tx, sqlite.as_json(ids), Role.REPLAY)
    settle(tx, ids, era, settings, salt)


def _add(tx: Connection, rows: Sequence[tuple[int, int, int, int, int | None]], era: int, salt: int) -> None:
    order = priorities(np.array([row[0] for row in rows], np.int64), salt).tolist()
    # Behind the last slot: a uniform draw counts on slots without holes.
    first = int(tx.execute("SELECT coalesce(max(slot), -1) + 1 FROM replay").fetchone()[0])
    tx.executemany(
        "INSERT INTO replay(slot, sample, source, era, label, priority, bytes, key_hash) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (slot, sample, source, era, label, priority, size, key)
            for slot, (sample, source, label, size, key), priority in zip(
                range(first, first + len(rows)), rows, order, strict=True
            )
        ],
    )
    tx.executemany(
        "INSERT INTO strata(source, era, label, samples, bytes) VALUES (?, ?, ?, 1, ?) "
        "ON CONFLICT DO UPDATE SET samples = samples + 1, bytes = bytes + excluded.bytes",
        [(source, era, label, size) for _, source, label, size, _ in rows],
    )


def _beyond_key_quota(tx: Connection, keys: set[int | None], quota: int) -> list[int]:
    rows = tx.execute(
        "SELECT sample, key_hash, priority FROM replay WHERE key_hash IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(key for key in keys if key is not None),),
    )
    return over_quota(rows, quota)


def _open_era(tx: Connection, era: int, most: int) -> None:
    """Make sure that the era is there, and merge older ones where there are too many."""
    tx.execute("INSERT OR IGNORE INTO eras(id, last_round) VALUES (?, ?)", (era, era))
    eras = [RoundSpan(*row) for row in tx.execute("SELECT id, last_round FROM eras")]
    # The older one's id stays: an era is named by its first round.
    for older, newer in merge_eras(eras, most):
        tx.execute("UPDATE replay SET era = ? WHERE era = ?", (older.first, newer.first))
        tx.execute(
            "INSERT INTO strata(source, era, label, samples, bytes) "
            "SELECT source, ?, label, samples, bytes FROM strata WHERE era = ? "
            "ON CONFLICT DO UPDATE SET samples = samples + excluded.samples, bytes = bytes + excluded.bytes",
            (older.first, newer.first),
        )
        tx.execute("DELETE FROM strata WHERE era = ?", (newer.first,))
        tx.execute("UPDATE eras SET last_round = ? WHERE id = ?", (newer.last, older.first))
        tx.execute("DELETE FROM eras WHERE id = ?", (newer.first,))


def enforce_budgets(tx: Connection, settings: MemorySettings) -> None:
    """Remove from the strata that hold more than their allowance."""
    held = {Stratum(*row[:3]): Amount(*row[3:]) for row in tx.execute("SELECT * FROM strata")}
    budget = Amount(settings.replay_samples, int(settings.replay_tokens * facts.bytes_per_token(tx)))
    allowed = allowances(held, budget, settings.source_quota)
    leaving = [
        sample
        for stratum, amount in held.items()
        if amount.samples > allowed[stratum].samples or amount.bytes > allowed[stratum].bytes
        for sample in too_many(amount, allowed[stratum], _by_falling_priority(tx, stratum))
    ]
    removal.evict(tx, leaving)


def _by_falling_priority(tx: Connection, stratum: Stratum) -> Iterator[tuple[int, int]]:
    return iter(
        tx.execute(
            "SELECT sample, bytes FROM replay WHERE source = ? AND era = ? AND label = ? ORDER BY priority DESC",
            stratum,
        )
    )
