"""A round explained: why it began, what decided, and what a person can do next."""

from typing import TypedDict


class CriterionLine(TypedDict):
    """A check of the gate, or of the new text itself.

    Attributes:
        name, slice: as the verdict has them.
        figure, bound: what was measured and the largest that is allowed, in `unit`; more is worse. None: no number.
        lower, upper: the true figure is above, and below, these with the gate's confidence; None as above.
        documents, keys: how much text the figure rests on; 0 keys where they are not counted.
        passed: whether the bound is kept.
        unproven: whether it failed for want of evidence alone.
        decided: whether it made the verdict what it is.
        sentence: what was found.
    """

    name: str
    slice: str
    figure: float | None
    bound: float | None
    lower: float | None
    upper: float | None
    unit: str
    documents: int
    keys: int
    passed: bool
    unproven: bool
    decided: bool
    sentence: str


class NextStep(TypedDict):
    """What a person can do.

    Attributes:
        text: what for, a sentence.
        command: the whole command line; empty where there is none.
    """

    text: str
    command: str


class ExplainedRound(TypedDict):
    """A round in sentences.

    Attributes:
        state, outcome: as in `RoundLine`.
        began: why it began, and with what.
        ended: what came of it and why; of one in progress what it does.
        criteria: those that decided first, the most telling before the others; empty where nothing was judged.
        next: what can be done; empty where nothing is wanted.
    """

    number: int
    state: str
    outcome: str
    began: list[str]
    ended: list[str]
    criteria: list[CriterionLine]
    next: list[NextStep]
