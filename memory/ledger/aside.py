"""Text that was set aside: kept and listed, out of training and evaluation, until a person releases or drops it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.errors import WrongState
from memory.identity.fingerprints import priorities
from memory.ledger import rounds
from memory.ledger.records import AsideGroup
from memory.ledger.states import RoundState
from memory.samples import counters, reading, removal, slices
from memory.samples.reading import FoundSample
from memory.samples.records import Role
from memory.settings import MemorySettings

STRANGERS_NAMED = 8
PAGE_BYTES = 8 << 20
"""A page of text ends there, however few documents that are; it has at least one."""

MEASURED = "documents"
"""Where a round's report has the documents that it measured before training, as [id, nats, tokens, repetition]."""


class Measured(NamedTuple):
    """One document under the generation that served: nats per token; the share of it that repeats, 0 to 1."""

    loss: float
    repetition: float


@dataclass(frozen=True, slots=True)
class AsidePage:
    """Some of the text that a round set aside, lowest ids or greatest losses first.

    Attributes:
        held_out: ids of those that were held-out text.
        measured: what the round measured of those of its documents that it looked at before training.
        next: the id that the next page goes on after; None where there is none.
    """

    found: tuple[FoundSample, ...]
    held_out: frozenset[int]
    measured: Mapping[int, Measured]
    next: int | None


@dataclass(frozen=True, slots=True)
class AsideCount:
    """How much of what a round set aside is of a source, a key, or both.

    Attributes:
        samples: meant for training.
        held_out: the held-out part.
        sources: documents of each source, of all that the round set aside.
    """

    samples: int
    held_out: int
    sources: Mapping[str, int]


def set_aside(tx: Connection, ids: Sequence[int], *, round_number: int, reason: str, now: float) -> int:
    """Set fresh and held-out samples aside; other ids are ignored. Returns how many were."""
    ids_json = sqlite.as_json(ids)
    moved = tx.execute(
        "INSERT INTO aside(sample, round, since, reason, role) SELECT id, ?, ?, ?, role FROM samples "
        "WHERE id IN (SELECT value FROM json_each(?)) AND role IN (?, ?) RETURNING sample",
        (round_number, now, reason, ids_json, Role.FRESH, Role.HOLDOUT),
    ).fetchall()
    moved_json = sqlite.as_json(row[0] for row in moved)
    tx.execute("DELETE FROM holdout WHERE sample IN (SELECT value FROM json_each(?))", (moved_json,))
    counters.change_role(tx, moved_json, Role.ASIDE)
    return len(moved)


def count_refusals(tx: Connection, ids: Sequence[int]) -> None:
    """Note that these samples were part of one more refused round; those that have been erased since count nowhere."""
    tx.execute(
        "INSERT INTO refusals(sample, times) SELECT id, 1 FROM samples WHERE id IN (SELECT value FROM json_each(?)) "
        "ON CONFLICT DO UPDATE SET times = times + 1",
        (sqlite.as_json(ids),),
    )


def find_refused_often(tx: Connection, ids: Sequence[int], times: int) -> list[int]:
    """Those of these samples that were refused at least so many times."""
    rows = tx.execute(
        "SELECT sample FROM refusals WHERE times >= ? AND sample IN (SELECT value FROM json_each(?))",
        (times, sqlite.as_json(ids)),
    )
    return [row[0] for row in rows]


def acquit(tx: Connection, ids: Sequence[int]) -> None:
    """Forget the refusals of these samples."""
    tx.execute("DELETE FROM refusals WHERE sample IN (SELECT value FROM json_each(?))", (sqlite.as_json(ids),))


def held_out_lately(tx: Connection) -> list[int]:
    """Held-out samples of the periods since the last accepted round that a round has been judged on."""
    rows = tx.execute(
        "SELECT h.sample FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state IN ('pending', 'early')"
    )
    return [row[0] for row in rows]


def groups(tx: Connection) -> list[AsideGroup]:
    """What is set aside, by round, oldest first."""
    per_token = facts.bytes_per_token(tx)
    rows = tx.execute(
        "SELECT a.round, min(a.reason), min(a.since), sum(a.role = ?1), sum((a.role = ?1) * s.bytes), "
        "sum(a.role = ?2), json_group_array(DISTINCT sources.name) FROM aside a JOIN samples s ON s.id = a.sample "
        "JOIN sources ON sources.id = s.source GROUP BY a.round ORDER BY a.round",
        (Role.FRESH, Role.HOLDOUT),
    )
    return [
        AsideGroup(number, reason, since, count, facts.tokens(size, per_token), held, tuple(sorted(json.loads(names))))
        for number, reason, since, count, size, held, names in rows
    ]


def of_round(tx: Connection, round_number: int, limit: int, after: int, *, worst_first: bool = False) -> AsidePage:
    """See `Store.aside.text`."""
    measured = _read_measured(tx, round_number)
    # One more than the page may hold: it tells whether another page follows.
    rows = _rows(tx, round_number, limit + 1, after, by_loss=measured if worst_first else {})
    length, size = 0, 0
    while length < min(limit, len(rows)) and (length == 0 or size + rows[length][2] <= PAGE_BYTES):
        size += rows[length][2]
        length += 1
    page = rows[:length]
    by_id = {place.sample.id: place for place in reading.read_places(tx, [sample for sample, _, _ in page])}
    return AsidePage(
        found=tuple(by_id[sample] for sample, _, _ in page if sample in by_id),
        held_out=frozenset(sample for sample, role, _ in page if role == Role.HOLDOUT),
        measured={sample: measured[sample] for sample in by_id if sample in measured},
        next=page[-1][0] if length < len(rows) else None,
    )


def _read_measured(tx: Connection, round_number: int) -> dict[int, Measured]:
    row = tx.execute("SELECT report FROM rounds WHERE number = ?", (round_number,)).fetchone()
    documents = json.loads(row[0]).get(MEASURED, []) if row is not None else []
    return {sample: Measured(nll / tokens, repetition) for sample, nll, tokens, repetition in documents if tokens}


def _rows(
    tx: Connection, round_number: int, most: int, after: int, *, by_loss: Mapping[int, Measured]
) -> list[tuple[int, int, int]]:
    """Sample, role and bytes of what a round set aside and what comes after `after`; those without a loss come last."""
    query = "SELECT a.sample, a.role, s.bytes FROM aside a JOIN samples s ON s.id = a.sample WHERE a.round = ?"
    if not by_loss:
        return tx.execute(f"{query} AND a.sample > ? ORDER BY a.sample LIMIT ?", (round_number, after, most)).fetchall()

    def place(sample: int) -> tuple[float, int]:
        return (-by_loss[sample].loss if sample in by_loss else math.inf, sample)

    rows = sorted(tx.execute(query, (round_number,)).fetchall(), key=lambda row: place(row[0]))
    # The last page ended with that document: its place in this order says where to go on.
    return [row for row in rows if after == 0 or place(row[0]) > place(after)][:most]


def matching(tx: Connection, round_number: int, *, source: str | None, key_hash: int | None) -> dict[int, int]:
    """What a round has set aside of a source, a key, or both; each sample with the role that it had."""
    conditions, values = ["a.round = ?"], [round_number]
    if key_hash is not None:
        conditions, values = [*conditions, "s.key_hash = ?"], [*values, key_hash]
    rows = tx.execute(
        "SELECT a.sample, a.role, sources.name FROM aside a JOIN samples s ON s.id = a.sample "
        f"JOIN sources ON sources.id = s.source WHERE {' AND '.join(conditions)}",
        values,
    )
    return {sample: role for sample, role, name in rows if source in (None, name)}


def count(tx: Connection, round_number: int, *, source: str | None, key_hash: int | None) -> AsideCount:
    """See `Store.aside.count`."""
    roles = list(matching(tx, round_number, source=source, key_hash=key_hash).values())
    sources = tx.execute(
        "SELECT sources.name, count(*) FROM aside a JOIN samples s ON s.id = a.sample "
        "JOIN sources ON sources.id = s.source WHERE a.round = ? GROUP BY 1 ORDER BY 1",
        (round_number,),
    )
    return AsideCount(roles.count(Role.FRESH), roles.count(Role.HOLDOUT), dict(sources.fetchall()))


def part_of(tx: Connection, round_number: int, ids: Sequence[int], *, undone: str = "erased") -> list[int]:
    """These samples, all of which the round has set aside; `undone`: what else nothing of them is.

    Raises:
        WrongState: it has not set one of them aside, or not any longer.
    """
    rows = tx.execute(
        "SELECT sample FROM aside WHERE round = ? AND sample IN (SELECT value FROM json_each(?))",
        (round_number, sqlite.as_json(ids)),
    )
    present = {row[0] for row in rows}
    if strangers := sorted(set(ids) - present):
        names = ", ".join(map(str, strangers[:STRANGERS_NAMED])) + (", …" if len(strangers) > STRANGERS_NAMED else "")
        raise WrongState(f"Round {round_number} has not set {names} aside: nothing is {undone}.")
    return sorted(present)


def choose(tx: Connection, round_number: int | None, ids: Sequence[int] | None) -> list[int]:
    """The samples set aside by a round, or those of these ids that are aside.

    Raises:
        ValueError: neither or both are given.
        WrongState: the round waits as a whole for a person's word.
    """
    if (round_number is None) == (ids is None):
        raise ValueError("give either a round's number or ids")
    if round_number is None:
        condition, value = "sample IN (SELECT value FROM json_each(?))", sqlite.as_json(ids or ())
    else:
        if rounds.read(tx, round_number).state is RoundState.WAITING:
            raise WrongState(f"Round {round_number} waits: approve or reject it as a whole.")
        # Both values are text: SQLite compares it with a column of integers as a number.
        condition, value = "round = ?", str(round_number)
    return [row[0] for row in tx.execute(f"SELECT sample FROM aside WHERE {condition}", (value,))]


def release(tx: Connection, ids: Sequence[int], settings: MemorySettings, salt: int) -> int:
    """Let samples that are aside be fresh or held out again, with no refusals. Returns how many are."""
    rows = tx.execute(
        "SELECT a.sample, a.role, s.source FROM aside a JOIN samples s ON s.id = a.sample "
        "WHERE a.sample IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(ids),),
    ).fetchall()
    released = sqlite.as_json(row[0] for row in rows)
    tx.execute("DELETE FROM aside WHERE sample IN (SELECT value FROM json_each(?))", (released,))
    acquit(tx, [row[0] for row in rows])
    fresh = [sample for sample, role, _ in rows if role == Role.FRESH]
    counters.change_role(tx, sqlite.as_json(fresh), Role.FRESH)
    held = [(sample, source) for sample, role, source in rows if role == Role.HOLDOUT]
    # Held-out text again before it asks for a place: what finds none is then removed as such, scores and all.
    counters.change_role(tx, sqlite.as_json(sample for sample, _ in held), Role.HOLDOUT)
    return len(fresh) + len(_readmit(tx, held, settings, salt))


def _readmit(tx: Connection, held: Sequence[tuple[int, int]], settings: MemorySettings, salt: int) -> set[int]:
    """Give held-out samples a place in their sources' open slices; those that find none are removed."""
    # The priorities that they had on arrival: what is released has no better chance than what came with it.
    order = priorities(np.array([sample for sample, _ in held], np.int64), salt).tolist()
    offered = [slices.Held(priority, sample, source) for priority, (sample, source) in zip(order, held, strict=True)]
    admitted = slices.admit(tx, offered, settings, anchor=False)
    removal.evict(tx, [sample for sample, _ in held if sample not in admitted])
    return admitted
