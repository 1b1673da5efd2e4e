"""What people said of answers, as a person sees it."""

import time

from rich.markup import escape

from daemon.cli.render.kept import print_passage
from daemon.cli.render.screen import console, table
from daemon.control.answers.feedback import FeedbackAnswer, OpinionLine
from daemon.span import span as ago

NOTHING = "Nobody has said anything of an answer; `POST /v1/feedback` at serving takes it."


def print_counts(answer: FeedbackAnswer) -> None:
    """How much of what was said of each generation's answers."""
    rows = table("generation", "accepted", "rejected", "corrected", fixed=("generation",))
    for line in answer["generations"]:
        numbers = (line["accepted"], line["rejected"], line["corrected"])
        rows.add_row(str(line["generation"]), *(f"{number:,}" for number in numbers))
    console.print(rows if answer["generations"] else NOTHING)


def print_opinions(answer: FeedbackAnswer, *, now: float | None = None) -> None:
    """One by one, the newest first; with their text where there is some."""
    moment = time.time() if now is None else now
    rows = table("id", "generation", "verdict", "corrected", "learned", "given", "by key", fixed=("id", "generation"))
    for line in answer["latest"]:
        rows.add_row(
            str(line["id"]),
            str(line["generation"]),
            line["verdict"],
            "yes" if line["corrected"] else "",
            line["learned"] or "",
            f"{ago(moment - line['given_at'])} ago",
            escape(line["key"]),
        )
    console.print(rows if answer["latest"] else NOTHING)
    for line in answer["latest"]:
        _print_text(line)


def _print_text(line: OpinionLine) -> None:
    parts = (("asked", line["prompt"]), ("answered", line["text"]), ("corrected", line["correction"]))
    for name, text in parts:
        if text is not None:
            console.print(f"{line['id']}, {name}:")
            print_passage(text, whole=False)
