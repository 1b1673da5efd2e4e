"""Removing samples, from every table that names them."""

from collections.abc import Sequence

from memory.database.sqlite import Connection, as_json
from memory.samples import counters
from memory.samples.records import Role


def remove(tx: Connection, ids: Sequence[int]) -> int:
    """Remove samples and all that hangs on them; what lineage knows of them stays. Returns how many were there."""
    if not ids:
        return 0
    ids_json = as_json(ids)
    leaving = tx.execute(
        "SELECT role, source, label, count(*), sum(bytes) FROM samples "
        "WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3",
        (ids_json,),
    ).fetchall()
    counters.add(tx, [(role, source, label, -samples, -size) for role, source, label, samples, size in leaving])
    roles = {row[0] for row in leaving}
    if Role.REPLAY in roles:
        leave_replay(tx, ids_json)
    for table, column in _dependants(roles):
        tx.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (ids_json,))
    tx.execute("DELETE FROM samples WHERE id IN (SELECT value FROM json_each(?))", (ids_json,))
    return sum(row[3] for row in leaving)


def evict(tx: Connection, ids: Sequence[int]) -> int:
    """Remove samples for want of room, and count them. Returns how many were there."""
    removed = remove(tx, ids)
    counters.tally(tx, {"evicted": removed})
    return removed


def _dependants(roles: set[int]) -> list[tuple[str, str]]:
    tables = [("refusals", "sample"), ("corrections", "sample")]
    if roles & {Role.HOLDOUT, Role.ASIDE}:
        tables += [("holdout", "sample"), ("document_scores", "sample"), ("aside", "sample")]
    return tables


def leave_replay(tx: Connection, ids_json: str) -> None:
    """Take samples out of replay, and close the slots that they leave with those from the end."""
    leaving = tx.execute(
        "SELECT slot, source, era, label, bytes FROM replay WHERE sample IN (SELECT value FROM json_each(?))",
        (ids_json,),
    ).fetchall()
    if not leaving:
        return
    tx.executemany(
        # First: how many are left, and so where the slots now end, is read from the strata.
        "UPDATE strata SET samples = samples - 1, bytes = bytes - ? WHERE source = ? AND era = ? AND label = ?",
        [(size, source, era, label) for _, source, era, label, size in leaving],
    )
    tx.execute("DELETE FROM strata WHERE samples = 0")
    slots = sorted(row[0] for row in leaving)
    tx.executemany("DELETE FROM replay WHERE slot = ?", [(slot,) for slot in slots])
    _close_slots(tx, slots)


def _close_slots(tx: Connection, free: list[int]) -> None:
    """Move the rows with the highest slots into the free ones below the new end."""
    end = int(tx.execute("SELECT coalesce(sum(samples), 0) FROM strata").fetchone()[0])
    # Without holes a uniform draw is a choice of numbers. As many rows lie beyond the end as there are holes below it.
    holes = [slot for slot in free if slot < end]
    movers = tx.execute("SELECT slot FROM replay WHERE slot >= ? ORDER BY slot", (end,)).fetchall()
    tx.executemany(
        "UPDATE replay SET slot = ? WHERE slot = ?",
        [(hole, mover) for hole, (mover,) in zip(holes, movers, strict=True)],
    )
