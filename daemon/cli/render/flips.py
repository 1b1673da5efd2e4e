"""What flipped in a round, document by document, as a person sees it."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from daemon.cli.render.kept import print_passage
from daemon.cli.render.screen import console, number_text
from daemon.control.answers.flips import FlippedDocument, FlipsAnswer
from daemon.control.printable import inline
from daemon.control.wording import became_of_text, shown_text

BY: Final = "by more than {margin} {unit}"


def print_flips(facts: FlipsAnswer) -> None:
    """How many flipped, and those that changed most."""
    if facts["documents"]:
        by = "in their answer" if facts["margin"] is None else BY.format_map(facts)
        who = (
            f"Round {facts['round']}, candidate {inline(facts['candidate'] or '')} against generation {facts['parent']}"
        )
        counts = f"{facts['worse']:,} are worse and {facts['better']:,} better {by}"
        console.print(Text(f"{who}: of {facts['documents']:,} held-out documents {counts}."))
    if facts["note"]:
        console.print(Text(facts["note"]))
    if facts["erased"]:
        console.print(f"Of its held-out documents {facts['erased']:,} were erased since.", style="yellow")
    _print("Worse, worst first", facts["worst"], facts["worse"])
    _print("Better, most first", facts["best"], facts["better"])


def _print(title: str, documents: Sequence[FlippedDocument], of: int) -> None:
    if not documents:
        return
    console.print(f"\n{title} ({len(documents):,} of {of:,}):")
    for document in documents:
        console.print(Text("  ".join(_head(document)), "bold"))
        sample = document["sample"]
        if sample is None:
            console.print(Text(f"    {became_of_text(document['erased_at'])}"))
        elif "text" in sample:
            print_passage(shown_text(sample), whole=False)


def _head(document: FlippedDocument) -> list[str]:
    sample = document["sample"]
    head = [str(document["id"])]
    head += [] if document["slice"] is None else [f"slice {inline(document['slice'])}"]
    head += [] if sample is None else [f"{inline(sample['topic'])}/{sample['partition']} at {sample['offset']}"]
    head += [f"loss {number_text(document['before'])} → {number_text(document['after'])}"]
    if document["answer_after"] is not None:
        head += [f"answer {inline(document['answer_before'] or '')} → {inline(document['answer_after'])}"]
    return head
