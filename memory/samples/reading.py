"""Reading samples back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from memory.database import facts
from memory.database.sqlite import Connection, as_json
from memory.identity.near_duplicates import SketchIndex, sketch_texts
from memory.samples import offsets
from memory.samples.records import Role, Sample
from streams.document import Partition

_ROLES = {role.value: role for role in Role}

_SELECT = """
    SELECT s.id, s.text, sources.name, labels.name, s.role, s.bytes, s.key_hash, s.event_time, s.arrived_at,
        s.stream, s.offset, s.turns
    FROM samples s JOIN sources ON sources.id = s.source LEFT JOIN labels ON labels.id = s.label
    WHERE s.id IN (SELECT value FROM json_each(?)) ORDER BY s.id
"""


# Of the same rows: a text as long as a page is not read where nobody looks at it.
_SELECT_OUTLINES = _SELECT.replace("s.text", "''").replace("s.turns", "NULL")


class Placed(NamedTuple):
    """A sample, its size and where in its stream it came from."""

    sample: Sample
    bytes: int
    stream: int
    offset: int


def read(tx: Connection, ids: Iterable[int], *, text: bool = True) -> list[Placed]:
    """The samples with these ids that are kept, in the order of their ids; without `text` it is left empty."""
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
                turns=row[11],
            ),
            row[5],
            row[9],
            row[10],
        )
        for row in tx.execute(_SELECT if text else _SELECT_OUTLINES, (as_json(ids),))
    ]


def next_fresh(tx: Connection, after: int) -> Sample | None:
    """See `Store.next_fresh`."""
    row = tx.execute(
        f"SELECT id FROM samples WHERE role = {Role.FRESH.value} AND id > ? ORDER BY id LIMIT 1", (after,)
    ).fetchone()
    return None if row is None else read(tx, row)[0].sample


class FreshLabel(NamedTuple):
    """A fresh sample's number in the store, its label, and the keyed hash of its key."""

    id: int
    label: str
    key_hash: int | None


def fresh_labels(tx: Connection) -> list[FreshLabel]:
    """All fresh samples that have a label, without their text."""
    rows = tx.execute(
        "SELECT s.id, l.name, s.key_hash FROM samples s JOIN labels l ON l.id = s.label "
        f"WHERE s.role = {Role.FRESH.value}"
    )
    return [FreshLabel(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class FoundSample:
    """A sample that is kept, and where it came from."""

    sample: Sample
    partition: Partition
    offset: int


def read_places(tx: Connection, ids: list[int]) -> tuple[FoundSample, ...]:
    """The samples with these ids that are kept, each with where it came from, in the order of their ids."""
    rows = read(tx, ids)
    names = offsets.partitions(tx, (row.stream for row in rows))
    return tuple(FoundSample(row.sample, names[row.stream], row.offset) for row in rows)


# Held-out text is read over as a whole, and only so much of it is in memory at a time.
CHUNK = 2_000


def read_held(tx: Connection, index: SketchIndex, after: int) -> int:
    """Read held-out text with ids above `after` into an index, what is set aside too: it may be released.

    Returns the highest id read.
    """
    rows = tx.execute(
        "SELECT s.id, s.text FROM samples s WHERE s.id > ? AND s.id IN (SELECT sample FROM holdout UNION ALL "
        "SELECT sample FROM aside WHERE role = ?) ORDER BY s.id",
        (after, Role.HOLDOUT),
    )
    while chunk := rows.fetchmany(CHUNK):
        index.add(sketch_texts([text for _, text in chunk]))
        after = chunk[-1][0]
    return after
