"""How old what is kept is: replay by the rounds that it came in, held-out text by the rounds of its slice."""

from collections.abc import Iterator

from memory.database import facts
from memory.database.sqlite import Connection
from memory.samples import slice_names
from memory.samples.records import AgeCount, Role
from memory.samples.slices import ANCHOR_SOURCE


def ages(tx: Connection) -> tuple[AgeCount, ...]:
    """Samples by role, source and age, oldest first; what is fresh has no rounds behind it and is not among them.

    It costs a look at each stratum, and a count of each slice.
    """
    per_token = facts.bytes_per_token(tx)
    rows = [*_replay(tx), *_held_out(tx)]
    return tuple(
        AgeCount(role, source, first, last, samples, None if size is None else facts.tokens(size, per_token))
        for role, source, first, last, samples, size in sorted(rows, key=lambda row: (row[2], row[3], row[1], row[0]))
    )


def fresh_since(tx: Connection) -> float | None:
    """When the fresh sample that has waited longest arrived, unix seconds; None where nothing is fresh."""
    row = tx.execute(f"SELECT arrived_at FROM samples WHERE role = {Role.FRESH.value} ORDER BY id LIMIT 1").fetchone()
    return None if row is None else float(row[0])


def _replay(tx: Connection) -> Iterator[tuple[Role, str, int, int, int, int]]:
    rows = tx.execute(
        "SELECT coalesce(n.name, ''), t.era, coalesce(e.last_round, t.era), sum(t.samples), sum(t.bytes) FROM strata t "
        "LEFT JOIN sources n ON n.id = t.source LEFT JOIN eras e ON e.id = t.era WHERE t.samples > 0 "
        "GROUP BY t.source, t.era"
    )
    return ((Role.REPLAY, *row) for row in rows)


def _held_out(tx: Connection) -> Iterator[tuple[Role, str, int, int, int, None]]:
    rows = tx.execute(
        "SELECT iif(s.source = ?, ?, coalesce(n.name, '')), s.first_round, s.last_round, count(*), NULL FROM slices s "
        "JOIN holdout o ON o.slice = s.id LEFT JOIN sources n ON n.id = s.source "
        "GROUP BY s.source, s.first_round, s.last_round",
        (ANCHOR_SOURCE, slice_names.ANCHOR),
    )
    return ((Role.HOLDOUT, *row) for row in rows)
