"""A person's word to serve an earlier generation again, and when that was said last."""

from typing import Final

from pydantic import TypeAdapter

from memory.database import facts
from memory.database.sqlite import Connection
from memory.errors import WrongState
from memory.ledger.generations import STATES_TO_SERVE, flag_line, read
from memory.ledger.records import GenerationState, Rollback

_ROLLBACK: Final = TypeAdapter(tuple[int, int, float, str])


def rollback(tx: Connection, to: int | None, *, by: str, now: float) -> tuple[int, int]:
    """See `Store.generations.rollback`."""
    serving = facts.find_int(tx, "serving")
    if serving is None:
        raise WrongState("No generation serves, so there is nothing to roll back from.")
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
    facts.put(tx, "rollback", _ROLLBACK.dump_json((serving, number, now, by)).decode())
    return serving, number


def last_rollback(tx: Connection) -> Rollback | None:
    """See `Store.generations.last_rollback`."""
    row = tx.execute("SELECT value FROM facts WHERE name = 'rollback'").fetchone()
    return None if row is None else Rollback(*_ROLLBACK.validate_json(row[0]))
