"""Held-out text in slices: what a slice keeps, when it closes, how old ones merge, and the frozen anchor.

A slice is `open` while its period lasts, `pending` once a round has begun after it, `closed` when a round that was
judged on it is accepted. `early` is what the anchor will take over then, where it needs text of the stream.

A slice keeps, of all that it was offered, the lowest random priorities up to its bound, so it is a uniform sample of
its period; merging two keeps that property, because the lower of both thresholds holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.identity.categories import all_categories
from memory.identity.shared_keys import first_of_key
from memory.samples import counters, removal, slice_names
from memory.samples.fair_shares import share
from memory.samples.records import Role
from memory.settings import MemorySettings

NO_THRESHOLD = 2**63 - 1
ANCHOR_SOURCE = 0
"""No source has this id: the anchor is of all of them."""


class Held(NamedTuple):
    """A held-out document that asks for a place in a slice."""

    priority: int
    sample: int
    source: int


class SliceRow(NamedTuple):
    """A slice as stored."""

    id: int
    state: str
    source: int
    first_round: int
    last_round: int
    threshold: int


def find(tx: Connection, state: str, source: int) -> SliceRow | None:
    """The slice of a source in this state (there is at most one that is not closed)."""
    row = tx.execute("SELECT * FROM slices WHERE state = ? AND source = ?", (state, source)).fetchone()
    return None if row is None else SliceRow(*row)


def list_slices(tx: Connection, *states: str) -> list[SliceRow]:
    """The slices in these states, oldest first."""
    marks = ", ".join("?" * len(states))
    rows = tx.execute(f"SELECT * FROM slices WHERE state IN ({marks}) ORDER BY source, first_round, id", states)
    return [SliceRow(*row) for row in rows]


def create(tx: Connection, state: str, source: int, first_round: int) -> SliceRow:
    """A new, empty slice."""
    cursor = tx.execute(
        "INSERT INTO slices(state, source, first_round, last_round, threshold) VALUES (?, ?, ?, ?, ?)",
        (state, source, first_round, first_round, NO_THRESHOLD),
    )
    return SliceRow(int(cursor.lastrowid or 0), state, source, first_round, first_round, NO_THRESHOLD)


def admit(tx: Connection, offered: Sequence[Held], settings: MemorySettings, *, anchor: bool) -> set[int]:
    """Offer held-out documents to the open slices of their sources, or to the anchor.

    What is displaced is removed. Returns the samples that found a place; the caller stores their text.
    """
    # Every generation is compared on the same anchor: once frozen it takes nothing.
    if anchor and _is_anchor_frozen(tx, settings):
        return set()
    bound = settings.anchor_documents if anchor else settings.slice_documents
    groups: dict[int, list[Held]] = defaultdict(list)
    for held in offered:
        groups[ANCHOR_SOURCE if anchor else held.source].append(held)
    state, period = ("anchor", 0) if anchor else ("open", facts.get_int(tx, "rounds_begun") + 1)
    admitted: set[int] = set()
    for source, group in groups.items():
        row = find(tx, state, source) or create(tx, state, source, period)
        admitted |= _admit_to(tx, row, group, bound)
    return admitted


def _admit_to(tx: Connection, row: SliceRow, group: Sequence[Held], bound: int) -> set[int]:
    new = [(held.priority, held.sample) for held in group]
    tx.executemany("INSERT INTO holdout(slice, priority, sample) VALUES (?, ?, ?)", [(row.id, *held) for held in new])
    displaced = cut(tx, row.id, bound)
    removal.evict(tx, displaced)
    return {sample for _, sample in new} - set(displaced)


def cut(tx: Connection, slice_id: int, bound: int) -> list[int]:
    """Take all but the `bound` lowest priorities out of a slice, and lower its threshold. Returns their samples."""
    leaving = tx.execute(
        # SQLite takes an OFFSET only behind a LIMIT; -1 is none.
        "SELECT priority, sample FROM holdout WHERE slice = ? ORDER BY priority, sample LIMIT -1 OFFSET ?",
        (slice_id, bound),
    ).fetchall()
    if leaving:
        tx.execute("UPDATE slices SET threshold = ? WHERE id = ?", (leaving[0][0] - 1, slice_id))
        tx.execute("DELETE FROM holdout WHERE slice = ? AND priority >= ?", (slice_id, leaving[0][0]))
    return [sample for _, sample in leaving]


def shrink(tx: Connection, bound: int) -> int:
    """Keep all slices together within a bound: the fullest give up text, the frozen anchor none.

    Returns how many documents went.
    """
    # By the counter: this is asked with every batch that holds text out.
    if counters.totals(tx, Role.HOLDOUT)[0] <= bound:
        return 0
    anchor = find(tx, "anchor", ANCHOR_SOURCE)
    sizes = dict(tx.execute("SELECT slice, count(*) FROM holdout GROUP BY slice"))
    # The anchor is the measure for all time: its text goes before any period's.
    room = max(bound - sizes.pop(anchor.id, 0), 0) if anchor else bound
    allowed = share(room, sizes)
    leaving = [sample for row, size in sizes.items() if size > allowed[row] for sample in cut(tx, row, allowed[row])]
    return removal.evict(tx, leaving)


def seal(tx: Connection, round_number: int, settings: MemorySettings) -> None:
    """Close the period at the begin of a round: open slices become pending, joined with what was pending before."""
    # The period ends here: what arrives while the round runs is of the next one.
    for row in list_slices(tx, "open"):
        pending = find(tx, "pending", row.source)
        if pending is not None:
            removal.evict(tx, _merge(tx, pending, row, settings.slice_documents))
        tx.execute("UPDATE slices SET state = 'pending' WHERE id = ?", ((pending or row).id,))
    # A round that was cut off may have left scores under the name that they had in it.
    _forget_scores(tx, [name(tx, row) for row in list_slices(tx, "pending")])
    first = facts.get_int(tx, "last_accepted") + 1
    tx.execute("UPDATE slices SET first_round = ?, last_round = ? WHERE state = 'pending'", (first, round_number))
    if not _is_anchor_frozen(tx, settings):
        _fill_anchor(tx, settings)


def _fill_anchor(tx: Connection, settings: MemorySettings) -> None:
    """Freeze the anchor where it is large enough; where it is not, offer it half of the first text that arrived.

    What is offered becomes part of it when the round is accepted: text that is refused must not be a measure for ever.
    """
    anchor, early = (find(tx, state, ANCHOR_SOURCE) for state in ("anchor", "early"))
    if anchor and keys_in(tx, _members(tx, anchor.id), settings) >= settings.anchor_minimum:
        facts.put(tx, "anchor_frozen", 1)
        return
    size = _size(tx, anchor.id) if anchor else 0
    early = early or create(tx, "early", ANCHOR_SOURCE, 0)
    newest = tx.execute(
        "SELECT h.priority, h.sample FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state = 'pending'"
    )
    offered = first_text(newest, settings.anchor_documents - size - _size(tx, early.id))
    tx.execute(
        "UPDATE holdout SET slice = ? WHERE sample IN (SELECT value FROM json_each(?))",
        (early.id, sqlite.as_json(offered)),
    )


def first_text(newest: Iterable[tuple[int, int]], room: int) -> list[int]:
    """Which of the newest held-out documents, given as (priority, sample), the anchor is offered: half, lowest first.

    Args:
        newest: of all sources.
        room: how many more the anchor takes.
    """
    # An even priority is a coin that was thrown when the document arrived.
    offered = sorted((priority, sample) for priority, sample in newest if priority % 2 == 0)
    return [sample for _, sample in offered[: max(room, 0)]]


def _is_anchor_frozen(tx: Connection, settings: MemorySettings) -> bool:
    """Whether the anchor takes no more text; one that was frozen with less than is asked now is thawed."""
    if not facts.get_int(tx, "anchor_frozen"):
        return False
    anchor = find(tx, "anchor", ANCHOR_SOURCE)
    if anchor and keys_in(tx, _members(tx, anchor.id), settings) >= settings.anchor_minimum:
        return True
    # The gate cannot judge by it, and nobody could add to it: a service would never accept a round again.
    facts.put(tx, "anchor_frozen", 0)
    return False


def anchor_takes_of_stream(tx: Connection, settings: MemorySettings) -> bool:
    """Whether the next round gives the anchor half of the newest held-out text."""
    if facts.get_int(tx, "anchor_frozen"):
        return False
    if (anchor := find(tx, "anchor", ANCHOR_SOURCE)) is None:
        return True
    # Asked with every batch, so without the categories, whose text counts by document: a key too few is no harm here.
    rows = tx.execute(
        "SELECT count(DISTINCT coalesce(s.key_hash, 'sample ' || s.id)) FROM holdout h "
        "JOIN samples s ON s.id = h.sample WHERE h.slice = ?",
        (anchor.id,),
    )
    return int(rows.fetchone()[0]) < settings.anchor_minimum


def keys_in(tx: Connection, samples: Sequence[int], settings: MemorySettings) -> int:
    """How many keys these samples have: as many as there are, where each has its own or none."""
    rows = tx.execute(
        "SELECT id, key_hash FROM samples WHERE id IN (SELECT value FROM json_each(?))", (sqlite.as_json(samples),)
    ).fetchall()
    return len(rows) - len(first_of_key(rows, all_categories(tx, settings.key_quota)))


def _members(tx: Connection, slice_id: int) -> list[int]:
    return [row[0] for row in tx.execute("SELECT sample FROM holdout WHERE slice = ?", (slice_id,))]


def _take_early_into_anchor(tx: Connection) -> None:
    early = find(tx, "early", ANCHOR_SOURCE)
    if early is not None:
        anchor = find(tx, "anchor", ANCHOR_SOURCE) or create(tx, "anchor", ANCHOR_SOURCE, 0)
        tx.execute("UPDATE holdout SET slice = ? WHERE slice = ?", (anchor.id, early.id))
        tx.execute("DELETE FROM slices WHERE id = ?", (early.id,))


def _size(tx: Connection, slice_id: int) -> int:
    return int(tx.execute("SELECT count(*) FROM holdout WHERE slice = ?", (slice_id,)).fetchone()[0])


def _merge(tx: Connection, into: SliceRow, joined: SliceRow, bound: int) -> list[int]:
    """Move a slice into another; returns the samples that have no place in the union."""
    threshold = min(into.threshold, joined.threshold)
    tx.execute("UPDATE holdout SET slice = ? WHERE slice = ?", (into.id, joined.id))
    tx.execute("DELETE FROM slices WHERE id = ?", (joined.id,))
    tx.execute(
        "UPDATE slices SET threshold = ?, last_round = max(last_round, ?) WHERE id = ?",
        (threshold, joined.last_round, into.id),
    )
    # Above it one of the two gave up what it was offered: what the other still has there would weigh too much.
    above = tx.execute("SELECT sample FROM holdout WHERE slice = ? AND priority > ?", (into.id, threshold)).fetchall()
    tx.execute("DELETE FROM holdout WHERE slice = ? AND priority > ?", (into.id, threshold))
    return [sample for (sample,) in above] + cut(tx, into.id, bound)


def settle(tx: Connection, round_number: int, settings: MemorySettings) -> None:
    """Close the pending slices at the acceptance of a round, and merge older ones into power-of-two age buckets."""
    # A closed slice without text would be a column of R on which nothing can be scored.
    _drop_empty(tx)
    tx.execute("UPDATE slices SET state = 'closed' WHERE state = 'pending'")
    facts.put(tx, "last_accepted", round_number)
    _take_early_into_anchor(tx)
    by_source: dict[int, list[SliceRow]] = defaultdict(list)
    for row in list_slices(tx, "closed"):
        by_source[row.source].append(row)
    for rows in by_source.values():
        for older, newer in merges(rows, settings.recent_slices):
            _merge_scores(tx, name(tx, older), name(tx, newer), name(tx, older._replace(last_round=newer.last_round)))
            # Read anew: a merge before this one may have changed either.
            removal.evict(tx, _merge(tx, _read(tx, older.id), _read(tx, newer.id), settings.slice_documents))


def keep_newest(tx: Connection, after: int, bound: int) -> None:
    """Let held-out text stay newest that arrived after the youngest sample which was trained on.

    Where none of its fellows is fresh it closes with the rest: else it measures them once they are trained on.
    """
    last = tx.execute(
        "SELECT max(h.sample) FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state = 'pending'"
    ).fetchone()[0]
    fresh_fellow = tx.execute(
        "SELECT 1 FROM samples WHERE role = ? AND id > ? AND id < ? LIMIT 1", (Role.FRESH, after, last or 0)
    ).fetchone()
    if fresh_fellow is None:
        return
    for row in list_slices(tx, "pending"):
        # A state of its own for the moment: the source may have an open slice already.
        later = create(tx, "later", row.source, facts.get_int(tx, "rounds_begun") + 1)
        # A part of that slice's sample: what was displaced there is missing here too.
        tx.execute("UPDATE slices SET threshold = ? WHERE id = ?", (row.threshold, later.id))
        tx.execute("UPDATE holdout SET slice = ? WHERE slice = ? AND sample > ?", (later.id, row.id, after))
        if (opened := find(tx, "open", row.source)) is not None:
            removal.evict(tx, _merge(tx, opened, _read(tx, later.id), bound))
        else:
            tx.execute("UPDATE slices SET state = 'open' WHERE id = ?", (later.id,))


def _drop_empty(tx: Connection) -> None:
    for row in list_slices(tx, "pending"):
        if not _size(tx, row.id):
            _forget_scores(tx, [name(tx, row)])
            tx.execute("DELETE FROM slices WHERE id = ?", (row.id,))


def _read(tx: Connection, slice_id: int) -> SliceRow:
    return SliceRow(*tx.execute("SELECT * FROM slices WHERE id = ?", (slice_id,)).fetchone())


def merges(rows: Sequence[SliceRow], recent: int) -> list[tuple[SliceRow, SliceRow]]:
    """Which neighbouring slices of one source to merge, in order. Pure.

    The latest `recent` stay apart. Of the older ones, two neighbours merge when a third follows whose span, rounded up
    to a power of two, is no smaller than theirs. Where each round closes a slice, sizes are powers of two in rounds,
    growing with age, at most two of each (Datar et al., Maintaining stream statistics over sliding windows, 2002).
    Where refused rounds make spans uneven, the greater rank of two neighbours falls at least with every second slice,
    so the slices grow in number as the logarithm of the rounds still.
    """
    older = list(rows[: max(len(rows) - recent, 0)])
    steps = []
    place = len(older) - 3
    while place >= 0:
        first, second, third = older[place : place + 3]
        if _rank(third) >= max(_rank(first), _rank(second)):
            steps.append((first, second))
            older[place : place + 2] = [first._replace(last_round=second.last_round)]
            place = min(place, len(older) - 3)
        else:
            place -= 1
    return steps


def _rank(row: SliceRow) -> int:
    return (row.last_round - row.first_round + 1).bit_length()


def name(tx: Connection, row: SliceRow) -> str:
    """The name under which scores on a slice are recorded."""
    if row.state in {"anchor", "early"}:
        return slice_names.ANCHOR
    return slice_names.name_of(source_name(tx, row), row.first_round, row.last_round)


def source_name(tx: Connection, row: SliceRow) -> str:
    """The name of a slice's source; empty for the anchor."""
    name_row = tx.execute("SELECT name FROM sources WHERE id = ?", (row.source,)).fetchone()
    return str(name_row[0]) if name_row else ""


def _merge_scores(tx: Connection, older: str, newer: str, merged: str) -> None:
    """Let R's columns of two slices become one: where both are known, their mean over tokens (or documents)."""
    tx.execute(
        "INSERT OR REPLACE INTO scores(generation, slice, mean_nll, tokens, documents, accuracy, macro_f1) "
        "SELECT a.generation, ?, (a.mean_nll * a.tokens + b.mean_nll * b.tokens) / max(a.tokens + b.tokens, 1), "
        "a.tokens + b.tokens, a.documents + b.documents, "
        "(a.accuracy * a.documents + b.accuracy * b.documents) / max(a.documents + b.documents, 1), "
        "(a.macro_f1 * a.documents + b.macro_f1 * b.documents) / max(a.documents + b.documents, 1) "
        "FROM scores a JOIN scores b ON b.generation = a.generation AND b.slice = ? WHERE a.slice = ?",
        (merged, newer, older),
    )
    _forget_scores(tx, [older, newer])


def _forget_scores(tx: Connection, names: Sequence[str]) -> None:
    """Take out of R the columns of slices that are no more: nothing will be compared with them again."""
    tx.executemany("DELETE FROM scores WHERE slice = ?", [(slice_name,) for slice_name in names])


def members(tx: Connection, sizes: Mapping[int, int]) -> dict[int, list[int]]:
    """For each slice id the samples of its lowest priorities, as many as wanted."""
    return {
        slice_id: [
            row[0]
            for row in tx.execute(
                "SELECT sample FROM holdout WHERE slice = ? ORDER BY priority, sample LIMIT ?", (slice_id, most)
            )
        ]
        for slice_id, most in sizes.items()
    }
