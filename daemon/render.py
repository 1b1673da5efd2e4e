"""Facts as a person sees them: tables on a terminal, plain text in a pipe."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.control import Facts
from daemon.doctor_findings import Finding
from daemon.heat import heat_table
from daemon.supervisor import State

STATE_STYLES = {
    "accepted": "green",
    "refused": "red",
    "failed": "red",
    "waiting": "yellow",
    "abandoned": "yellow",
    "rolled_back": "yellow",
    "retired": "dim",
    "reserved": "dim",
}
LONGEST_SENTENCE = 200
LONGEST_NAME = 28

console = Console()


def print_status(facts: Facts, *, now: float | None = None) -> None:
    """What `riverkeep status` shows."""
    moment = time.time() if now is None else now
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in _status_rows(facts, moment):
        grid.add_row(name, value)
    console.print(grid)


def _status_rows(facts: Facts, now: float) -> Iterable[tuple[str, str | Text]]:
    yield "Riverkeep", _running(facts, now)
    if facts.get("memory") is None:
        yield "", "nothing is kept yet; `riverkeep run` begins"
        return
    yield "serving", _serving(facts["serving"])
    if facts.get("round"):
        yield "round", _round_progress(facts["round"], now)
    if facts.get("last_round"):
        yield "last round", _last_round(facts["last_round"], now)
    if facts.get("waiting"):
        numbers = ", ".join(map(str, facts["waiting"]))
        yield "waiting", Text(f"round {numbers}: `riverkeep round --approve N` or `--reject N`", "yellow")
    if facts.get("next_round"):
        yield "next round", facts["next_round"]
    if facts.get("need_restart"):
        yield "settings", Text(not_in_force(facts["need_restart"]), "yellow")
    yield "memory", _memory_line(facts["memory"])
    if facts.get("ingest"):
        yield "reading", _ingest(facts["ingest"])
    if facts.get("parts"):
        yield "parts", _parts(facts["parts"])


def not_in_force(sections: Sequence[str]) -> str:
    """That sections of the settings wait for a restart."""
    named = ", ".join(f"[{name}]" for name in sections)
    return f"{named} changed on disk, not in force until a restart"


def _running(facts: Facts, now: float) -> Text:
    where = facts["state_dir"]
    if not facts["running"]:
        return Text(f"no daemon runs on {where}", "yellow")
    since = ago(now - facts["started_at"]) if facts.get("started_at") else "?"
    return Text(f"{facts['version']}, running for {since} (process {facts['pid']}) on {where}", "green")


def _serving(serving: Facts) -> str | Text:
    if serving["generation"] is None:
        return "no generation yet"
    line = f"generation {serving['generation']}"
    if serving.get("address"):
        line += f" at {serving['address']}"
    if serving.get("answering") not in (None, serving["generation"]):
        return Text(f"{line}; still answering from {serving['answering']}", "yellow")
    if serving.get("ok") is False:
        return Text(f"{line}; the serving process does not answer", "red")
    return line


def _round_progress(current: Facts, now: float) -> str:
    steps = f", step {current['step']} of {current['steps']}" if current.get("steps") else ""
    return f"{current['number']}: {current['phase']}{steps}, for {ago(now - current['begun_at'])}"


def _last_round(last: Facts, now: float) -> Text:
    when = f" {ago(now - last['ended_at'])} ago" if last.get("ended_at") else ""
    text = Text(f"{last['number']} ")
    text.append(last["state"], STATE_STYLES.get(last["state"], ""))
    return text.append(f"{when}. {_cut(last['detail'])}")


def _memory_line(memory: Facts) -> str:
    names = ("fresh", "replay", "holdout", "aside")
    parts = [f"{memory[f'{name}_samples']:,} {name}" for name in names]
    return ", ".join(parts) + f"; {memory['dead_letters']:,} dead letters"


def _ingest(ingest: Facts) -> str | Text:
    line = "" if ingest.get("lag_records") is None else f"{ingest['lag_records']:,} records behind"
    if ingest.get("reason"):
        return Text(f"{line}; paused: {ingest['reason']}", "yellow")
    if ingest.get("paused"):
        paused = "; ".join(f"{partition} paused: {why}" for partition, why in ingest["paused"].items())
        return Text(f"{line}; {paused}", "yellow")
    return line


def _parts(parts: Mapping[str, Facts]) -> Text:
    text = Text()
    for name, part in parts.items():
        text.append("✓ " if part["ok"] else "✗ ", "green" if part["ok"] else "red")
        detail = part.get("detail", "")
        text.append(f"{name}  " if part["ok"] and detail == State.RUNNING else f"{name} ({detail})  ")
    return text


def print_rounds(rounds: Sequence[Facts], *, now: float | None = None) -> None:
    """Rounds in a table, newest first, and below it why each ended as it did."""
    moment = time.time() if now is None else now
    table = Table(
        "round", "state", "began", "took", "trigger", "fresh", "replayed", "generation", box=box.SIMPLE, pad_edge=False
    )
    for one in rounds:
        table.add_row(
            str(one["number"]),
            _state(one["state"]),
            f"{ago(moment - one['begun_at'])} ago",
            "" if one["ended_at"] is None else ago(one["ended_at"] - one["begun_at"]),
            one["trigger"],
            f"{one['fresh_samples']:,}",
            f"{one['replay_samples']:,}",
            "" if one["generation"] is None else str(one["generation"]),
        )
    console.print(table if rounds else "No rounds yet.")
    for one in rounds:
        if one["detail"]:
            console.print(Text(f"{one['number']}: {_cut(one['detail'])}"))


def print_round(facts: Facts) -> None:
    """One round: what went in, what the gate said of it and of what."""
    head = Text(f"Round {facts['number']}: ")
    console.print(head.append(facts["state"], STATE_STYLES.get(facts["state"], "")))
    console.print(escape(facts["detail"] or "It has not ended."))
    console.print(
        f"Parent {facts['parent']}, {facts['fresh_samples']:,} fresh samples ({facts['fresh_tokens']:,} tokens), "
        f"{facts['replay_samples']:,} replayed ({facts['replay_tokens']:,} tokens); begun by {facts['trigger']}."
    )
    checks = facts["verdict"].get("checks", [])
    if checks:
        table = Table("check", "slice", "figure", "bound", "confidence", "documents", "", box=box.SIMPLE)
        for check in checks:
            table.add_row(
                check["name"],
                escape(check["slice"]),
                _number(check["figure"]),
                _number(check["bound"]),
                f"{_number(check['lower'])} … {_number(check['upper'])}",
                str(check["documents"]),
                Text("✓", "green") if check["passed"] else Text("✗", "red"),
            )
        console.print(table)
        # Verdicts of earlier versions do not name what they measured in.
        units = dict.fromkeys(check["unit"] for check in checks if check.get("unit", "").startswith("nats"))
        if units:
            console.print(f"Losses are in {' and '.join(units)}; above its bound a check fails.")


def print_generations(facts: Facts, *, now: float | None = None) -> None:
    """The generations and R."""
    moment = time.time() if now is None else now
    table = Table("generation", "state", "parent", "round", "made", "digest", box=box.SIMPLE)
    for one in facts["generations"]:
        serves = one["number"] == facts["serving"]
        table.add_row(
            f"{one['number']} ← serves" if serves else str(one["number"]),
            _state(one["state"]),
            "base" if one["parent"] is None else str(one["parent"]),
            "" if one["round"] is None else str(one["round"]),
            f"{ago(moment - one['created_at'])} ago",
            one["digest"][:12],
        )
    console.print(table if facts["generations"] else "No generations yet.")
    answers = [row for row in facts["scores"] if row.get("accuracy") is not None]
    if facts["scores"]:
        console.print(heat_table(facts, width=console.width))
        unit = "document" if answers else "token"
        console.print(f"Nats per {unit} on held-out text. ↑ worse than the best before it (forgotten), ↓ better.")
    if served := [row for row in answers if row["generation"] == facts["serving"]]:
        console.print(_answers(served))


def _answers(scores: Sequence[Facts]) -> Table:
    """How a classifier's serving generation answers on each slice."""
    table = Table("slice", "documents", "accuracy", "macro-F1", box=box.SIMPLE)
    for row in scores:
        table.add_row(
            escape(_tail(row["slice"])),
            f"{row['documents']:,}",
            _number(row["accuracy"]),
            _number(row["macro_f1"]),
        )
    return table


def print_memory(facts: Facts) -> None:
    """What is kept, what is aside, what is dead."""
    table = Table("role", "source", "label", "samples", "tokens", box=box.SIMPLE)
    for one in sorted(facts["kept"], key=lambda one: (one["role"], one["source"], one["label"] or "")):
        table.add_row(
            one["role"], escape(one["source"]), escape(one["label"] or ""), f"{one['samples']:,}", f"{one['tokens']:,}"
        )
    console.print(table if facts["kept"] else "Nothing is kept yet.")
    tallies = {name.replace("_", " "): number for name, number in facts["tallies"].items() if number}
    if tallies:
        console.print("Since the beginning: " + ", ".join(f"{number:,} {name}" for name, number in tallies.items()))
    if facts["aside"]:
        print_aside(facts["aside"])
    quarantine, reasons = facts["quarantine"], facts["dead_letter_reasons"]
    console.print(f"Quarantine: {quarantine['dead_letters']:,} dead letters, {quarantine['bytes']:,} bytes")
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: -item[1])
        console.print("Dead letters so far: " + ", ".join(f"{number:,} {reason}" for reason, number in ordered))


def print_aside(groups: Sequence[Facts], *, now: float | None = None) -> None:
    """What each round set aside."""
    moment = time.time() if now is None else now
    table = Table("round", "since", "samples", "tokens", "held out", "sources", "why", box=box.SIMPLE)
    for group in groups:
        table.add_row(
            str(group["round"]),
            f"{ago(moment - group['since'])} ago",
            f"{group['samples']:,}",
            f"{group['tokens']:,}",
            f"{group['held_out']:,}",
            escape(", ".join(group["sources"])),
            escape(_cut(group["reason"])),
        )
    console.print(table if groups else "Nothing is set aside.")
    if groups:
        console.print("`riverkeep memory release ROUND` lets it back, `riverkeep memory drop ROUND` erases it.")


def print_dead_letters(letters: Sequence[Facts], *, now: float | None = None) -> None:
    """The quarantine, oldest first."""
    moment = time.time() if now is None else now
    table = Table("id", "from", "offset", "reason", "detail", "bytes", "arrived", box=box.SIMPLE)
    for one in letters:
        table.add_row(
            str(one["id"]),
            escape(_tail(f"{one['topic']}/{one['partition']}")),
            str(one["offset"]),
            one["reason"],
            escape(_cut(one["detail"])),
            f"{one['value_bytes']:,}",
            f"{ago(moment - one['arrived_at'])} ago",
        )
    console.print(table if letters else "No dead letters.")


def print_forgotten(facts: Facts) -> None:
    """What an erasure erased, and what had seen it."""
    console.print(f"Erased: {facts['samples']:,} samples and {facts['dead_letters']:,} dead letters.")
    if facts["directories"]:
        console.print(f"Round directories erased: {', '.join(facts['directories'])}")
    print_seen_by(facts)


def print_seen_by(facts: Facts) -> None:
    """Which generations were trained on a person's text, and which was not."""
    if facts["lineage_from"] > 1:
        console.print(
            f"What rounds before {facts['lineage_from']} were given is not known any more (`memory.lineage_rounds`): "
            "their generations, and what came of those, may have been trained on it too.",
            style="yellow",
        )
    if not facts["generations"]:
        console.print(f"{'No' if facts['lineage_from'] == 1 else 'No other'} generation was trained on it.")
        return
    console.print(f"Trained on it: generations {', '.join(map(str, facts['generations']))}.", style="yellow")
    if facts["descendants"]:
        console.print(f"Made from those: generations {', '.join(map(str, facts['descendants']))}.", style="yellow")
    if facts["clean_generation"] is not None:
        clean = facts["clean_generation"]
        console.print(f"Generation {clean} never saw it: `riverkeep rollback {clean}` begins again from there.")


def print_findings(findings: Sequence[Finding]) -> None:
    """What `riverkeep doctor` found."""
    table = Table("", box=box.SIMPLE)
    for name in ("what", "found", "remedy"):
        # A key or a path that is cut cannot be looked for.
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark = Text("✓", "green") if finding.ok else Text("✗", "red")
        table.add_row(mark, finding.name, escape(finding.detail), escape("" if finding.ok else finding.remedy))
    console.print(table)


def ago(seconds: float) -> str:
    """A span of time in its largest unit: `42 s`, `3 min`, `5 h`, `2 days`."""
    for unit, size in (("days", 172_800.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / (86_400.0 if unit == 'days' else size):.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _state(state: str) -> Text:
    return Text(state.replace("_", " "), STATE_STYLES.get(state, ""))


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[: LONGEST_SENTENCE - 1]}…"


def _tail(name: str) -> str:
    """A name in a column's width; of a path its end tells more."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def _number(value: Any) -> str:
    text = "" if value is None else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text
