"""Which of two generations' answers people found the better, without knowing whose they were; never the text."""

from dataclasses import dataclass
from typing import Final

from memory.database.sqlite import Connection
from memory.ledger.history import audit

ROWS_KEPT: Final = 100_000
"""Picks; the oldest go."""


@dataclass(frozen=True, slots=True)
class PickCounts:
    """What one person picked of one pair.

    Attributes:
        first, second: the generations, the lower number first.
        who: picked.
        first_better, second_better, equal: how often.
        latest_at: unix seconds.
    """

    first: int
    second: int
    who: str
    first_better: int
    second_better: int
    equal: int
    latest_at: float


def note(tx: Connection, pair: tuple[int, int], won: int | None, *, who: str, now: float, most_lines: int) -> None:
    """Count a pick, with a line of the audit log.

    Args:
        pair: the generations.
        won: whose answer is the better; None: they are equal.
        who: whose word it is.
        now: unix seconds.
        most_lines: of the audit log.
    """
    first, second = sorted(pair)
    tx.execute("INSERT INTO picks(at, who, first, second, won) VALUES (?, ?, ?, ?, ?)", (now, who, first, second, won))
    newest = int(tx.execute("SELECT max(id) FROM picks").fetchone()[0])
    tx.execute("DELETE FROM picks WHERE id <= ?", (newest - ROWS_KEPT,))
    detail = {"first": first, "second": second, "won": won}
    audit.note_bounded(tx, "picked", detail, who=who, now=now, most=most_lines)


def counts(tx: Connection, pair: tuple[int, int] | None = None) -> list[PickCounts]:
    """What each person picked of a pair, or of every pair; those picked from last come first."""
    first, second = (None, None) if pair is None else sorted(pair)
    rows = tx.execute(
        "SELECT first, second, who, coalesce(sum(won = first), 0), coalesce(sum(won = second), 0), "
        "sum(won IS NULL), max(at) FROM picks WHERE ?1 IS NULL OR (first = ?1 AND second = ?2) "
        "GROUP BY first, second, who ORDER BY max(id) DESC",
        (first, second),
    )
    return [PickCounts(*row) for row in rows]
