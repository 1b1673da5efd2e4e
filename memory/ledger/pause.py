"""Whether rounds may begin by themselves: a person can pause them, until a person's word."""

from typing import Final

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from memory.database import facts
from memory.database.sqlite import Connection

_NAME = "rounds_pause"


@dataclass(frozen=True, slots=True)
class RoundsPause:
    """That no round begins by itself.

    Attributes:
        since: unix seconds.
        reason: a person's words; may be empty.
    """

    since: float
    reason: str


_COLUMN: Final = TypeAdapter(RoundsPause)


def find(tx: Connection) -> RoundsPause | None:
    """The pause that there is."""
    row = tx.execute("SELECT value FROM facts WHERE name = ?", (_NAME,)).fetchone()
    return None if row is None else _COLUMN.validate_json(row[0])


def begin(tx: Connection, reason: str, now: float) -> RoundsPause:
    """Pause, or give the pause that there is another reason; one without words keeps what was said before."""
    running = find(tx)
    pause = RoundsPause(now, reason) if running is None else RoundsPause(running.since, reason or running.reason)
    facts.put(tx, _NAME, _COLUMN.dump_json(pause).decode())
    return pause


def end(tx: Connection) -> bool:
    """End the pause; says whether there was one."""
    return bool(tx.execute("DELETE FROM facts WHERE name = ?", (_NAME,)).rowcount)
