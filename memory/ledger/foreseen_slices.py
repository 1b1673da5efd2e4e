"""What a round would be judged on if it began now: the same rules by which it is drawn, and nothing changed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from memory.database import sqlite
from memory.database.sqlite import Connection
from memory.identity.categories import all_categories
from memory.identity.shared_keys import first_of_key, within
from memory.ledger.draw import KINDS, SliceSize, shares
from memory.ledger.records import OutlinedSample, SliceOutline
from memory.samples import slices
from memory.samples.slices import ANCHOR_SOURCE
from memory.settings import MemorySettings


class _Part(NamedTuple):
    """Held-out text that will be drawn as one slice."""

    state: str
    source: int
    held: list[tuple[int, int]]
    """Priority and sample of each document, lowest priority first."""


def foreseen(tx: Connection, settings: MemorySettings) -> tuple[SliceOutline, ...]:
    """See `Store.rounds.foreseen_slices`."""
    # As the draw lists them, by source and age: what does not divide evenly goes to the first.
    parts = sorted(_after_seal(tx, settings), key=lambda part: (part.source, part.state == "pending"))
    allowed = shares(settings, {at: SliceSize(KINDS[part.state], len(part.held)) for at, part in enumerate(parts)})
    drawn = [part._replace(held=part.held[: allowed[at]]) for at, part in enumerate(parts)]
    rows = _labels_and_keys(tx, [sample for part in drawn for _, sample in part.held])
    keys = first_of_key(((sample, key) for sample, _, key in rows), all_categories(tx, settings.key_quota))
    labels = {sample: label for sample, label, _ in rows}
    names = dict(tx.execute("SELECT id, name FROM sources"))
    return tuple(
        SliceOutline(
            name=f"{part.state} {part.source} {at}",
            kind=KINDS[part.state],
            source=names.get(part.source, ""),
            samples=tuple(OutlinedSample(sample, labels[sample]) for _, sample in part.held if sample in labels),
            keys=within(keys, (sample for _, sample in part.held)),
        )
        for at, part in enumerate(drawn)
        if part.held
    )


def _after_seal(tx: Connection, settings: MemorySettings) -> Iterator[_Part]:
    """The slices as `slices.seal` will leave them."""
    held: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, priority, sample in tx.execute("SELECT slice, priority, sample FROM holdout ORDER BY priority, sample"):
        held[row].append((priority, sample))
    anchor, early = (slices.find(tx, state, ANCHOR_SOURCE) for state in ("anchor", "early"))
    in_anchor = held[anchor.id] if anchor else []
    in_early = held[early.id] if early else []
    newest = _newest(tx, held, settings.slice_documents)
    # The same condition and the same choice as when the slices are sealed: see `slices`.
    if slices.keys_in(tx, [sample for _, sample in in_anchor], settings) < settings.anchor_minimum:
        room = settings.anchor_documents - len(in_anchor) - len(in_early)
        offered = set(slices.first_text((document for of_source in newest.values() for document in of_source), room))
        in_early = sorted(
            [*in_early, *(document for rows in newest.values() for document in rows if document[1] in offered)]
        )
        newest = {
            source: [document for document in rows if document[1] not in offered] for source, rows in newest.items()
        }
    yield _Part("anchor", ANCHOR_SOURCE, in_anchor)
    yield _Part("early", ANCHOR_SOURCE, in_early)
    yield from (_Part("pending", source, rows) for source, rows in newest.items())
    yield from (_Part("closed", row.source, held[row.id]) for row in slices.list_slices(tx, "closed"))


def _newest(
    tx: Connection, held: Mapping[int, Sequence[tuple[int, int]]], bound: int
) -> dict[int, list[tuple[int, int]]]:
    """By source what open and pending slices have once they are one."""
    together: dict[int, list[slices.SliceRow]] = defaultdict(list)
    for row in slices.list_slices(tx, "open", "pending"):
        together[row.source].append(row)
    newest = {}
    for source, rows in together.items():
        # Of two that become one only what lies below both thresholds was offered to each in full.
        threshold = min(row.threshold for row in rows)
        documents = sorted(document for row in rows for document in held.get(row.id, ()) if document[0] <= threshold)
        newest[source] = documents[:bound]
    return newest


def _labels_and_keys(tx: Connection, ids: Sequence[int]) -> list[tuple[int, str | None, int | None]]:
    """Each of these samples with its label and its key's hash."""
    rows: list[tuple[int, str | None, int | None]] = tx.execute(
        "SELECT s.id, l.name, s.key_hash FROM samples s LEFT JOIN labels l ON l.id = s.label "
        "WHERE s.id IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(ids),),
    ).fetchall()
    return rows
