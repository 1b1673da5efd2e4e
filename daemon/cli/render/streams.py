"""How reading gets on, and what lies in Kafka, as a person sees it."""

import time
from collections.abc import Iterator

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.peeked import PeekAnswer, PeekedLine
from daemon.control.answers.streams import ArrivedLately, ReadPartition, StreamsAnswer
from daemon.control.printable import inline, printable
from daemon.control.wording import FORMS, bytes_rate, fate_words, rate
from daemon.span import span


def print_streams(facts: StreamsAnswer, *, now: float | None = None) -> None:
    """Partitions, then how much came and written as what, then what never came."""
    moment = time.time() if now is None else now
    reading = facts["reading"]
    if reading is None:
        console.print("Nothing is read here now: no topics are set, or no daemon runs.")
    elif trouble := reading["trouble"] or reading["reason"]:
        console.print(escape(f"Reading stands still: {inline(trouble)}"), style="yellow")
    for sentence in () if reading is None else reading.get("unread", ()):
        console.print(escape(inline(sentence)), style="yellow")
    if facts["partitions"]:
        _print_partitions(facts["partitions"])
    if facts["since"] is not None:
        for line in _came(facts, moment - facts["since"]):
            console.print(line)
    if facts["topics"]:
        _print_forms(facts)
    if facts["gap_offsets"]:
        console.print(f"Offsets that never came: {facts['gap_offsets']:,}. `riverkeep memory gaps` says which and why.")
    if reasons := facts["dead_letter_reasons"]:
        console.print(f"Dead letters ever, by reason: {_named(reasons)}. `riverkeep memory dead-letters` shows them.")


def _print_partitions(partitions: list[ReadPartition]) -> None:
    rows = table(
        *("partition", "behind", "last minute", "last hour", "next offset", "never came", "state"),
        fixed=("behind", "next offset", "never came"),
    )
    for line in partitions:
        state = f"paused: {line['paused'].replace('_', ' ')}" if line["paused"] else "read"
        rows.add_row(
            escape(f"{inline(line['topic'])}/{line['partition']}"),
            "" if line["lag"] is None else f"{line['lag']:,}",
            _lately(line["minute"]),
            _lately(line["hour"]),
            "" if line["next_offset"] is None else f"{line['next_offset']:,}",
            f"{line['gap_offsets']:,}" if line["gap_offsets"] else "",
            state if line["lag"] is not None or line["paused"] else "not read here now",
        )
    console.print(rows)


def _lately(lately: ArrivedLately | None) -> str:
    if lately is None:
        return ""
    return f"{rate(lately['documents'], lately['seconds'])}, {bytes_rate(lately['bytes'], lately['seconds'])}"


def _came(facts: StreamsAnswer, age: float) -> Iterator[str]:
    came, minute, hour = facts["since_start"], facts["minute"], facts["hour"]
    if came is None or minute is None or hour is None:
        return
    yield (
        f"Since the service began {span(age)} ago: {came['documents']:,} documents, {came['dead_letters']:,} dead "
        f"letters, {came['bytes']:,} bytes."
    )
    for lately in (minute, hour):
        yield f"Within the last {span(lately['seconds'])}: {_lately(lately)}."
    if facts["became"]:
        yield f"What the store made of that: {_named(facts['became'])}."
    if facts["counted_together"]:
        yield f"{facts['counted_together']:,} more partitions are counted in these totals alone."


def _print_forms(facts: StreamsAnswer) -> None:
    rows = table("topic", "written as", "documents", "dead letters", fixed=("documents", "dead letters"))
    for topic in facts["topics"]:
        for form in topic["forms"]:
            words = FORMS.get(form["form"], form["form"])
            counts = f"{form['documents']:,}", f"{form['dead_letters']:,}"
            rows.add_row(escape(inline(topic["topic"])), escape(words), *counts)
    console.print(rows)
    for topic in facts["topics"]:
        if topic["reasons"]:
            console.print(escape(f"Dead letters of {inline(topic['topic'])} since then: {_named(topic['reasons'])}."))
        if topic["packed"].keys() - {"none"}:
            packed = _named(topic["packed"])
            console.print(escape(f"Records of {inline(topic['topic'])} by their producer's compression: {packed}."))


def _named(numbers: dict[str, int]) -> str:
    ordered = sorted(numbers.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{number:,} {fate_words(name)}" for name, number in ordered)


def print_peek(facts: PeekAnswer, *, now: float | None = None) -> None:
    """Each record with what it would become, its key, headers and text; then which offsets there are."""
    moment = time.time() if now is None else now
    if not facts["is_read"]:
        console.print(f"The settings do not read {escape(inline(facts['topic']))}: shown is how JSON would be read.")
    for record in facts["records"]:
        for line in _peeked(record, moment):
            console.print(line)
    if not facts["records"]:
        console.print("No record was found.")
    if facts["note"]:
        console.print(escape(f"There may be more: {inline(facts['note'])}."), style="yellow")
    for each in facts["ranges"]:
        where = f"{inline(facts['topic'])}/{each['partition']}"
        empty = each["first"] >= each["next"]
        held = "is empty" if empty else f"holds offsets {each['first']:,} to {each['next'] - 1:,}"
        console.print(escape(f"{where} {held}."))
    if len(facts["ranges"]) > 1 and (others := facts["partitions"] - len(facts["ranges"])) > 0:
        console.print(f"The topic has {others:,} more partitions: --partition looks into one of them.")


def _peeked(record: PeekedLine, now: float) -> Iterator[Text]:
    where = f"{record['topic']}/{record['partition']} offset {record['offset']}"
    style = {"document": "green", "dead_letter": "yellow"}.get(record["becomes"], "")
    became = record["becomes"].replace("_", " ")
    why = f": {record['reason'].replace('_', ' ')}" if record["reason"] else ""
    yield Text(inline(where), "bold").append(f" {became}{why}", style)
    if record["detail"]:
        yield Text(f"  {inline(record['detail'])}")
    parts = [FORMS.get(record["form"], record["form"]), f"{record['value_bytes']:,} bytes"]
    parts += [] if record["packed"] == "none" else [f"sent in {record['packed']}"]
    parts += [] if record["time"] is None else [f"{span(now - record['time'])} old"]
    parts += [f"{name} {inline(value)}" for name, value in _marks(record)]
    yield Text(f"  {', '.join(parts)}")
    if headers := record.get("headers"):
        yield Text("  headers: " + ", ".join(f"{inline(name or '')}={inline(value or '')}" for name, value in headers))
    if text := record.get("text"):
        yield Text("  " + printable(text).replace("\n", "\n  ") + (" …" if record.get("cut") else ""))


def _marks(record: PeekedLine) -> Iterator[tuple[str, str]]:
    for name in ("source", "label", "key"):
        value = record.get(name)
        if isinstance(value, str):
            yield name, value
