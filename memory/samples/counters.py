"""Counts kept in the transaction of what they count, so that reading them does not cost more as the store grows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from memory.database import facts
from memory.database.sqlite import Connection
from memory.samples.records import Counts, Role, RoleCount
from memory.settings import MemorySettings

Change = tuple[int, int, int, int, int]
"""Role, source, label, samples, bytes."""

_ADD = """
    INSERT INTO counters(role, source, label, samples, bytes) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET samples = samples + excluded.samples, bytes = bytes + excluded.bytes
"""


def add(tx: Connection, changes: Iterable[Change]) -> None:
    """Add samples and bytes (negative: remove) to the counters."""
    tx.executemany(_ADD, changes)


def change_role(tx: Connection, ids_json: str, new_role: Role) -> None:
    """Give the samples with these ids (a JSON array) another role, and move their counts along."""
    # Counted first, while the rows still have their old roles.
    moved = tx.execute(
        "SELECT role, source, label, count(*), sum(bytes) FROM samples "
        "WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3",
        (ids_json,),
    ).fetchall()
    add(tx, [(role, source, label, -samples, -size) for role, source, label, samples, size in moved])
    add(tx, [(new_role, source, label, samples, size) for _, source, label, samples, size in moved])
    tx.execute("UPDATE samples SET role = ? WHERE id IN (SELECT value FROM json_each(?))", (new_role, ids_json))


def tally(tx: Connection, amounts: Mapping[str, int]) -> None:
    """Add to running totals since the store was made."""
    tx.executemany(
        "INSERT INTO tallies(name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
        # Most batches change few of them: no row is written for nothing.
        [(name, amount) for name, amount in amounts.items() if amount],
    )


def totals(tx: Connection, role: Role) -> tuple[int, int]:
    """Samples and bytes of one role."""
    row = tx.execute(
        "SELECT coalesce(sum(samples), 0), coalesce(sum(bytes), 0) FROM counters WHERE role = ?", (role,)
    ).fetchone()
    return int(row[0]), int(row[1])


def is_full(tx: Connection, settings: MemorySettings) -> bool:
    """Whether the fresh buffer has reached its budget in samples or in tokens."""
    samples, size = totals(tx, Role.FRESH)
    per_token = facts.bytes_per_token(tx)
    return samples >= settings.fresh_samples or size >= settings.fresh_tokens * per_token


def quarantine(tx: Connection) -> tuple[int, int]:
    """Rows and bytes of dead letters."""
    rows = dict(tx.execute("SELECT name, value FROM tallies WHERE name IN ('quarantine_rows', 'quarantine_bytes')"))
    return rows.get("quarantine_rows", 0), rows.get("quarantine_bytes", 0)


def counts(tx: Connection, settings: MemorySettings) -> Counts:
    """Everything that is counted."""
    per_token = facts.bytes_per_token(tx)
    by_role = _by_role_and_source(tx, per_token)
    samples: dict[Role, int] = defaultdict(int)
    for entry in by_role:
        samples[entry.role] += entry.samples
    tallies = dict(tx.execute("SELECT name, value FROM tallies ORDER BY name"))
    return Counts(
        by_role_and_source=by_role,
        fresh_samples=samples[Role.FRESH],
        fresh_tokens=facts.tokens(totals(tx, Role.FRESH)[1], per_token),
        replay_samples=samples[Role.REPLAY],
        replay_tokens=facts.tokens(totals(tx, Role.REPLAY)[1], per_token),
        holdout_samples=samples[Role.HOLDOUT],
        open_holdout=_open_holdout(tx),
        aside_samples=samples[Role.ASIDE],
        aside_is_full=samples[Role.ASIDE] >= settings.aside_samples,
        quarantine_rows=tallies.pop("quarantine_rows", 0),
        quarantine_bytes=tallies.pop("quarantine_bytes", 0),
        tallies=tallies,
        bytes_per_token=per_token,
    )


def _by_role_and_source(tx: Connection, per_token: float) -> tuple[RoleCount, ...]:
    rows = tx.execute(
        "SELECT c.role, s.name, l.name, c.samples, c.bytes FROM counters c JOIN sources s ON s.id = c.source "
        "LEFT JOIN labels l ON l.id = c.label WHERE c.samples > 0 ORDER BY c.role, s.name, l.name"
    )
    return tuple(
        RoleCount(Role(role), source, label, samples, facts.tokens(size, per_token))
        for role, source, label, samples, size in rows
    )


def _open_holdout(tx: Connection) -> int:
    """Bounded by slices' sizes times sources, not by the store."""
    row = tx.execute(
        "SELECT count(*) FROM slices s JOIN holdout h ON h.slice = s.id WHERE s.state IN ('open', 'pending', 'early')"
    ).fetchone()
    return int(row[0])
