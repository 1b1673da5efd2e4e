"""What is kept, as a person sees it: by role and source, set aside, dead; and the text of what is to be decided on."""

import time
from collections.abc import Sequence

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.printable import inline, printable
from daemon.cli.render.screen import console, table
from daemon.cli.render.wording import not_kept
from daemon.control.protocol import Facts
from daemon.span import span as ago

SHOWN_CHARACTERS = 2_000
"""Of a document on a terminal, where there are others to see."""
REPEATS = 0.5
"""The share of a document that repeats from which on it is marked."""


def print_memory(facts: Facts) -> None:
    """What is kept, what is aside, what is dead."""
    kept = table("role", "source", "label", "samples", "tokens", fixed=("role", "samples", "tokens"))
    for one in sorted(facts["kept"], key=lambda one: (one["role"], one["source"], one["label"] or "")):
        kept.add_row(
            one["role"], escape(one["source"]), escape(one["label"] or ""), f"{one['samples']:,}", f"≈{one['tokens']:,}"
        )
    console.print(kept if facts["kept"] else "Nothing is kept yet.")
    if told := not_kept(facts["tallies"]):
        console.print(f"Documents that are not kept, or no longer, since the beginning: {told}.")
    if offsets := facts["tallies"].get("gap_offsets"):
        console.print(f"Offsets that never came: {offsets:,}. `riverkeep memory gaps` says which and why.")
    if facts["aside"]:
        print_aside(facts["aside"])
    quarantine, reasons = facts["quarantine"], facts["dead_letter_reasons"]
    console.print(f"Quarantine: {quarantine['dead_letters']:,} dead letters, {quarantine['bytes']:,} bytes")
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: -item[1])
        told = ", ".join(f"{number:,} {reason}" for reason, number in ordered)
        console.print(f"Dead letters so far, also those that made room, and tombstones, which hold nothing: {told}")


def print_aside(groups: Sequence[Facts], *, now: float | None = None) -> None:
    """What each round set aside, and how to read it and decide."""
    moment = time.time() if now is None else now
    rows = table(
        *("round", "since", "samples", "tokens", "held out", "sources", "why"),
        fixed=("round", "samples", "tokens", "held out"),
    )
    for group in groups:
        rows.add_row(
            str(group["round"]),
            f"{ago(moment - group['since'])} ago",
            f"{group['samples']:,}",
            f"{group['tokens']:,}",
            f"{group['held_out']:,}",
            escape(", ".join(group["sources"])),
            escape(group["reason"]),
        )
    console.print(rows if groups else "Nothing is set aside.")
    if groups:
        console.print("`riverkeep memory aside ROUND --text` shows the text, with --worst what fits least first.")
        console.print("`riverkeep memory release ROUND` lets it back, `riverkeep memory drop ROUND` erases it.")
        console.print("`riverkeep memory drop ROUND --ids ID,…` erases a part; the rest stays aside.")


def print_aside_text(facts: Facts, *, now: float | None = None) -> None:
    """The documents that a round set aside, each whole but on a terminal."""
    moment = time.time() if now is None else now
    for one in facts["documents"]:
        head = [f"{one['id']}", f"{inline(one['topic'])}/{one['partition']} at {one['offset']}"]
        head += [f"source {inline(one['source'])}"] + ([f"label {inline(one['label'])}"] if one["label"] else [])
        head += [f"key {one['key_hash']}"] if one["key_hash"] else []
        head += ["held out"] if one["held_out"] else []
        head += [] if one["loss"] is None else [f"loss {one['loss']:.2f}"]
        head += [f"repeats {one['repetition']:.0%}"] if (one["repetition"] or 0.0) >= REPEATS else []
        console.print(Text(f"{'  '.join(head)}  {ago(moment - one['arrived_at'])} ago", "bold"))
        _print_passage(one["text"], whole=False)
    if facts["next"] is not None:
        console.print(f"More of them: --after {facts['next']}")


def print_dead_letters(letters: Sequence[Facts], *, total: int, now: float | None = None) -> None:
    """The quarantine, newest first, of `total` that there are; with what was kept of the records where it is there."""
    moment = time.time() if now is None else now
    if not letters:
        console.print("No dead letters." if not total else f"No older ones: {total:,} dead letters in all.")
        return
    if "value" in letters[0]:
        for one in letters:
            print_dead_letter(one, whole=False, now=moment)
    else:
        console.print(_letters(letters, moment))
    console.print(f"{len(letters):,} of {total:,} dead letters, newest first.", end="")
    console.print(f" Older ones: --before {letters[-1]['id']}." if len(letters) < total else "")
    if "value" not in letters[0]:
        console.print("`riverkeep memory dead-letters --show ID` shows what was kept of a record.")


def _letters(letters: Sequence[Facts], now: float) -> object:
    rows = table(
        *("id", "from", "offset", "reason", "detail", "bytes", "arrived"), fixed=("id", "offset", "reason", "bytes")
    )
    for one in letters:
        rows.add_row(
            str(one["id"]),
            escape(f"{one['topic']}/{one['partition']}"),
            str(one["offset"]),
            one["reason"],
            escape(one["detail"]),
            f"{one['value_bytes']:,}",
            f"{ago(now - one['arrived_at'])} ago",
        )
    return rows


def print_dead_letter(one: Facts, *, whole: bool = True, now: float | None = None) -> None:
    """One record that could not be understood: why, its key and what was kept of it."""
    moment = time.time() if now is None else now
    where = f"{inline(one['topic'])}/{one['partition']} at {one['offset']}"
    key = "no key" if one["key"] is None else f"key {inline(one['key'])}"
    head = f"{one['id']}  {where}  {one['reason']}  {key}  {ago(moment - one['arrived_at'])} ago"
    console.print(Text(head, "bold"))
    if one["detail"]:
        console.print(Text(one["detail"]))
    for name, value in one.get("headers", ()):
        shown = "null" if value is None else inline(value)
        console.print(Text(f"header {inline(name)}: {shown}", "dim", no_wrap=True, overflow="ellipsis"))
    if dropped := one.get("headers_dropped", 0):
        console.print(f"{dropped:,} more headers were not kept (`streams.dead_letter_bytes`).")
    _print_passage(one["value"], whole=whole)
    if one["cut"]:
        console.print(f"Of {one['value_bytes']:,} bytes the first were kept (`streams.dead_letter_bytes`).")


def _print_passage(text: str, *, whole: bool) -> None:
    """Text from outside, set in, so that no line of it can pass for one of ours."""
    shown = text if whole or not console.is_terminal else text[:SHOWN_CHARACTERS]
    lines = printable(shown).split("\n")
    console.print(Text("\n".join(f"    {line}" for line in lines)), soft_wrap=True)
    if len(shown) < len(text):
        console.print(f"    … {len(text) - len(shown):,} characters more; --json shows all of it", style="dim")


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
