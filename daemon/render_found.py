"""What was found of a person, and what never came, as a person sees it."""

import time
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from daemon.control import Facts
from daemon.render import console, print_seen_by, print_similar
from daemon.screen import table
from daemon.span import span as ago


def print_found(facts: Facts, *, now: float | None = None) -> None:
    """What is kept of a person, where it came from, and what had seen it."""
    moment = time.time() if now is None else now
    roles = ", ".join(f"{number:,} {role}" for role, number in facts["by_role"].items())
    console.print(f"Kept: {roles or 'no sample'}; {facts['dead_letters']:,} dead letters.")
    if "key_hash" in facts:
        console.print(f"The key's hash: {facts['key_hash']}.")
    if facts["erased_at"] is not None:
        console.print(f"Erased {ago(moment - facts['erased_at'])} ago: nothing of this key is stored any more.")
    if facts["kept"]:
        console.print(_samples(facts["kept"], moment))
    if facts["next"] is not None:
        console.print(f"More of them: --after {facts['next']}")
    rounds = ", ".join(f"{one['round']} ({_parts(one['parts'])})" for one in facts["rounds"])
    console.print(f"Given to rounds: {rounds or 'none'}.")
    print_seen_by(facts)
    print_similar(facts)


def _parts(parts: Facts) -> str:
    return ", ".join(f"{number:,} {part.replace('_', ' ')}" for part, number in parts.items())


def _samples(kept: Sequence[Facts], now: float) -> Table:
    with_text = any("text" in one for one in kept)
    names = ("id", "role", "source", "from", "offset", "arrived", *(("text",) if with_text else ()))
    rows = table(*names, fixed=("id", "role", "offset"))
    for one in kept:
        row = [
            str(one["id"]),
            one["role"],
            escape(one["source"]),
            escape(f"{one['topic']}/{one['partition']}"),
            str(one["offset"]),
            f"{ago(now - one['arrived_at'])} ago",
        ]
        rows.add_row(*row, *([escape(one["text"])] if with_text else []))
    return rows


def print_gaps(gaps: Sequence[Facts], *, now: float | None = None) -> None:
    """Offsets that never came, newest first."""
    moment = time.time() if now is None else now
    rows = table("id", "from", "first", "last", "offsets", "why", "noted", fixed=("id", "first", "last", "offsets"))
    for one in gaps:
        rows.add_row(
            str(one["id"]),
            escape(f"{one['topic']}/{one['partition']}"),
            str(one["first"]),
            str(one["last"]),
            f"{one['last'] - one['first'] + 1:,}",
            one["reason"].replace("_", " "),
            f"{ago(moment - one['recorded_at'])} ago",
        )
    console.print(rows if gaps else "Every offset came.")
