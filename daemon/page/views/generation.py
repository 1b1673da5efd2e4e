"""One generation: where it came from, which text it learned, what came of it."""

from dataclasses import dataclass
from typing import Final

from daemon.control.answers.generation_diffs import GenerationAnswer
from daemon.control.answers.rounds import RoundAttempt
from daemon.control.how_it_stands import Level
from daemon.control.wording import span_words
from daemon.page.views.generation_diffs import Learned, Side, learned_view, side_view
from daemon.page.views.rounds import LEVELS

SHOWN: Final = 20
"""Of generations that led to it, and of rounds that began from it: the latest."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """A round that began from it.

    Attributes:
        words: what came of it.
        offsets: of the text that was new to it: partition, and its range in words.
    """

    round: int
    level: Level
    words: str
    begun_at: float
    offsets: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GenerationView:
    """A generation.

    Attributes:
        compare: the serving generation, to be put beside it; None where it is that, or none serves.
        lineage: generations that led to it, the latest first; `lineage_left_out` earlier ones are not shown.
        children: generations that came of it.
        learned: since the base.
    """

    side: Side
    compare: int | None
    lineage: tuple[int, ...]
    lineage_left_out: int
    children: tuple[int, ...]
    learned: Learned
    attempts: tuple[AttemptRow, ...]
    recipe: tuple[tuple[str, str], ...]


def generation_view(answer: GenerationAnswer, serving: int | None) -> GenerationView:
    """A generation, of the answer and of what serves."""
    before = [number for number in answer["lineage"][::-1] if number != answer["number"]]
    return GenerationView(
        side=side_view(answer),
        compare=None if serving == answer["number"] else serving,
        lineage=tuple(before[:SHOWN]),
        lineage_left_out=max(0, len(before) - SHOWN),
        children=tuple(answer["children"]),
        learned=learned_view(answer["number"], answer["learned"]),
        attempts=tuple(map(_attempt, answer["attempts"][:SHOWN])),
        recipe=tuple((name, "none" if value is None else str(value)) for name, value in answer["recipe"].items()),
    )


def _attempt(attempt: RoundAttempt) -> AttemptRow:
    made = attempt["generation"]
    state = attempt["state"].replace("_", " ")
    return AttemptRow(
        attempt["round"],
        LEVELS.get(attempt["state"], Level.IDLE),
        state if made is None else f"{state}: generation {made}",
        attempt["begun_at"],
        offset_words(attempt["offsets"]),
    )


def offset_words(offsets: dict[str, list[int]]) -> tuple[tuple[str, str], ...]:
    """By partition the range of offsets, in words."""
    return tuple((name, span_words([ends])) for name, ends in offsets.items())
