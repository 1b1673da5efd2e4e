"""One prompt that two generations answer: what was asked for, how far it is, what is told of it and what is not yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from daemon.comparisons.choice import Choice
from serving.comparison.exchange import AnswerEvent, PromptAnswer


class ComparisonState(StrEnum):
    """How far a comparison is."""

    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ComparisonWish:
    """What is asked for.

    Attributes:
        first, second: the generations.
        prompt: any text; a classifier's is the text to label.
        blind: whether nobody is told which answer is whose before one is picked.
        chat: whether the prompt is a user's turn, and not a text to go on with.
        max_tokens: most tokens of an answer.
        temperature: 0 takes the most probable token each time.
        seed: of the draws, the same for both.
    """

    first: int
    second: int
    prompt: str = field(repr=False)
    blind: bool
    chat: bool
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """A comparison, as it is at a moment.

    Attributes:
        number: by which it is asked for.
        wish: what was asked for.
        left, right: which generation's answer stands where.
        begun_at, ended_at: unix seconds.
        state: how far it is.
        detail: why it failed, a sentence.
        doing: what its process told last.
        answers: by generation, once both have answered.
        choice: which was picked; None before somebody did.
        picked_by: who.
    """

    number: int
    wish: ComparisonWish
    left: int
    right: int
    begun_at: float
    ended_at: float | None = None
    state: ComparisonState = ComparisonState.RUNNING
    detail: str = ""
    doing: AnswerEvent | None = None
    answers: Mapping[int, PromptAnswer] = field(default_factory=dict, repr=False)
    choice: Choice | None = None
    picked_by: str = ""

    @property
    def is_hidden(self) -> bool:
        """Whether nobody may learn which answer is whose, nor anything by which that can be told."""
        return self.wish.blind and self.choice is None

    @property
    def won(self) -> int | None:
        """The generation whose answer was picked; None where neither, or not yet."""
        return {"left": self.left, "right": self.right}.get(self.choice or "")
