"""Two generations' answers to one prompt, and what people picked, as a person sees them."""

from collections.abc import Sequence

from rich.markup import escape

from daemon.cli.render.kept import print_passage
from daemon.cli.render.screen import console, table
from daemon.control.answers.comparisons import AnswerLine, ComparisonAnswer, PickTally
from daemon.control.wording import picked_sentence, share_words

NOTHING = "Nobody has picked an answer yet: `riverkeep compare ask --blind` gives two to pick from."


def print_comparison(answer: ComparisonAnswer) -> None:
    """How far it is, or both answers."""
    number = answer["number"]
    if answer["state"] == "failed":
        console.print(escape(f"Comparison {number} of generations {_pair(answer)} failed: {answer['detail']}"))
    elif answer["state"] == "running":
        console.print(escape(f"Comparison {number} of generations {_pair(answer)} is under way: {answer['doing']}."))
    for line in answer["answers"]:
        _print_answer(line)
    if answer["answers"] and answer["blind"] and answer["picked"] is None:
        choices = "left (or right, or equal)"
        console.print(f"Which is better? `riverkeep compare pick {number} {choices}` tells whose is which.")
    elif answer["picked"] is not None:
        _print_pick(answer)


def print_picked(answer: ComparisonAnswer) -> None:
    """Whose the answers were, of one from which somebody has just picked."""
    for line in answer["answers"]:
        console.print(f"The {line['side']} answer is generation {line['generation']}'s.")
    _print_pick(answer)


def _print_pick(answer: ComparisonAnswer) -> None:
    console.print(escape(picked_sentence(answer)))
    if answer["tally"] is not None:
        console.print(_tally_words(answer["tally"]))


def _tally_words(tally: PickTally) -> str:
    first = f"generation {tally['first']}: {tally['first_better']:,}"
    second = f"{tally['second']}: {tally['second_better']:,}"
    return f"Picked so far of this pair: {first}, {second}, equal: {tally['equal']:,} (people: {tally['people']:,})."


def _pair(answer: ComparisonAnswer) -> str:
    return f"{answer['first']} and {answer['second']}"


def _print_answer(line: AnswerLine) -> None:
    whose = f"The {line['side']} answer" if line["generation"] is None else f"Generation {line['generation']}"
    parts = [] if line["tokens"] is None or line["labels"] else [f"{line['tokens']:,} tokens"]
    parts += [] if line["seconds_answering"] is None else [f"{line['seconds_answering']:.1f} s"]
    parts += ["cut there"] if line["finish"] == "length" else []
    parts += ["only the beginning was read"] if line["truncated"] else []
    console.print(f"[bold]{whose}[/bold]" + (f" ({', '.join(parts)})" if parts else ""))
    if line["labels"]:
        rows = table("label", "probability", fixed=("probability",))
        for label in line["labels"]:
            rows.add_row(escape(label["label"]), f"{label['probability']:.1%}")
        console.print(rows)
    else:
        print_passage(line["text"], whole=True)


def print_tallies(tallies: Sequence[PickTally]) -> None:
    """What was picked, by pair."""
    headers = ("generation", "better", "beside", "better there", "equal", "people", "share of the first")
    rows = table(*headers, fixed=headers[:-1])
    for tally in tallies:
        rows.add_row(
            str(tally["first"]),
            f"{tally['first_better']:,}",
            str(tally["second"]),
            f"{tally['second_better']:,}",
            f"{tally['equal']:,}",
            f"{tally['people']:,}",
            share_words(tally),
        )
    console.print(rows if tallies else NOTHING)
