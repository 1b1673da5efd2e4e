"""Rounds as a person sees them: in a list, one in full, and how to decide on one that waits."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.generations import how_to_read, names_explained
from daemon.cli.render.history import print_canary
from daemon.cli.render.screen import console, number_text, outcome_text, table
from daemon.cli.render.skills import print_skills
from daemon.control.answers.rounds import RoundAnswer, RoundLine
from daemon.control.facts.words import early_stop_part, left_out_sentence, trained_part
from daemon.control.printable import inline
from daemon.control.wording import DROPS, begun, check_words, trigger_word
from daemon.span import span as ago
from gate.checks.stopped_scoring import stopped_sentences


def how_to_decide(number: int) -> str:
    """The commands by which a person decides on a round that waits, to be pasted."""
    return (
        f"read it with `riverkeep memory aside {number} --text`, then "
        f"`riverkeep round approve {number}` or `riverkeep round reject {number}`"
    )


def print_rounds(rounds: Sequence[RoundLine], *, now: float | None = None) -> None:
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
    for line in rounds:
        rows.add_row(
            str(line["number"]),
            outcome_text(line),
            f"{ago(moment - line['begun_at'])} ago",
            "" if line["ended_at"] is None else ago(line["ended_at"] - line["begun_at"]),
            trigger_word(line["trigger"]),
            f"{line['fresh_samples']:,}" + (f" + {apart:,}" if (apart := line.get("early_stop_samples", 0)) else ""),
            f"{line['replay_samples']:,}",
            "" if line["generation"] is None else str(line["generation"]),
        )
    console.print(rows if rounds else "No rounds yet.")
    if any(line.get("early_stop_samples", 0) for line in rounds):
        console.print("Fresh: trained on + kept apart to tell when to stop.")
    for line in rounds:
        if line["detail"]:
            console.print(Text(f"{line['number']}: {line['detail']}{trained_part(line)}"))


def print_round(facts: RoundAnswer) -> None:
    """One round: what went in, what the gate said of it and of what."""
    head = Text(f"Round {facts['number']}: ")
    console.print(head.append_text(outcome_text(facts)))
    console.print(escape(facts["detail"] or "It has not ended."))
    console.print(
        f"Parent {facts['parent']}, {facts['fresh_samples']:,} fresh samples ({facts['fresh_tokens']:,} tokens)"
        f"{early_stop_part(facts)}, "
        f"{facts['replay_samples']:,} replayed ({facts['replay_tokens']:,} tokens); begun {begun(facts['trigger'])}."
        f"{trained_part(facts)}"
    )
    for note in _notes(facts):
        console.print(Text(note))
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
                number_text(check["figure"]),
                number_text(check["bound"]),
                # The fresh text is measured as it is, not estimated from a sample.
                "" if is_of_text else f"{number_text(check['lower'])} … {number_text(check['upper'])}",
                _counted(check),
                Text("✓", "green") if check["passed"] else Text("✗", "red"),
            )
        console.print(rows)
        # Verdicts of earlier versions do not name what they measured in.
        units = dict.fromkeys(check["unit"] for check in checks if check.get("unit", "").startswith("nats"))
        if units:
            drops = any(check["name"].partition("_")[0] in DROPS for check in checks)
            console.print(Text(how_to_read(" and ".join(units), drops=drops)))
        for line in names_explained(check["slice"] for check in checks if not check["name"].startswith("skill_")):
            console.print(Text(line))
    print_skills(facts)
    if canary := facts.get("canary"):
        print_canary(canary)
    for line in _beside_the_checks(facts["verdict"]):
        console.print(Text(line))


def _beside_the_checks(verdict: Mapping[str, Any]) -> Iterator[str]:
    """What no check of the candidate tells that the verdict is on."""
    yield from stopped_sentences(verdict)
    for bound in verdict.get("not_held", ()):
        yield _not_held(bound)
    if few := verdict.get("too_few"):
        yield _too_few(few)
    yield from _what_is_new(verdict)


def _notes(facts: RoundAnswer) -> Iterator[str]:
    """What is out of the ordinary in what a round was given, and in what becomes of it."""
    training = facts.get("report", {}).get("training") or {}
    for note in ("replay_note", "checkpointing_note", "compile_note", "moments_note", "merge_note"):
        if training.get(note):
            yield training[note]
    if facts.get("left_out"):
        yield left_out_sentence(facts["left_out"])
    if (trained_in := facts.get("trained_in")) is not None:
        yield f"It trained nothing: it judged again, on text drawn anew, what round {trained_in} had trained."
    if kept := facts.get("kept"):
        yield f"{kept[0].upper()}{kept[1:]}."


def _counted(check: Mapping[str, Any]) -> str:
    """Documents of a check, and their keys where these are fewer; verdicts of earlier versions counted none."""
    keys = check.get("keys", 0)
    return f"{check['documents']} ({keys} keys)" if 0 < keys < check["documents"] else str(check["documents"])


def _not_held(bound: Mapping[str, Any]) -> str:
    """A bound that nobody could look at, so that it is missed in the table above."""
    return (
        f"Not held: the bound against generation {bound['generation']}, the best so far on slice "
        f"{inline(bound['slice'])}, of which too little is known on what is judged now."
    )


def _what_is_new(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Labels and kinds of text that were not judged by what the parent makes of them; older verdicts have none."""
    if labels := verdict.get("new_labels"):
        ordered = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        listing = ", ".join(f"{inline(name)} ({documents:,})" for name, documents in ordered)
        yield f"New labels, on which the new text was not judged: {listing}."
    if kinds := verdict.get("new_kinds"):
        yield f"Text of another kind than what memory holds: {', '.join(map(inline, kinds))}."


def _too_few(sources: Mapping[str, int]) -> str:
    """Sources of which nobody could tell whether their text is plausible."""
    listing = ", ".join(f"{inline(name)} ({documents:,})" for name, documents in sorted(sources.items()))
    return (
        f"Too few documents to judge by themselves whether these sources are plausible: {listing}. "
        "All text together was."
    )
