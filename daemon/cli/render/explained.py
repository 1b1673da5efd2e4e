"""A round in sentences, and what can be done, as a person sees it."""

from collections.abc import Sequence

from rich.text import Text

from daemon.cli.render.screen import STATE_STYLES, console, number_text
from daemon.control.answers.explained import CriterionLine, ExplainedRound
from daemon.control.printable import inline


def print_explained(facts: ExplainedRound) -> None:
    """Why it began, what came of it, what decided, what can be done."""
    outcome = facts["outcome"]
    head = Text(f"Round {facts['number']}: ").append(outcome.replace("_", " "), STATE_STYLES.get(outcome, ""))
    console.print(head)
    for sentences in (facts["began"], facts["ended"]):
        console.print(Text(f"\n{inline(' '.join(sentences))}"))
    _print_criteria(facts["criteria"])
    if facts["next"]:
        console.print("\nWhat can be done:")
    for step in facts["next"]:
        console.print(Text(f"  {inline(step['text'])}"))
        console.print(Text(f"    $ {inline(step['command'])}", "bold"), soft_wrap=True)


def _print_criteria(criteria: Sequence[CriterionLine]) -> None:
    decided = [line for line in criteria if line["decided"]]
    others = len(criteria) - len(decided)
    if decided:
        console.print("\nWhat decided:")
    for line in decided:
        mark = Text("  ✓ ", "green") if line["passed"] else Text("  ✗ ", "red")
        console.print(mark.append(f"{inline(line['sentence'])}.{_interval(line)}", "default"))
    if others:
        passed = all(line["passed"] for line in criteria if not line["decided"])
        held = "every one was kept" if passed else "not all were kept"
        console.print(f"Of {others:,} other bounds {held}; `riverkeep round show` has the table.")


def _interval(line: CriterionLine) -> str:
    """The figure's confidence limits; text is measured as it is, not estimated from a sample."""
    if line["lower"] is None or line["upper"] is None or line["lower"] == line["upper"]:
        return ""
    limits = f"{number_text(line['lower'])} … {number_text(line['upper'])}"
    return f" Figure {number_text(line['figure'])} ({limits}), bound {number_text(line['bound'])}."
