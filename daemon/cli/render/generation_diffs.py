"""One generation, and two beside each other, as a person sees them."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.generations import ERASED
from daemon.cli.render.screen import console, number_text, table
from daemon.control.answers.generation_diffs import (
    ComparedGeneration,
    GenerationAnswer,
    GenerationDiff,
    LineageText,
)
from daemon.control.printable import inline
from daemon.control.wording import span_words

LINE_SHOWN: Final = 20
"""Generations that led to one: the latest."""


def print_diff(facts: GenerationDiff) -> None:
    """The two, what each has learned that the other has not, and what differs."""
    first, second = facts["first"], facts["second"]
    for line in (first, second):
        console.print(Text(_head(line)))
    if facts["common"] is not None:
        console.print(f"The latest that both came of: generation {facts['common']}.")
    for line, text in ((first, facts["of_first"]), (second, facts["of_second"])):
        _print_text(line["number"], text)
    if facts["recipe"]:
        rows = table("recipe", str(first["number"]), str(second["number"]), fixed=("recipe",))
        for row in facts["recipe"]:
            rows.add_row(escape(row["name"]), escape(str(row["first"])), escape(str(row["second"])))
        console.print(rows)
    console.print(f"{facts['recipe_alike']:,} settings of the recipe are alike.")
    if facts["scores"]:
        rows = table("slice", str(first["number"]), str(second["number"]), "change", fixed=("change",))
        for score in facts["scores"]:
            figures = (number_text(score[name]) for name in ("first", "second", "change"))
            rows.add_row(escape(score["slice"]), *figures)
        console.print(rows)
    for note in facts["notes"]:
        console.print(Text(note))


def print_generation(facts: GenerationAnswer) -> None:
    """Where it came from, the text that it learned round by round, what came of it."""
    console.print(Text(_head(facts)))
    if before := facts["lineage"][:-1]:
        console.print(f"It came of {', '.join(map(str, before[::-1][:LINE_SHOWN]))}{_more(before)}.")
    if facts["children"]:
        console.print(f"Generations that came of it: {', '.join(map(str, facts['children']))}.")
    _print_text(facts["number"], facts["learned"], only=False)
    rows = table("generation", "round", "new", "tokens", "replayed", "offsets", fixed=("generation", "round"))
    for step in facts["learned"]["steps"]:
        figures = (step[name] for name in ("fresh_samples", "fresh_tokens", "replay_samples"))
        counts = ("not known" if figure is None else f"{figure:,}" for figure in figures)
        rows.add_row(str(step["generation"]), str(step["round"]), *counts, escape(_offsets(step["offsets"])))
    if facts["learned"]["steps"]:
        console.print(rows)
    if facts["attempts"]:
        rows = table("round from it", "came to", "generation", "offsets", fixed=("round from it",))
        for attempt in facts["attempts"]:
            made = "" if attempt["generation"] is None else str(attempt["generation"])
            state = attempt["state"].replace("_", " ")
            rows.add_row(str(attempt["round"]), state, made, escape(_offsets(attempt["offsets"])))
        console.print(rows)


def _more(before: Sequence[int]) -> str:
    return f" and {len(before) - LINE_SHOWN} before" if len(before) > LINE_SHOWN else ""


def _offsets(offsets: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{inline(name)}: {span_words([ends])}" for name, ends in offsets.items())


def _head(line: ComparedGeneration) -> str:
    head = [f"Generation {line['number']}: {'serves' if line['serves'] else line['state'].replace('_', ' ')}"]
    head += [] if line["round"] is None else [f"of round {line['round']}"]
    head += [f"digest {line['digest'][:12]}"]
    head += ["its files are gone" if line["bytes"] is None else f"{line['bytes']:,} bytes"]
    head += [] if line["erased_text"] is None else [ERASED[line["erased_text"]]]
    return ", ".join(head)


def _print_text(number: int, text: LineageText, *, only: bool = True) -> None:
    if not text["steps"]:
        return
    console.print(
        f"\n{'Only generation' if only else 'Generation'} {number} has learned, in {len(text['steps']):,} rounds: "
        f"{text['samples']:,} new samples (about {text['tokens']:,} tokens), beside {text['replayed']:,} replayed."
    )
    if text["left_out"]:
        console.print(f"{text['left_out']:,} earlier rounds are neither listed nor counted.")
    for name, spans in text["offsets"].items():
        console.print(Text(f"  {inline(name)}: offsets {span_words(spans)}"))
    if text["erased"]:
        console.print(f"Of what they had to train on {text['erased']:,} samples were erased since.", style="yellow")
