"""Two generations beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.control.answers.generation_diffs import (
    ComparedGeneration,
    GenerationDiff,
    LineageStep,
    LineageText,
    ScoreDifference,
)
from daemon.control.wording import span_words
from daemon.page.views.generations import ERASED, WORDS
from daemon.page.views.round import PARTS


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
    learned = [learned_view(first["number"], answer["of_first"]), learned_view(second["number"], answer["of_second"])]
    return DiffView(
        first=side_view(first),
        second=side_view(second),
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


def side_view(line: ComparedGeneration) -> Side:
    """One of two generations, or one alone."""
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


def learned_view(number: int, text: LineageText) -> Learned:
    """What was learned on a line that leads to a generation."""
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
