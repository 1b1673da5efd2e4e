"""What was found of a person, and what never came, as a person sees it."""

import time
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.people import ErasedPerson, FoundPerson, SeenBy, SimilarKeyLine
from daemon.control.answers.records import SampleLine
from daemon.control.answers.traces import ForeseenErasure
from daemon.control.printable import inline
from daemon.control.wording import shown_text
from daemon.span import span as ago


def print_found(facts: FoundPerson, *, now: float | None = None) -> None:
    """What is kept of a person, where it came from, and what had seen it."""
    moment = time.time() if now is None else now
    roles = ", ".join(f"{number:,} {role}" for role, number in facts["by_role"].items())
    letters = f"{facts['dead_letters']:,} dead letters{_feedback(facts.get('feedback', 0))}"
    console.print(f"Kept: {roles or 'no sample'}; {letters}.")
    if "key_hash" in facts:
        console.print(f"The key's hash: {facts['key_hash']}.")
    if facts["erased_at"] is not None:
        console.print(f"Erased {ago(moment - facts['erased_at'])} ago: nothing of this key is stored any more.")
    if facts["kept"]:
        console.print(_samples(facts["kept"], moment))
    if facts["next"] is not None:
        console.print(f"More of them: --after {facts['next']}")
    rounds = ", ".join(f"{round_['round']} ({_parts(round_['parts'])})" for round_ in facts["rounds"])
    console.print(f"Given to rounds: {rounds or 'none'}.")
    print_seen_by(facts)
    print_similar(facts)


def _parts(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {part.replace('_', ' ')}" for part, number in parts.items())


def _samples(samples: Sequence[SampleLine], now: float) -> Table:
    with_text = any("text" in sample for sample in samples)
    names = ("id", "role", "source", "from", "offset", "arrived", *(("text",) if with_text else ()))
    rows = table(*names, fixed=("id", "role", "offset"))
    for sample in samples:
        row = [
            str(sample["id"]),
            sample["role"],
            escape(sample["source"]),
            escape(f"{sample['topic']}/{sample['partition']}"),
            str(sample["offset"]),
            f"{ago(now - sample['arrived_at'])} ago",
        ]
        rows.add_row(*row, *([escape(shown_text(sample))] if with_text else []))
    return rows


def print_forgotten(facts: ErasedPerson) -> None:
    """What an erasure erased, and what had seen it."""
    letters = f"{facts['dead_letters']:,} dead letters{_feedback(facts.get('feedback', 0))}"
    console.print(f"Erased: {facts['samples']:,} samples and {letters}.")
    if facts["directories"]:
        console.print(f"Round directories erased: {', '.join(facts['directories'])}")
    if facts.get("called_off") is not None:
        console.print(
            f"Round {facts['called_off']} was given the text and is called off; the rest of it is fresh again."
        )
    print_seen_by(facts)
    print_similar(facts)


def print_similar(facts: FoundPerson | ErasedPerson | ForeseenErasure) -> None:
    """Keys that may name the same person as the one that was named."""
    for line in similar_lines(facts.get("similar", [])):
        console.print(Text(line), soft_wrap=True)


def similar_lines(similar: Sequence[SimilarKeyLine]) -> list[str]:
    """Keys that may name the same person, and the command that erases each."""
    if not similar:
        return []
    lines = ["Similar keys, which may name the same person; nothing of them is erased with this one:"]
    for other in similar:
        key = other["how"] if other["key"] is None else f"{inline(other['key'])} ({other['how']})"
        amounts = (
            f"{other['samples']:,} samples, {other['dead_letters']:,} dead letters, given to {other['rounds']:,} rounds"
        )
        lines.append(f"  {key}: {amounts}: `{other['erase']}`")
    return lines


def print_seen_by(facts: SeenBy) -> None:
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


def _feedback(number: int) -> str:
    """What was said of answers, behind dead letters; nothing where nothing was."""
    return f", {number:,} of feedback" if number else ""
