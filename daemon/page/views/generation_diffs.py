"""One generation, and two beside each other: where they came from, which text they learned, what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.generation_diffs import (
    ComparedGeneration,
    GenerationAnswer,
    GenerationDiff,
    LineageStep,
    LineageText,
    ScoreDifference,
)
from daemon.control.answers.rounds import RoundAttempt
from daemon.control.how_it_stands import Level
from daemon.control.wording import span_words
from daemon.page.views.generations import ERASED, WORDS
from daemon.page.views.round import PARTS
from daemon.page.views.rounds import LEVELS

LATEST_SHOWN: Final = 20
"""Of generations that led to it, and of rounds that began from it: the latest."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        bytes: of its files; None where they are not there.
        erased: on erased text, a clause; empty where none is known.
    """

    number: int
    words: str
    parent: int | None
    round: int | None
    digest: str
    created_at: float
    bytes: int | None
    erased: str
    lies_on: int | None


@dataclass(frozen=True, slots=True)
class LineStep:
    """A round on the line.

    Attributes:
        fresh, tokens, replayed: that were drawn; None where the round is too long ago.
        trained: how much of it was trained on, a clause; empty where that is not known.
        sources: how many samples of which source as which part, in words.
        erased: samples that were erased since.
    """

    generation: int
    round: int | None
    fresh: int | None
    tokens: int | None
    replayed: int | None
    trained: str
    sources: tuple[tuple[str, str | None, int], ...]
    erased: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What only one of the two has learned: the latest round first.

    Attributes:
        offsets: partition, and its ranges in words.
        left_out: earlier rounds, which are neither listed nor counted.
    """

    number: int
    steps: tuple[LineStep, ...]
    left_out: int
    samples: int
    tokens: int
    replayed: int
    offsets: tuple[tuple[str, str], ...]
    erased: int


@dataclass(frozen=True, slots=True)
class DiffView:
    """Two generations.

    Attributes:
        recipe: name, of the first, of the second.
        by_answers: whether there are accuracies to show.
    """

    first: Side
    second: Side
    common: int | None
    learned: tuple[Learned, ...]
    recipe: tuple[tuple[str, str, str], ...]
    recipe_alike: int
    scores: tuple[ScoreDifference, ...]
    by_answers: bool
    notes: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether both are one."""
        return self.first.number == self.second.number


def diff_view(answer: GenerationDiff) -> DiffView:
    """Two generations."""
    first, second = answer["first"], answer["second"]
    learned = [_learned(first["number"], answer["of_first"]), _learned(second["number"], answer["of_second"])]
    return DiffView(
        first=_side(first),
        second=_side(second),
        common=answer["common"],
        learned=tuple(each for each in learned if each.steps),
        recipe=tuple((row["name"], _told(row["first"]), _told(row["second"])) for row in answer["recipe"]),
        recipe_alike=answer["recipe_alike"],
        scores=tuple(answer["scores"]),
        by_answers=_by_answers(answer["scores"]),
        notes=tuple(answer["notes"]),
    )


def _by_answers(scores: Sequence[ScoreDifference]) -> bool:
    return any(row[side] is not None for row in scores for side in ("accuracy_first", "accuracy_second"))


def _side(line: ComparedGeneration) -> Side:
    return Side(
        number=line["number"],
        words="serves" if line["serves"] else WORDS.get(line["state"], line["state"]),
        parent=line["parent"],
        round=line["round"],
        digest=line["digest"],
        created_at=line["created_at"],
        bytes=line["bytes"],
        erased="" if line["erased_text"] is None else ERASED[line["erased_text"]],
        lies_on=line["lies_on"],
    )


def _learned(number: int, text: LineageText) -> Learned:
    return Learned(
        number=number,
        steps=tuple(map(_step, text["steps"])),
        left_out=text["left_out"],
        samples=text["samples"],
        tokens=text["tokens"],
        replayed=text["replayed"],
        offsets=tuple((name, span_words(spans)) for name, spans in text["offsets"].items()),
        erased=text["erased"],
    )


def _step(step: LineageStep) -> LineStep:
    trained, drawn = step["tokens_trained"], step["tokens_drawn"]
    return LineStep(
        generation=step["generation"],
        round=step["round"],
        fresh=step["fresh_samples"],
        tokens=step["fresh_tokens"],
        replayed=step["replay_samples"],
        trained="" if trained is None or drawn is None else f"{trained:,} of {drawn:,} tokens",
        sources=tuple(
            (PARTS.get(each["part"], each["part"]), each["source"], each["samples"])
            for each in step["sources"]
            # What it was judged by is no text that it learned.
            if each["part"] != "slice"
        ),
        erased=step["erased"],
    )


def _told(value: object) -> str:
    return "none" if value is None else str(value)


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
        side=_side(answer),
        compare=None if serving == answer["number"] else serving,
        lineage=tuple(before[:LATEST_SHOWN]),
        lineage_left_out=max(0, len(before) - LATEST_SHOWN),
        children=tuple(answer["children"]),
        learned=_learned(answer["number"], answer["learned"]),
        attempts=tuple(map(_attempt, answer["attempts"][:LATEST_SHOWN])),
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
