"""Where the ledger stands, in a few cheap questions: who has read it need not read it again until this differs."""

from memory.database import facts
from memory.database.sqlite import Connection
from memory.ledger.records import Standing
from memory.ledger.states import RoundState


def standing(tx: Connection) -> Standing:
    """See `Store.rounds.standing`."""
    # The index on states names the latest round of each, so that no reports are read over.
    ended = dict(
        tx.execute(
            "SELECT state, ended_at FROM rounds WHERE ended_at IS NOT NULL "
            "AND number IN (SELECT max(number) FROM rounds GROUP BY state)"
        )
    )
    return Standing(
        serving=facts.find_int(tx, "serving"),
        rounds_begun=facts.get_int(tx, "rounds_begun"),
        ended={RoundState(state): at for state, at in ended.items()},
        accepted_at=ended.get(RoundState.ACCEPTED, _find_registration(tx)),
    )


def _find_registration(tx: Connection) -> float | None:
    """When the base model was registered; None before that."""
    row = tx.execute("SELECT min(created_at) FROM generations WHERE parent IS NULL").fetchone()
    return None if row is None else row[0]
