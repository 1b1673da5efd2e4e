"""The audit log: what served when, to whom it was a canary, and who did what. Lines are added, and never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from memory.database.sqlite import Connection

BY_DAEMON: Final = "the daemon"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A line of the audit log.

    Attributes:
        id: grows with each.
        at: unix seconds.
        who: whose word it was.
        what: `serves`, `watched`, `taken_back`, or the name of an operation, and the same with `_refused` after it.
        detail: which generations, which arguments; JSON values only.
    """

    id: int
    at: float
    who: str
    what: str
    detail: Mapping[str, Any]


def note(tx: Connection, what: str, detail: Mapping[str, Any], *, who: str, now: float) -> None:
    """Add a line."""
    tx.execute(
        "INSERT INTO audit(at, who, what, detail) VALUES (?, ?, ?, ?)",
        (now, who, what, json.dumps(detail, default=str)),
    )


def note_bounded(tx: Connection, what: str, detail: Mapping[str, Any], *, who: str, now: float, most: int) -> None:
    """Add a line, and let the oldest go beyond so many."""
    note(tx, what, detail, who=who, now=now)
    prune(tx, most)


def prune(tx: Connection, most: int) -> None:
    """Let the oldest lines go beyond so many."""
    newest = tx.execute("SELECT max(id) FROM audit").fetchone()[0] or 0
    tx.execute("DELETE FROM audit WHERE id <= ?", (newest - most,))


def swaps(tx: Connection, limit: int) -> list[AuditRecord]:
    """See `Store.audit.swaps`."""
    rows = tx.execute(
        "SELECT id, at, who, what, detail FROM audit WHERE what IN ('serves', 'watched', 'taken_back') "
        "ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [AuditRecord(number, at, who, what, json.loads(detail)) for number, at, who, what, detail in rows]


def swaps_since(tx: Connection, since: float, limit: int) -> list[AuditRecord]:
    """See `Store.audit.swaps_since`."""
    rows = tx.execute(
        # By the line before that time, which is found from the end: of a long log the rest is not looked at.
        "SELECT id, at, who, what, detail FROM audit WHERE id > coalesce((SELECT id FROM audit WHERE at < ? "
        "ORDER BY id DESC LIMIT 1), 0) AND what IN ('serves', 'watched', 'taken_back') ORDER BY id DESC LIMIT ?",
        (since, limit),
    ).fetchall()
    return [AuditRecord(number, at, who, what, json.loads(detail)) for number, at, who, what, detail in rows[::-1]]


def latest(tx: Connection, limit: int, before: int | None) -> list[AuditRecord]:
    """See `Store.audit.latest`."""
    rows = tx.execute(
        "SELECT id, at, who, what, detail FROM audit WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?",
        (before, before, limit),
    )
    return [AuditRecord(number, at, who, what, json.loads(detail)) for number, at, who, what, detail in rows]
