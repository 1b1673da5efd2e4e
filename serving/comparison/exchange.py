"""What the process of a comparison is asked, and what it tells: lines of JSON between two programs. Torch-free."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkpoints.kinds import ModelKind

MOST_LABELS: Final = 50
"""Of a classifier's labels, the most probable ones that are told."""


class ComparisonPrompt(BaseModel):
    """One prompt for two generations.

    Attributes:
        checkpoints: the checkpoint store.
        kind: what the model is for.
        generations: that answer, in this order; each is let go before the next is loaded.
        prompt: any text; a classifier's is the text to label.
        chat: whether it is a user's turn, and not a text to go on with.
        max_tokens: most tokens of an answer; as many of them as fit the model's context.
        temperature: 0 takes the most probable token each time.
        seed: of the draws, the same for both.
        recipe_length: to how many tokens a classifier's base cuts texts; later generations tell by their own recipe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoints: Path
    kind: ModelKind
    generations: tuple[int, ...]
    prompt: str
    chat: bool = False
    max_tokens: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0)
    seed: int = 0
    recipe_length: int | None = None


class LabelShare(BaseModel):
    """How probable a classifier finds a label: 0 to 1."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float


class PromptAnswer(BaseModel):
    """What one generation answered.

    Attributes:
        text: that was written; empty from a classifier.
        finish: why it ends: by itself, or because it is as long as was allowed; of a classifier by itself.
        tokens: that were written.
        prompt_tokens: that were read.
        labels: of a classifier, the most probable first.
        truncated: whether a classifier read less than the whole text.
        seconds_loading: until it could answer, its files verified.
        seconds_answering: from then on.
    """

    model_config = ConfigDict(frozen=True)

    text: str = ""
    finish: Literal["stop", "length"] = "stop"
    tokens: int = 0
    prompt_tokens: int = 0
    labels: tuple[LabelShare, ...] = ()
    truncated: bool = False
    seconds_loading: float = 0.0
    seconds_answering: float = 0.0


class AnswerEvent(BaseModel):
    """What the process tells, one in a line.

    Attributes:
        event: what it does now (`loading`, `answering`), what came of it (`answered`), or that it cannot (`failed`).
        generation: which it is about.
        tokens: that are written so far.
        answer: of what was answered.
        reason: of what failed, a sentence for a person.
    """

    model_config = ConfigDict(frozen=True)

    event: Literal["loading", "answering", "answered", "failed"]
    generation: int
    tokens: int = 0
    answer: PromptAnswer | None = None
    reason: str = ""


def read_answer_event(line: bytes) -> AnswerEvent | None:
    """A line of the process; None where it is none of its own: a library may print as well."""
    try:
        return AnswerEvent.model_validate_json(line)
    except ValidationError:
        return None
