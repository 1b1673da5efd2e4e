"""What is kept, as a person sees it: by role and source, set aside, dead; and the text of what is to be decided on."""

import time
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.kept import AsideLine, AsideTextAnswer, DeadLetterLine, GapLine, MemoryAnswer
from daemon.control.answers.next_draw import NextDraw
from daemon.control.printable import inline, printable
from daemon.control.wording import not_kept, part_words, shown_text
from daemon.span import span as ago

SHOWN_CHARACTERS = 2_000
"""Of a document on a terminal, where there are others to see."""
SOURCES_SHOWN = 10
REPEATS = 0.5
"""The share of a document that repeats from which on it is marked."""


def print_memory(facts: MemoryAnswer) -> None:
    """What is kept, what is aside, what is dead."""
    rows = table("role", "source", "label", "samples", "tokens", fixed=("role", "samples", "tokens"))
    for line in sorted(facts["kept"], key=lambda line: (line["role"], line["source"], line["label"] or "")):
        rows.add_row(
            line["role"],
            escape(line["source"]),
            escape(line["label"] or ""),
            f"{line['samples']:,}",
            f"≈{line['tokens']:,}",
        )
    console.print(rows if facts["kept"] else "Nothing is kept yet.")
    if shares := facts["holdout_shares"]:
        console.print(f"Held out of new text: {_shares(shares)}.")
    if left_out := not_kept(facts["tallies"]):
        console.print(f"Documents that are not kept, or no longer, since the beginning: {left_out}.")
    if offsets := facts["tallies"].get("gap_offsets"):
        console.print(f"Offsets that never came: {offsets:,}. `riverkeep memory gaps` says which and why.")
    if facts["aside"]:
        print_aside(facts["aside"])
    quarantine, reasons = facts["quarantine"], facts["dead_letter_reasons"]
    console.print(f"Quarantine: {quarantine['dead_letters']:,} dead letters, {quarantine['bytes']:,} bytes")
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: -item[1])
        counts = ", ".join(f"{number:,} {reason}" for reason, number in ordered)
        console.print(f"Dead letters so far, also those that made room, and tombstones, which hold nothing: {counts}")


def _shares(shares: Mapping[str, float]) -> str:
    """Each share with its sources; the first few of many."""
    shown = [f"{share:.1%} of {escape(inline(source))}" for source, share in shares.items()]
    more = f", {len(shown) - SOURCES_SHOWN} more" if len(shown) > SOURCES_SHOWN else ""
    return ", ".join(shown[:SOURCES_SHOWN]) + more


def print_aside(groups: Sequence[AsideLine], *, now: float | None = None) -> None:
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


def print_aside_text(facts: AsideTextAnswer, *, now: float | None = None) -> None:
    """The documents that a round set aside, each whole but on a terminal."""
    moment = time.time() if now is None else now
    for document in facts["documents"]:
        head = [f"{document['id']}", f"{inline(document['topic'])}/{document['partition']} at {document['offset']}"]
        head += [f"source {inline(document['source'])}"] + (
            [f"label {inline(document['label'])}"] if document["label"] else []
        )
        head += [f"key {document['key_hash']}"] if document["key_hash"] else []
        head += ["held out"] if document["held_out"] else []
        head += [] if document["loss"] is None else [f"loss {document['loss']:.2f}"]
        head += [f"repeats {document['repetition']:.0%}"] if (document["repetition"] or 0.0) >= REPEATS else []
        console.print(Text(f"{'  '.join(head)}  {ago(moment - document['arrived_at'])} ago", "bold"))
        if "text" in document or "messages" in document:
            print_passage(shown_text(document), whole=False)
        else:
            console.print(f"{document['characters']:,} characters", style="dim")
    if facts["next"] is not None:
        console.print(f"More of them: --after {facts['next']}")


def print_dead_letters(letters: Sequence[DeadLetterLine], *, total: int, now: float | None = None) -> None:
    """The quarantine, newest first, of `total` that there are; with what was kept of the records where it is there."""
    moment = time.time() if now is None else now
    if not letters:
        console.print("No dead letters." if not total else f"No older ones: {total:,} dead letters in all.")
        return
    if "value" in letters[0]:
        for letter in letters:
            print_dead_letter(letter, whole=False, now=moment)
    else:
        console.print(_letters(letters, moment))
    console.print(f"{len(letters):,} of {total:,} dead letters, newest first.", end="")
    console.print(f" Older ones: --before {letters[-1]['id']}." if len(letters) < total else "")
    if "value" not in letters[0]:
        console.print("`riverkeep memory dead-letters --show ID` shows what was kept of a record.")


def _letters(letters: Sequence[DeadLetterLine], now: float) -> object:
    rows = table(
        *("id", "from", "offset", "reason", "detail", "bytes", "arrived"), fixed=("id", "offset", "reason", "bytes")
    )
    for letter in letters:
        rows.add_row(
            str(letter["id"]),
            escape(f"{letter['topic']}/{letter['partition']}"),
            str(letter["offset"]),
            letter["reason"],
            escape(letter["detail"]),
            f"{letter['value_bytes']:,}",
            f"{ago(now - letter['arrived_at'])} ago",
        )
    return rows


def print_dead_letter(letter: DeadLetterLine, *, whole: bool = True, now: float | None = None) -> None:
    """One record that could not be understood: why, its key and what was kept of it."""
    moment = time.time() if now is None else now
    where = f"{inline(letter['topic'])}/{letter['partition']} at {letter['offset']}"
    key = letter["key"]
    of_key = "no key" if key is None else f"key {inline(key)}"
    head = f"{letter['id']}  {where}  {letter['reason']}  {of_key}  {ago(moment - letter['arrived_at'])} ago"
    # As `Text`: in a string rich takes brackets for its markup, and topics and keys may have some.
    console.print(Text(head, "bold"))
    if letter["detail"]:
        console.print(Text(letter["detail"]))
    for name, value in letter.get("headers", ()):
        visible = "null" if value is None else inline(value)
        console.print(Text(f"header {inline(name or '')}: {visible}", "dim", no_wrap=True, overflow="ellipsis"))
    if dropped := letter.get("headers_dropped", 0):
        console.print(f"{dropped:,} more headers were not kept (`streams.dead_letter_bytes`).")
    print_passage(letter["value"], whole=whole)
    if letter["cut"]:
        console.print(f"Of {letter['value_bytes']:,} bytes the first were kept (`streams.dead_letter_bytes`).")


def print_passage(text: str, *, whole: bool) -> None:
    """Text from outside, set in, so that no line of it can pass for one of ours."""
    # In a pipe somebody wants it all, on a terminal one long document would push the others out of sight.
    passage = text if whole or not console.is_terminal else text[:SHOWN_CHARACTERS]
    lines = printable(passage).split("\n")
    console.print(Text("\n".join(f"    {line}" for line in lines)), soft_wrap=True)
    if len(passage) < len(text):
        console.print(f"    … {len(text) - len(passage):,} characters more; --json shows all of it", style="dim")


def print_next_draw(facts: NextDraw) -> None:
    """What a round would be given now."""
    console.print(f"Round {facts['round']}, were it drawn now, would start from generation {facts['parent']}.")
    if facts["judges_again"]:
        console.print(Text(f"By itself it would train nothing: {inline(facts['judges_again'])}."))
    rows = table("part", "source", "samples", "tokens", fixed=("part", "samples", "tokens"))
    for line in facts["parts"]:
        amounts = f"{line['samples']:,}", f"≈{line['tokens']:,}"
        rows.add_row(part_words(line["part"]), escape(line["source"]), *amounts)
    for piece in facts["slices"]:
        rows.add_row(part_words(piece["kind"]), escape(piece["source"]), f"{piece['documents']:,}", "")
    console.print(rows if facts["parts"] else "Nothing is fresh: a round would have nothing to learn.")
    for part in facts["left_out"]:
        console.print(f"{part['documents']:,} documents are left out ({part['what']}): `{part['setting']}`.")


def print_gaps(gaps: Sequence[GapLine], *, now: float | None = None) -> None:
    """Offsets that never came, newest first."""
    moment = time.time() if now is None else now
    rows = table("id", "from", "first", "last", "offsets", "why", "noted", fixed=("id", "first", "last", "offsets"))
    for gap in gaps:
        rows.add_row(
            str(gap["id"]),
            escape(f"{gap['topic']}/{gap['partition']}"),
            str(gap["first"]),
            str(gap["last"]),
            f"{gap['last'] - gap['first'] + 1:,}",
            gap["reason"].replace("_", " "),
            f"{ago(moment - gap['recorded_at'])} ago",
        )
    console.print(rows if gaps else "Every offset came.")
