"""Reading samples back."""

from collections.abc import Iterable
from typing import NamedTuple

from memory import facts
from memory.records import Role, Sample
from memory.removal import as_json
from memory.sqlite import Connection

_ROLES = {role.value: role for role in Role}

_SELECT = """
    SELECT s.id, s.text, sources.name, labels.name, s.role, s.bytes, s.key_hash, s.event_time, s.arrived_at,
        s.stream, s.offset
    FROM samples s JOIN sources ON sources.id = s.source LEFT JOIN labels ON labels.id = s.label
    WHERE s.id IN (SELECT value FROM json_each(?)) ORDER BY s.id
"""


class Placed(NamedTuple):
    """A sample, its size and where in its stream it came from."""

    sample: Sample
    bytes: int
    stream: int
    offset: int


def read(tx: Connection, ids: Iterable[int]) -> list[Placed]:
    """The samples with these ids that are kept, in the order of their ids."""
    per_token = facts.bytes_per_token(tx)
    return [
        Placed(
            Sample(
                id=row[0],
                text=row[1],
                source=row[2],
                label=row[3],
                role=_ROLES[row[4]],
                tokens=facts.tokens(row[5], per_token),
                key_hash=row[6],
                event_time=row[7],
                arrived_at=row[8],
            ),
            row[5],
            row[9],
            row[10],
        )
        for row in tx.execute(_SELECT, (as_json(ids),))
    ]
