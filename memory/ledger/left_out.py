"""What a round was not given for a setting's sake, so that no budget binds in silence."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pydantic import TypeAdapter

from memory.database.sqlite import Connection, as_json
from memory.ledger.draw import KINDS, FreshDraw
from memory.ledger.records import DrawSpec, LeftOut, Slice
from memory.samples.records import Role
from memory.settings import MemorySettings

_KEPT: Final = TypeAdapter(tuple[LeftOut, ...])


def write(parts: Sequence[LeftOut]) -> str:
    """As the ledger keeps it, JSON."""
    return _KEPT.dump_json(tuple(parts)).decode()


def read(text: str) -> tuple[LeftOut, ...]:
    """What `write` wrote."""
    return _KEPT.validate_json(text)


def find_left_out(
    tx: Connection,
    settings: MemorySettings,
    spec: DrawSpec,
    *,
    among: Collection[int] | None,
    fresh: FreshDraw,
    judged_on: Sequence[Slice],
) -> tuple[LeftOut, ...]:
    """What a draw leaves out for a setting's sake.

    Args:
        settings: of the memory.
        spec: of the draw.
        among: ids of the fresh samples that it draws from; None for all.
        fresh: what it draws of them.
        judged_on: slices as they are drawn.
    """
    left = _waiting(tx, among) - len(fresh.all())
    parts = left_of_fresh(settings, spec, left=left, over_quota=len(fresh.over_quota))
    of_slices = (part for part in left_of_slices(tx, settings, judged_on) if part.documents > 0)
    return (*parts, *of_slices)


def left_of_fresh(settings: MemorySettings, spec: DrawSpec, *, left: int, over_quota: int) -> tuple[LeftOut, ...]:
    """New text that a draw leaves out: so many samples that wait on, and so many that are not trained on."""
    by_recipe = spec.fresh_tokens is not None and spec.fresh_tokens < settings.round_tokens
    parts = (
        LeftOut("fresh", left, spec.fresh_setting if by_recipe else "memory.round_tokens"),
        LeftOut("over_quota", over_quota, "memory.key_quota"),
    )
    return tuple(part for part in parts if part.documents > 0)


def _waiting(tx: Connection, among: Collection[int] | None) -> int:
    """Fresh samples, of all or of these."""
    condition, values = ("", []) if among is None else ("AND id IN (SELECT value FROM json_each(?))", [as_json(among)])
    rows = tx.execute(f"SELECT count(*) FROM samples WHERE role = {Role.FRESH.value} {condition}", values)
    return int(rows.fetchone()[0])


def left_of_slices(tx: Connection, settings: MemorySettings, judged_on: Sequence[Slice]) -> Iterator[LeftOut]:
    """Held-out text that slices leave out; there may be none of it."""
    held: dict[bool, int] = defaultdict(int)
    rows = tx.execute("SELECT s.state, count(*) FROM holdout h JOIN slices s ON s.id = h.slice GROUP BY s.state")
    for state, documents in rows:
        if state in KINDS:
            held[KINDS[state] == "anchor"] += documents
    drawn: dict[bool, int] = defaultdict(int)
    for part in judged_on:
        drawn[part.kind == "anchor"] += len(part.samples)
    if sum(drawn.values()) >= settings.evaluation_documents:
        yield LeftOut("holdout", sum(held.values()) - sum(drawn.values()), "memory.evaluation_documents")
        return
    yield LeftOut("holdout", held[True] - drawn[True], "memory.anchor_documents")
    yield LeftOut("holdout", held[False] - drawn[False], "memory.slice_documents")
