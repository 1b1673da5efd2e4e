"""How things stand, as a person sees it: a table on a terminal, plain text in a pipe."""

import time
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from checkpoints.files.config_fields import shorten
from daemon.cli.render.generations import ERASED
from daemon.cli.render.history import canary_text
from daemon.cli.render.rounds import how_to_decide
from daemon.cli.render.screen import console, outcome_text
from daemon.control.answers.status import (
    EvidenceStanding,
    ForgettingStanding,
    IngestStanding,
    LastRoundStanding,
    MemoryStanding,
    PartStanding,
    RefusedSettings,
    RollbackStanding,
    RoundStanding,
    ServingStanding,
    StatusAnswer,
    WaitingLabel,
)
from daemon.control.facts.words import describe_phase, early_stop_part, left_out_sentence, trained_part
from daemon.control.how_it_stands import gigabytes, is_low
from daemon.ingestion.flood_sentence import flood_sentence, flooded
from daemon.lifecycle.supervised_threads import State
from daemon.rounds.unknown_sentence import unknown_sentence
from daemon.span import span as ago


def print_status(facts: StatusAnswer, *, now: float | None = None) -> None:
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


def _status_rows(facts: StatusAnswer, now: float) -> Iterable[tuple[str, str | Text]]:
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
    if memory := facts.get("memory"):
        yield "memory", _memory_line(memory)
    if said := facts.get("feedback"):
        yield "feedback", f"{said['accepted']:,} accepted, {said['rejected']:,} rejected of this generation's answers"
    if ingest := facts.get("ingest"):
        yield "reading", _ingest(ingest)
    if disk := facts.get("disk"):
        room = f"{gigabytes(disk['free_bytes'])} of {gigabytes(disk['total_bytes'])} free"
        yield "disk", Text(room, "yellow" if is_low(disk) else "")
    if parts := facts.get("parts"):
        yield "parts", _parts(parts)


def _round_rows(facts: StatusAnswer, now: float) -> Iterable[tuple[str, str | Text]]:
    if current := facts.get("round"):
        yield "round", _round_progress(current, now)
        if current.get("reason"):
            yield "", _why_it_began(current)
    if last := facts.get("last_round"):
        yield "last round", _last_round(last, now)
        if last.get("left_out"):
            yield "", left_out_sentence(last["left_out"])
        if last.get("checkpointing_note"):
            yield "", last["checkpointing_note"]
    if canary := facts.get("canary"):
        yield "canary", canary_text(canary, now)
    if rollback := facts.get("rollback"):
        yield "rollback", _rollback(rollback, facts["serving"], now)
    if forgotten := facts.get("forgetting"):
        yield "forgetting", _forgetting(forgotten)
    yield from _next_rows(facts, now)


def _next_rows(facts: StatusAnswer, now: float) -> Iterable[tuple[str, str | Text]]:
    """What comes next, and what it waits for."""
    if facts.get("waiting"):
        yield "waiting", Text(_waiting(facts["waiting"]), "yellow")
    if paused := facts.get("rounds_paused"):
        yield "paused", f"rounds, {ago(now - paused['since'])} ago"
    if next_round := facts.get("next_round"):
        yield "next round", next_round
    if limit := facts.get("micro_batch"):
        yield "memory of rounds", Text(f"{limit['detail']}.", "yellow")
    if length := facts.get("sequence_length"):
        yield "sequences", f"of {length:,} tokens"
    if kept := facts.get("kept"):
        yield "kept", kept
    if facts.get("evidence"):
        yield "to judge by", _evidence(facts["evidence"])
    for waiting in facts.get("waiting_labels", ()):
        yield "label waits", Text(_waiting_label(waiting), "yellow")


def _forgetting(forgotten: ForgettingStanding) -> str:
    """How much worse what serves is on old text than the best before it, and how sure that is."""
    figure, lower, upper = forgotten["figure"], forgotten["lower"], forgotten["upper"]
    sure = "" if lower is None or upper is None else f" ({lower:+.3f} … {upper:+.3f})"
    where = f"on {forgotten['documents']:,} older documents"
    return f"{figure:+.3f} nats per token{sure} {where}; above 0 is worse than before"


EVIDENCE = {
    "anchor": "held-out documents of the anchor",
    "newest": "held-out documents of new text",
    "labels": "labels of held-out text",
}


def _evidence(needs: Sequence[EvidenceStanding]) -> Text:
    """What there is to judge a round by, of how much that one which begins by itself needs."""
    lacking = any(need["found"] < need["needed"] for need in needs)
    parts = [f"{need['found']:,} {EVIDENCE[need['what']]} ({need['needed']:,} are needed)" for need in needs]
    return Text(", ".join(parts), "yellow" if lacking else "")


def _waiting_label(waiting: WaitingLabel) -> str:
    number = waiting["documents"]
    return f"{shorten(waiting['label'])}: {number:,} {'document' if number == 1 else 'documents'}; {waiting['detail']}"


def not_in_force(sections: Sequence[str]) -> str:
    """That sections of the settings wait for a restart."""
    tables = ", ".join(f"[{name}]" for name in sections)
    return f"{tables} changed on disk, not in force until a restart"


def _waiting(numbers: Sequence[int]) -> str:
    """The rounds that wait, and how to decide on the first of them."""
    first = f"round {numbers[0]}: {how_to_decide(numbers[0])}"
    return first if len(numbers) == 1 else f"{first}; then rounds {', '.join(map(str, numbers[1:]))}"


def _settings_rows(facts: StatusAnswer, now: float) -> Iterable[tuple[str, Text]]:
    if sections := facts.get("need_restart"):
        yield "settings", Text(not_in_force(sections), "yellow")
    if refused := facts.get("settings_refused"):
        yield "settings", Text(_describe_refused_settings(refused, now), "red")


def _describe_refused_settings(refused: RefusedSettings, now: float) -> str:
    mistakes = "; ".join(
        f"{mistake['key']} ({mistake['place']}): {mistake['problem']}" for mistake in refused["mistakes"]
    )
    return (
        f"refused at the reload {ago(now - refused['at'])} ago, those before it are in force: {mistakes} "
        "Mend them (`riverkeep check`), then send SIGHUP again."
    )


def _running(facts: StatusAnswer, now: float) -> Text:
    where = facts["state_dir"]
    if not facts["running"]:
        return Text(f"no daemon runs on {where}", "yellow")
    since = ago(now - started_at) if (started_at := facts.get("started_at")) else "?"
    return Text(f"{facts['version']}, running for {since} (process {facts['pid']}) on {where}", "green")


def _serving(serving: ServingStanding) -> str | Text:
    if serving["generation"] is None:
        return "no generation yet"
    line = f"generation {serving['generation']}"
    if erased_text := serving.get("erased_text"):
        line += f" ({ERASED[erased_text]})"
    if serving.get("address"):
        line += f" at {serving['address']}"
    # Loading and warming a large model takes minutes, in which the one before goes on answering.
    if serving.get("answering") not in (None, serving["generation"]):
        return Text(f"{line}; still answering from {serving['answering']}", "yellow")
    if starting := serving.get("starting"):
        return f"{line}; starting: {starting}"
    if serving.get("ok") is False:
        return Text(f"{line}; {serving.get('trouble') or 'the serving process does not answer'}", "red")
    return line


def _round_progress(current: RoundStanding, now: float) -> str:
    return f"{current['number']}: {describe_phase(current)}; begun {ago(now - current['begun_at'])} ago"


def _why_it_began(current: RoundStanding) -> str:
    drawn = f"drew {current['fresh_samples']:,} fresh samples to train on"
    return f"{current['reason']}; {drawn}{early_stop_part(current)}"


def _last_round(last: LastRoundStanding, now: float) -> Text:
    when = f" {ago(now - ended_at)} ago" if (ended_at := last.get("ended_at")) else ""
    text = Text(f"{last['number']} ")
    text.append_text(outcome_text(last))
    return text.append(f"{when}. {last['detail']}{trained_part(last)}")


def _rollback(rollback: RollbackStanding, serving: ServingStanding, now: float) -> Text:
    """The latest one; plain once another generation was accepted since."""
    by = f", by {rollback['by']}" if rollback["by"] else ""
    sentence = f"from generation {rollback['from']} to {rollback['to']}, {ago(now - rollback['at'])} ago{by}"
    return Text(sentence, "yellow" if serving["generation"] == rollback["to"] else "")


def _memory_line(memory: MemoryStanding) -> str:
    return (
        f"{memory['fresh_samples']:,} fresh, {memory['replay_samples']:,} replay, "
        f"{memory['holdout_samples']:,} held out, {memory['aside_samples']:,} aside; "
        f"{memory['dead_letters']:,} dead letters"
    )


def _ingest(ingest: IngestStanding) -> str | Text:
    lag = ingest.get("lag_records")
    sentences = [_behind(lag, ingest.get("trouble", ""))]
    paused = ingest.get("paused", {})
    # One sentence for all that a flood paused: the remedy is the same for each, and a topic may have hundreds.
    floods = flooded(paused)
    if floods:
        sentences.append(flood_sentence(floods))
    if ingest.get("reason"):
        sentences.append(f"paused: {ingest['reason']}")
    else:
        sentences += [f"{name} paused: {why}" for name, why in paused.items() if name not in floods]
    sentences += ingest.get("unread", [])
    return sentences[0] if len(sentences) == 1 and lag is not None else Text("; ".join(sentences), "yellow")


def _behind(lag: int | None, trouble: str) -> str:
    if lag is not None:
        return f"{lag:,} records behind"
    # What the trouble is, the line of parts says.
    return "how far behind is unknown" if trouble else "nothing yet: it waits for partitions"


def _parts(parts: Mapping[str, PartStanding]) -> Text:
    text = Text()
    for name, part in parts.items():
        begins = part.get("state") == State.STARTING
        mark, style = ("✓ ", "green") if part["ok"] else ("… ", "yellow") if begins else ("✗ ", "red")
        text.append(mark, style)
        detail = part.get("detail", "")
        text.append(f"{name}  " if part["ok"] and detail == State.RUNNING else f"{name} ({detail})  ")
    return text
