"""The picture that `riverkeep watch` draws: one sentence, six lights, the round's progress, what needs a person."""

import time
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from daemon.control.answers.status import RoundStanding, StatusAnswer
from daemon.control.facts.words import describe_phase
from daemon.control.how_it_stands import HowItStands, Level, PersonNeeded, how_it_stands
from daemon.control.printable import inline

STYLES: Final = {Level.GOOD: "green", Level.IDLE: "dim", Level.CARE: "yellow", Level.BAD: "bold red"}
MARKS: Final = {Level.GOOD: "●", Level.IDLE: "○", Level.CARE: "▲", Level.BAD: "✗"}
COMMANDS: Final = {
    "round": "riverkeep explain round {number}",
    "flood": "riverkeep memory dead-letters",
    "stream": "riverkeep doctor",
    "unread": "riverkeep streams",
    "full": "riverkeep memory",
    "rounds": "riverkeep status",
    "part": "riverkeep status",
    "memory": "riverkeep doctor",
    "serving": "riverkeep status",
    "settings": "riverkeep check",
    "pause": "riverkeep round resume",
    "aside": "riverkeep memory aside",
    "restart": "riverkeep config show",
    "unknown": "riverkeep status",
    "labels": "riverkeep status",
}
"""Where to go on from what needs a person."""
NARROW: Final = 60
"""Columns below which details stand under the words and not beside them."""


def picture(facts: StatusAnswer, *, width: int, now: float) -> RenderableType:
    """How things stand, for a terminal of so many columns."""
    stands = how_it_stands(facts)
    return Group(*_parts(facts, stands, width, now))


def _parts(facts: StatusAnswer, stands: HowItStands, width: int, now: float) -> Iterator[RenderableType]:
    yield Text(inline(stands.sentence), STYLES[stands.level])
    yield Rule(style="dim")
    yield _lights(stands, narrow=width < NARROW)
    if (current := facts["round"]) is not None:
        yield Rule(style="dim")
        yield Text(inline(f"Round {current['number']}: {describe_phase(current)}"))
        yield _bar(current)
    if stands.needs:
        yield Rule(style="dim")
    for need in stands.needs:
        yield _need(need)
    yield Rule(style="dim")
    at = time.strftime("%H:%M:%S", time.localtime(now))
    yield Text(f"Riverkeep {facts['version']} at {at}. Ctrl-C ends this, not the daemon.", "dim")


def _lights(stands: HowItStands, *, narrow: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(style="bold")
    grid.add_column(overflow="fold", ratio=1)
    for light in stands.lights:
        detail = inline(light.detail)
        words = Text(inline(light.word)).append(f"\n{detail}" if narrow and detail else "", "dim")
        if not narrow and detail:
            words.append(f"  {detail}", "dim")
        grid.add_row(Text(MARKS[light.level], STYLES[light.level]), light.name, words)
    return grid


def _bar(current: RoundStanding) -> ProgressBar:
    """How much of the phase is done; to and fro where that cannot be counted."""
    work = current["work"]
    done, of = (current["step"], current["steps"]) if work is None else (work["done"], work["of"])
    return ProgressBar(total=of or None, completed=done, pulse=not of)


def _need(need: PersonNeeded) -> Text:
    text = Text("▲ " if need.waits else "· ", "yellow" if need.waits else "dim").append(inline(need.words), "default")
    if command := COMMANDS.get(need.kind, "").format(number=need.number):
        text.append(f"\n  $ {command}", "bold")
    return text


def short_of(facts: StatusAnswer) -> tuple[Any, ...]:
    """What of all that is worth a line where it changes: not how much of a phase is done."""
    stands, current = how_it_stands(facts), facts["round"]
    phase = None if current is None else (current["number"], current["phase"])
    lights = tuple((light.name, light.level) for light in stands.lights)
    # By what they are, not by their words: for how long something has been away changes with every look.
    needs = tuple((need.kind, need.number, need.waits) for need in stands.needs)
    return (stands.level, lights, needs, phase, facts["serving"]["generation"], facts["serving"]["answering"])
