"""Facts as a person sees them: tables on a terminal, plain text in a pipe."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.control import Facts
from daemon.doctor_findings import Finding
from daemon.floods import FLOOD, flood_sentence
from daemon.heat import heat_table, legend
from daemon.phases_told import told_phase
from daemon.printable import inline
from daemon.screen import open_screen, table
from daemon.slice_names import names_explained
from daemon.span import span as ago
from daemon.supervisor import State
from daemon.unknown_sentence import unknown_sentence
from daemon.wording import DROPS, begun, check_words, trigger_word

STATE_STYLES = {
    "accepted": "green",
    "refused": "red",
    "failed": "red",
    "waiting": "yellow",
    "dry run: would be accepted": "green",
    "dry run: would be refused": "red",
    "dry run: would wait": "yellow",
    "abandoned": "yellow",
    "rolled_back": "yellow",
    "retired": "dim",
    "reserved": "dim",
}

ERASED = {
    "trained": "trained on text that was erased since",
    "inherited": "made from one that was trained on text that was erased since",
}

console = open_screen()


def print_status(facts: Facts, *, now: float | None = None) -> None:
    """What `riverkeep status` shows."""
    moment = time.time() if now is None else now
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in _status_rows(facts, moment):
        grid.add_row(name, value)
    if console.is_terminal:
        console.print(grid)
        return
    with console.capture() as captured:
        console.print(grid)
    # In a file or a ticket nothing is gained by filling each line up to the longest.
    for line in captured.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


def _status_rows(facts: Facts, now: float) -> Iterable[tuple[str, str | Text]]:
    yield "Riverkeep", _running(facts, now)
    if facts.get("memory_trouble"):
        yield "degraded", Text(f"the memory cannot be used: {facts['memory_trouble']}", "red")
    elif facts.get("memory") is None:
        yield "", "nothing is kept yet; `riverkeep run` begins"
        return
    yield "serving", _serving(facts["serving"])
    if facts.get("unknown_generations"):
        yield "unknown", Text(unknown_sentence(facts["unknown_generations"]), "yellow")
    yield from _round_rows(facts, now)
    yield from _settings_rows(facts, now)
    if facts.get("memory") is not None:
        yield "memory", _memory_line(facts["memory"])
    if facts.get("ingest"):
        yield "reading", _ingest(facts["ingest"])
    if facts.get("parts"):
        yield "parts", _parts(facts["parts"])


def _round_rows(facts: Facts, now: float) -> Iterable[tuple[str, str | Text]]:
    if facts.get("round"):
        yield "round", _round_progress(facts["round"], now)
        if facts["round"].get("reason"):
            yield "", _why_it_began(facts["round"])
    if facts.get("last_round"):
        yield "last round", _last_round(facts["last_round"], now)
    if facts.get("rollback"):
        yield "rollback", _rollback(facts["rollback"], facts["serving"], now)
    yield from _next_rows(facts, now)


def _next_rows(facts: Facts, now: float) -> Iterable[tuple[str, str | Text]]:
    """What comes next, and what it waits for."""
    if facts.get("waiting"):
        yield "waiting", Text(_waiting(facts["waiting"]), "yellow")
    if facts.get("rounds_paused"):
        yield "paused", f"rounds, {ago(now - facts['rounds_paused']['since'])} ago"
    if facts.get("next_round"):
        yield "next round", facts["next_round"]
    if facts.get("evidence"):
        yield "to judge by", _evidence(facts["evidence"])


EVIDENCE = {
    "anchor": "held-out documents of the anchor",
    "newest": "held-out documents of new text",
    "labels": "labels of held-out text",
}


def _evidence(needs: Sequence[Facts]) -> Text:
    """What there is to judge a round by, of how much that one which begins by itself needs."""
    lacking = any(need["found"] < need["needed"] for need in needs)
    told = [f"{need['found']:,} {EVIDENCE[need['what']]} ({need['needed']:,} are needed)" for need in needs]
    return Text(", ".join(told), "yellow" if lacking else "")


def not_in_force(sections: Sequence[str]) -> str:
    """That sections of the settings wait for a restart."""
    named = ", ".join(f"[{name}]" for name in sections)
    return f"{named} changed on disk, not in force until a restart"


def how_to_decide(number: int) -> str:
    """The commands by which a person decides on a round that waits, to be pasted."""
    return (
        f"read it with `riverkeep memory aside {number} --text`, then "
        f"`riverkeep round --approve {number}` or `riverkeep round --reject {number}`"
    )


def _waiting(numbers: Sequence[int]) -> str:
    """The rounds that wait, and how to decide on the first of them."""
    first = f"round {numbers[0]}: {how_to_decide(numbers[0])}"
    return first if len(numbers) == 1 else f"{first}; then rounds {', '.join(map(str, numbers[1:]))}"


def _settings_rows(facts: Facts, now: float) -> Iterable[tuple[str, Text]]:
    if facts.get("need_restart"):
        yield "settings", Text(not_in_force(facts["need_restart"]), "yellow")
    if facts.get("settings_refused"):
        yield "settings", Text(_refused(facts["settings_refused"], now), "red")


def _refused(refused: Facts, now: float) -> str:
    found = "; ".join(f"{one['key']} ({one['place']}): {one['problem']}" for one in refused["mistakes"])
    return (
        f"refused at the reload {ago(now - refused['at'])} ago, those before it are in force: {found} "
        "Mend them (`riverkeep check`), then send SIGHUP again."
    )


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
    if serving.get("erased_text"):
        line += f" ({ERASED[serving['erased_text']]})"
    if serving.get("address"):
        line += f" at {serving['address']}"
    if serving.get("answering") not in (None, serving["generation"]):
        return Text(f"{line}; still answering from {serving['answering']}", "yellow")
    if serving.get("ok") is False:
        return Text(f"{line}; {serving.get('trouble') or 'the serving process does not answer'}", "red")
    return line


def _round_progress(current: Facts, now: float) -> str:
    return f"{current['number']}: {told_phase(current)}; begun {ago(now - current['begun_at'])} ago"


def _why_it_began(current: Facts) -> str:
    drawn = f"drew {current['fresh_samples']:,} fresh samples to train on"
    return f"{current['reason']}; {drawn}{_kept_apart(current)}"


def _kept_apart(facts: Facts) -> str:
    """Fresh text of a round that is not trained on, so that the counts add up."""
    kept = facts.get("early_stop_samples", 0)
    return f" and {kept:,} more to tell when to stop" if kept else ""


def _last_round(last: Facts, now: float) -> Text:
    when = f" {ago(now - last['ended_at'])} ago" if last.get("ended_at") else ""
    text = Text(f"{last['number']} ")
    text.append_text(_outcome(last))
    return text.append(f"{when}. {last['detail']}{_trained_part(last)}")


def _rollback(rollback: Facts, serving: Facts, now: float) -> Text:
    """The latest one; plain once another generation was accepted since."""
    by = f", by {rollback['by']}" if rollback["by"] else ""
    told = f"from generation {rollback['from']} to {rollback['to']}, {ago(now - rollback['at'])} ago{by}"
    return Text(told, "yellow" if serving["generation"] == rollback["to"] else "")


def _trained_part(one: Facts) -> str:
    """How much of the new text was trained on; of an accepted round the rest stays fresh."""
    trained, drawn = one.get("tokens_trained"), one.get("tokens_drawn")
    if trained is None or not drawn:
        return ""
    left = "; the rest stays fresh" if trained < drawn and one["state"] == "accepted" else ""
    return f" Trained on {trained:,} of {drawn:,} new tokens ({trained / drawn:.1%}){left}."


def _memory_line(memory: Facts) -> str:
    names = ("fresh", "replay", "holdout", "aside")
    parts = [f"{memory[f'{name}_samples']:,} {name}" for name in names]
    return ", ".join(parts) + f"; {memory['dead_letters']:,} dead letters"


def _ingest(ingest: Facts) -> str | Text:
    lag = ingest.get("lag_records")
    told = [_behind(lag, ingest.get("trouble", ""))]
    paused = ingest.get("paused", {})
    flooded = [partition for partition, why in paused.items() if why == FLOOD]
    if flooded:
        told.append(flood_sentence(flooded))
    if ingest.get("reason"):
        told.append(f"paused: {ingest['reason']}")
    else:
        told += [f"{name} paused: {why}" for name, why in paused.items() if name not in flooded]
    return told[0] if len(told) == 1 and lag is not None else Text("; ".join(told), "yellow")


def _behind(lag: int | None, trouble: str) -> str:
    if lag is not None:
        return f"{lag:,} records behind"
    # What the trouble is, the line of parts says.
    return "how far behind is unknown" if trouble else "nothing yet: it waits for partitions"


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
    rows = table(
        "round",
        "state",
        "began",
        "took",
        "trigger",
        "fresh",
        "replayed",
        "generation",
        fixed=("round", "state", "took", "fresh"),
    )
    for one in rounds:
        rows.add_row(
            str(one["number"]),
            _outcome(one),
            f"{ago(moment - one['begun_at'])} ago",
            "" if one["ended_at"] is None else ago(one["ended_at"] - one["begun_at"]),
            trigger_word(one["trigger"]),
            f"{one['fresh_samples']:,}" + (f" + {kept:,}" if (kept := one.get("early_stop_samples", 0)) else ""),
            f"{one['replay_samples']:,}",
            "" if one["generation"] is None else str(one["generation"]),
        )
    console.print(rows if rounds else "No rounds yet.")
    if any(one.get("early_stop_samples", 0) for one in rounds):
        console.print("Fresh: trained on + kept apart to tell when to stop.")
    for one in rounds:
        if one["detail"]:
            console.print(Text(f"{one['number']}: {one['detail']}{_trained_part(one)}"))


def print_round(facts: Facts) -> None:
    """One round: what went in, what the gate said of it and of what."""
    head = Text(f"Round {facts['number']}: ")
    console.print(head.append_text(_outcome(facts)))
    console.print(escape(facts["detail"] or "It has not ended."))
    console.print(
        f"Parent {facts['parent']}, {facts['fresh_samples']:,} fresh samples ({facts['fresh_tokens']:,} tokens)"
        f"{_kept_apart(facts)}, "
        f"{facts['replay_samples']:,} replayed ({facts['replay_tokens']:,} tokens); begun {begun(facts['trigger'])}."
        f"{_trained_part(facts)}"
    )
    checks = facts["verdict"].get("checks", [])
    if checks:
        rows = table(
            *("check", "slice", "figure", "bound", "confidence", "documents", ""),
            fixed=("figure", "bound", "confidence", "documents", ""),
        )
        for check in checks:
            is_of_text = check["name"].startswith("plausible_")
            rows.add_row(
                check_words(check["name"]),
                escape(check["slice"]),
                _number(check["figure"]),
                _number(check["bound"]),
                # The fresh text is measured as it is, not estimated from a sample.
                "" if is_of_text else f"{_number(check['lower'])} … {_number(check['upper'])}",
                str(check["documents"]),
                Text("✓", "green") if check["passed"] else Text("✗", "red"),
            )
        console.print(rows)
        # Verdicts of earlier versions do not name what they measured in.
        units = dict.fromkeys(check["unit"] for check in checks if check.get("unit", "").startswith("nats"))
        if units:
            drops = any(check["name"].partition("_")[0] in DROPS for check in checks)
            console.print(Text(_how_to_read(" and ".join(units), drops=drops)))
        for line in names_explained(check["slice"] for check in checks):
            console.print(Text(line))
    if few := facts["verdict"].get("too_few"):
        console.print(Text(_too_few(few)))


def _too_few(sources: Mapping[str, int]) -> str:
    """Sources of which nobody could tell whether their text is plausible."""
    named = ", ".join(f"{inline(name)} ({documents:,})" for name, documents in sorted(sources.items()))
    return (
        f"Too few documents to judge by themselves whether these sources are plausible: {named}. All text together was."
    )


def _how_to_read(units: str, *, drops: bool) -> str:
    """What the figures of checks are."""
    lost = "; accuracy and macro-F1 as what was lost: below 0 they rose" if drops else ""
    return (
        "Above its bound a check fails. "
        f"Losses are in {units}; vs another model as the change: below 0 is a gain{lost}. "
        "Best: the best generation so far on that slice. Worst tenth: the loss that a tenth of the text exceeds."
    )


def print_generations(facts: Facts, *, now: float | None = None) -> None:
    """The generations and R."""
    moment = time.time() if now is None else now
    rows = table("generation", "state", "parent", "round", "made", "digest", fixed=("generation", "digest"))
    for one in facts["generations"]:
        serves = one["number"] == facts["serving"]
        rows.add_row(
            f"{one['number']} ← serves" if serves else str(one["number"]),
            _state(one["state"]),
            "base" if one["parent"] is None else str(one["parent"]),
            "" if one["round"] is None else str(one["round"]),
            f"{ago(moment - one['created_at'])} ago",
            one["digest"][:12],
        )
    console.print(rows if facts["generations"] else "No generations yet.")
    for kind, said in ERASED.items():
        if numbers := [str(one["number"]) for one in facts["generations"] if one.get("erased_text") == kind]:
            console.print(f"{said.capitalize()}: {', '.join(numbers)}.", style="yellow")
    answers = [row for row in facts["scores"] if row.get("accuracy") is not None]
    if facts["scores"]:
        console.print(heat_table(facts, width=console.width))
        for line in legend(facts):
            console.print(Text(line))
    if served := [row for row in answers if row["generation"] == facts["serving"]]:
        console.print(_answers(served))


def _answers(scores: Sequence[Facts]) -> Table:
    """How a classifier's serving generation answers on each slice."""
    rows = table("slice", "documents", "accuracy", "macro-F1", fixed=("documents", "accuracy", "macro-F1"))
    for row in scores:
        rows.add_row(
            escape(row["slice"]),
            f"{row['documents']:,}",
            _number(row["accuracy"]),
            _number(row["macro_f1"]),
        )
    return rows


def print_forgotten(facts: Facts) -> None:
    """What an erasure erased, and what had seen it."""
    console.print(f"Erased: {facts['samples']:,} samples and {facts['dead_letters']:,} dead letters.")
    if facts["directories"]:
        console.print(f"Round directories erased: {', '.join(facts['directories'])}")
    if facts.get("called_off") is not None:
        console.print(
            f"Round {facts['called_off']} was given the text and is called off; the rest of it is fresh again."
        )
    print_seen_by(facts)
    print_similar(facts)


def print_similar(facts: Facts) -> None:
    """Keys that may name the same person as the one that was named."""
    for line in similar_lines(facts.get("similar", [])):
        console.print(Text(line), soft_wrap=True)


def similar_lines(similar: Sequence[Facts]) -> list[str]:
    """Keys that may name the same person, and the command that erases each."""
    if not similar:
        return []
    lines = ["Similar keys, which may name the same person; nothing of them is erased with this one:"]
    for one in similar:
        key = one["how"] if one["key"] is None else f"{inline(one['key'])} ({one['how']})"
        kept = f"{one['samples']:,} samples, {one['dead_letters']:,} dead letters, given to {one['rounds']:,} rounds"
        lines.append(f"  {key}: {kept}: `{one['erase']}`")
    return lines


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
    rows = table("", "what", "found", "remedy", fixed=("",))
    for finding in findings:
        mark = Text("✓", "green") if finding.ok else Text("✗", "red")
        rows.add_row(mark, finding.name, escape(finding.detail), escape("" if finding.ok else finding.remedy))
    console.print(rows)


def _outcome(one: Facts) -> Text:
    """What a round came to."""
    outcome = str(one.get("outcome", one["state"]))
    return Text(outcome.replace("_", " "), STATE_STYLES.get(outcome, ""))


def _state(state: str) -> Text:
    return Text(state.replace("_", " "), STATE_STYLES.get(state, ""))


def _number(value: Any) -> str:
    text = "" if value is None else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text
