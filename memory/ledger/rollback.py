"""A person's word to serve an earlier generation again, and when that was said last."""

from typing import Final

from pydantic import TypeAdapter

from memory.database import facts
from memory.database.sqlite import Connection
from memory.errors import WrongState
from memory.ledger.generations import STATES_TO_SERVE, flag_line, read
from memory.ledger.history import audit, canaries
from memory.ledger.records import GenerationState, Rollback

NOBODY: Final = "unknown"
_ROLLBACK: Final = TypeAdapter(tuple[int, int, float, str])


def rollback(tx: Connection, to: int | None, *, by: str, now: float) -> tuple[int, int]:
    """See `Store.generations.rollback`."""
    serving = facts.find_int(tx, "serving")
    if serving is None:
        raise WrongState("No generation serves, so there is nothing to roll back from.")
    if (watched := canaries.watched(tx)) is not None:
        if to == watched.generation:
            canaries.promote(tx, to, None, by=by, now=now)
            return serving, to
        canaries.roll_back(tx, watched.generation, None, by=by, now=now)
        if to in (None, serving):
            _note(tx, watched.generation, serving, by=by, now=now)
            return watched.generation, serving
    number = read(tx, serving).parent if to is None else to
    if number is None:
        raise WrongState(f"Generation {serving} is the base: there is nothing before it to roll back to.")
    target = read(tx, number)
    if number == serving:
        raise WrongState(f"Generation {number} serves already.")
    if target.state not in STATES_TO_SERVE:
        raise WrongState(f"Generation {number} is {target.state}: it cannot serve. See `riverkeep generations`.")
    # In this order: what both lines share has led to the new one too, and stays accepted.
    flag_line(tx, serving, GenerationState.ROLLED_BACK)
    flag_line(tx, number, GenerationState.ACCEPTED)
    facts.put(tx, "serving", number)
    audit.note(tx, "serves", {"generation": number, "before": serving}, who=by or NOBODY, now=now)
    _note(tx, serving, number, by=by, now=now)
    return serving, number


def _note(tx: Connection, left: int, to: int, *, by: str, now: float) -> None:
    facts.put(tx, "rollback", _ROLLBACK.dump_json((left, to, now, by)).decode())


def last_rollback(tx: Connection) -> Rollback | None:
    """See `Store.generations.last_rollback`."""
    row = tx.execute("SELECT value FROM facts WHERE name = 'rollback'").fetchone()
    return None if row is None else Rollback(*_ROLLBACK.validate_json(row[0]))
