"""What is answered of two generations that answer one prompt, and of which people found the better."""

from typing import TypedDict


class LabelLine(TypedDict):
    """A label that a classifier gives.

    Attributes:
        label: its name.
        probability: how probable it finds it, 0 to 1.
    """

    label: str
    probability: float


class AnswerLine(TypedDict):
    """What one of the two generations answered.

    Attributes:
        side: on which it stands, `left` or `right`.
        generation: whose it is; None while nobody may know.
        text: that was written; empty of a classifier.
        finish: `stop` where it ended by itself, `length` where it is as long as was allowed.
        labels: of a classifier, the 50 most probable, those first.
        truncated: whether a classifier read less than the whole text.
        tokens: that were written; None while nobody may know whose it is.
        prompt_tokens: that were read; likewise.
        seconds_loading: until it could answer, its files verified; likewise.
        seconds_answering: from then on; likewise.
    """

    side: str
    generation: int | None
    text: str
    finish: str
    labels: list[LabelLine]
    truncated: bool
    tokens: int | None
    prompt_tokens: int | None
    seconds_loading: float | None
    seconds_answering: float | None


class PickTally(TypedDict):
    """Which of two generations people found the better, without knowing whose an answer was.

    Attributes:
        first, second: the generations, the lower number first.
        first_better: how often the first's answer was picked.
        second_better: how often the second's was.
        equal: how often they were found equal.
        people: who picked.
        first_share: of those picks that found one better, how often it was the first's, 0 to 1; None where none did.
        first_share_lower, first_share_upper: its 95 % interval (Wilson's, in which what one of several people
            picked again and again counts for less); None where no pick found one better.
        latest_at: when somebody picked last, unix seconds; None where nobody has.
    """

    first: int
    second: int
    first_better: int
    second_better: int
    equal: int
    people: int
    first_share: float | None
    first_share_lower: float | None
    first_share_upper: float | None
    latest_at: float | None


class ComparisonAnswer(TypedDict):
    """One prompt that two generations answer, one after the other.

    Attributes:
        number: by which it is asked for again; kept for an hour, in the daemon's memory alone.
        state: `running`, `answered` or `failed`.
        detail: why it failed, a sentence; empty where it did not.
        doing: what it does now, a sentence; empty once it has ended.
        first, second: the generations, as they were named.
        prompt: that was given.
        blind: whether nobody is told whose an answer is before one is picked.
        chat: whether the prompt is a user's turn, and not a text to go on with.
        max_tokens: most tokens of an answer.
        temperature: 0 takes the most probable token each time.
        seed: of the draws, the same for both.
        begun_at: unix seconds.
        seconds: that it took, or has taken so far.
        answers: the left one and the right one; empty before both have answered.
        picked: which was found the better, `left`, `right` or `equal`; None before somebody has said.
        picked_by: who has; empty before.
        tally: of this pair, with this pick; None while nobody may know whose an answer is.
    """

    number: int
    state: str
    detail: str
    doing: str
    first: int
    second: int
    prompt: str
    blind: bool
    chat: bool
    max_tokens: int
    temperature: float
    seed: int
    begun_at: float
    seconds: float
    answers: list[AnswerLine]
    picked: str | None
    picked_by: str
    tally: PickTally | None
