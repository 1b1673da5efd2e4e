"""Two generations' answers to one prompt: the form, the waiting, the answers, and what people picked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.comparisons import AnswerLine, ComparisonAnswer, PickTally
from daemon.control.answers.rounds import GenerationsAnswer
from daemon.control.wording import picked_sentence, share_words
from daemon.page.addresses import with_query
from daemon.page.views.named import NamedView

LABELS_SHOWN: Final = 12
SIDES: Final[Mapping[str, str]] = {"left": "Left", "right": "Right"}
FIELDS: Final = ("prompt", "first", "second", "max_tokens", "temperature", "seed", "chat", "blind")


@dataclass(frozen=True, slots=True)
class PickRow:
    """What was picked of one pair; `share` is the first's, with its interval, in words."""

    first: int
    second: int
    first_better: int
    second_better: int
    equal: int
    people: int
    share: str


@dataclass(frozen=True, slots=True)
class CompareForm:
    """What the form shows.

    Attributes:
        fields: what was written so far, by name; what nobody wrote as it is by itself.
        numbers: generations that may have files, newest first, for those who choose.
        problem: why it could not be done; empty before it was tried.
        picks: what was picked so far, by pair.
        can_ask: whether there are two to choose.
    """

    fields: Mapping[str, str]
    numbers: tuple[int, ...]
    problem: str
    picks: tuple[PickRow, ...]
    can_ask: bool


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label of a classifier; `bar` is its probability in hundredths."""

    label: str
    probability: float
    bar: float


@dataclass(frozen=True, slots=True)
class AnswerCard:
    """What stands on one side.

    Attributes:
        title: whose it is, or the side while nobody may know.
        notes: on its length and time.
        labels_left_out: of a classifier, beyond those that are shown.
    """

    title: str
    text: str
    notes: tuple[str, ...]
    labels: tuple[LabelRow, ...]
    labels_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView(NamedView):
    """A comparison.

    Attributes:
        is_running: whether it is still under way.
        doing: what it does now.
        problem: why it failed.
        how: in words, how tokens were drawn.
        may_pick: whether somebody may say which is better.
        picked: what was picked, a sentence.
        is_same: whether both answered the same.
        again: where the form is, filled in with the same pair.
    """

    number: int
    prompt: str
    blind: bool
    is_running: bool
    doing: str
    seconds: float
    problem: str
    how: str
    answers: tuple[AnswerCard, ...]
    may_pick: bool
    picked: str
    is_same: bool
    tally: PickRow | None
    again: str


def compare_form(
    generations: GenerationsAnswer, picks: Sequence[PickTally], fields: Mapping[str, str], problem: str = ""
) -> CompareForm:
    """The form, with what was written so far, and what was picked."""
    gone = ("retired", "reserved")
    numbers = sorted((line["number"] for line in generations["generations"] if line["state"] not in gone), reverse=True)
    parents = {line["number"]: line["parent"] for line in generations["generations"]}
    serving = generations["serving"]
    usual = {"second": serving, "first": None if serving is None else parents.get(serving)}
    filled = {"max_tokens": "128", **{name: str(number) for name, number in usual.items() if number is not None}}
    return CompareForm(
        fields={**dict.fromkeys(FIELDS, ""), **filled, **{name: text for name, text in fields.items() if text}},
        numbers=tuple(numbers),
        problem=problem,
        picks=tuple(map(_row, picks)),
        can_ask=len(numbers) > 1,
    )


def _row(tally: PickTally) -> PickRow:
    return PickRow(
        first=tally["first"],
        second=tally["second"],
        first_better=tally["first_better"],
        second_better=tally["second_better"],
        equal=tally["equal"],
        people=tally["people"],
        share=share_words(tally),
    )


def comparison_view(answer: ComparisonAnswer) -> ComparisonView:
    """A comparison as far as it is."""
    number, pair = answer["number"], f"{answer['first']} and {answer['second']}"
    is_over = bool(answer["answers"])
    lines = answer["answers"]
    return ComparisonView(
        title=f"Generations {pair} on one prompt",
        json=f"/comparisons/{number}?format=json",
        command=f"riverkeep compare show {number}",
        number=number,
        prompt=answer["prompt"],
        blind=answer["blind"],
        is_running=answer["state"] == "running",
        doing=answer["doing"],
        seconds=answer["seconds"],
        problem=answer["detail"],
        how=_how(answer),
        answers=tuple(map(_card, lines)),
        may_pick=is_over and answer["blind"] and answer["picked"] is None,
        picked=picked_sentence(answer),
        is_same=is_over and _said(lines[0]) == _said(lines[1]),
        tally=None if answer["tally"] is None else _row(answer["tally"]),
        again=with_query("/comparisons", {"first": answer["first"], "second": answer["second"]}),
    )


def _said(line: AnswerLine) -> object:
    return line["text"], line["labels"]


def _how(answer: ComparisonAnswer) -> str:
    drawn = "the most probable token each time"
    if answer["temperature"]:
        drawn = f"tokens drawn at temperature {answer['temperature']:g}, seed {answer['seed']}"
    asked = "as a user's turn in a chat" if answer["chat"] else "as a text to go on with"
    return f"Asked {asked}: {drawn}, {answer['max_tokens']:,} tokens at most."


def _card(line: AnswerLine) -> AnswerCard:
    side, generation = SIDES[line["side"]], line["generation"]
    labels = line["labels"]
    return AnswerCard(
        title=f"{side} answer" if generation is None else f"Generation {generation}",
        text=line["text"],
        notes=tuple(_notes(line)),
        labels=tuple(LabelRow(each["label"], each["probability"], 100 * each["probability"]) for each in labels)[
            :LABELS_SHOWN
        ],
        labels_left_out=max(0, len(labels) - LABELS_SHOWN),
    )


def _notes(line: AnswerLine) -> list[str]:
    """Of its length and time; while nobody may know whose it is, only what its text shows anyway."""
    notes = [] if line["tokens"] is None or line["labels"] else [f"{line['tokens']:,} tokens"]
    if line["seconds_answering"] is not None and line["seconds_loading"] is not None:
        notes.append(f"{line['seconds_answering']:.1f} s to answer, {line['seconds_loading']:.1f} s to load")
    notes += ["as long as was allowed, and cut there"] if line["finish"] == "length" else []
    return notes + (
        ["only its beginning was read: the text is longer than the model takes"] if line["truncated"] else []
    )
