"""What operations are asked with: a path's number, a query and a body as one model, with their bounds."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from daemon.control.bounds import (
    HIGHEST_TEMPERATURE,
    LARGEST_ID,
    LONGEST_KEY,
    LONGEST_PROMPT,
    LONGEST_REASON,
    LONGEST_TOPIC,
    MOST_ANSWER_TOKENS,
    MOST_ASIDE_IDS,
    MOST_DEAD_LETTER_IDS,
    MOST_FLIPS,
    MOST_HOURS,
    MOST_PEEKED,
    MOST_ROWS,
)
from daemon.errors import BadRequest
from memory.samples.records import KeyHash

LONGEST_BODY_BYTES: Final = 64 * 1024
LONGEST_KEY_BODY_BYTES: Final = 768 * 1024
"""Of a request about a person. A longer key is named by its hash."""
LONGEST_PROMPT_BODY_BYTES: Final = 12 * LONGEST_PROMPT + LONGEST_BODY_BYTES
"""Of a request with a prompt, each character of which JSON may write as twelve."""


KAFKA_TOPIC: Final = r"^[A-Za-z0-9._-]{1,249}$"
MOST_PARTITION: Final = 2**31 - 1


def _within_a_page(rows: int) -> int:
    # Not refused: whoever wants more than a page holds goes on with the next one in any case.
    return max(1, min(rows, MOST_ROWS))


def _within_flips(rows: int) -> int:
    return max(1, min(rows, MOST_FLIPS))


Rows = Annotated[int, BeforeValidator(_within_a_page)]
"""How many rows a query wants; it is given at most `MOST_ROWS`, and at least one."""
Flips = Annotated[int, BeforeValidator(_within_flips)]
"""How many flipped documents a query wants in each direction: not a page's worth, as each comes with its text."""
Flag = Annotated[bool, BeforeValidator(bool)]
"""Yes or no in a query: `true` or `false`, or a number."""
Position = Annotated[int, Field(ge=0, le=LARGEST_ID)]
"""An id between two pages; there need be nothing of that id."""
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class Arguments(BaseModel):
    """What an operation is asked with; for one that is asked nothing more than its name, as it is.

    The names are those of the parameters of the control's method, aliases those of the request's JSON.

    Attributes:
        most_bytes: of a body.
        words: names that are words in a query, where others are whole numbers.
        thing: what the number in the path is of.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    most_bytes: ClassVar[int] = LONGEST_BODY_BYTES
    words: ClassVar[frozenset[str]] = frozenset()
    thing: ClassVar[str] = "round"

    def call(self) -> dict[str, Any]:
        """The arguments of the control's method. Raises BadRequest where they do not go together."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    @classmethod
    def sent(cls, call: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the control's method as a request names them: the other way round."""
        return {cls.model_fields[name].alias or name: value for name, value in call.items()}

    @classmethod
    def names(cls) -> list[str]:
        """What a request may name."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def flags(cls) -> list[str]:
        """Which of these are yes or no."""
        return [field.alias or name for name, field in cls.model_fields.items() if field.annotation is bool]


class OfRound(Arguments):
    """The round that the path names."""

    number: Position


class OfDeadLetter(Arguments):
    """The dead letter that the path names, with what was kept of its record only where that is asked for."""

    thing: ClassVar[str] = "dead letter"

    number: Position
    text: Flag = False


class NewestFirst(Arguments):
    """A page of what is listed newest first."""

    limit: Rows = 50
    before: Position | None = None


class LatestHours(Arguments):
    """How far back."""

    hours: int = Field(1, ge=1, le=MOST_HOURS)


class DeadLettersPage(NewestFirst):
    """A page of dead letters."""

    text: Flag = False


class FeedbackPage(NewestFirst):
    """A page of what was said of answers."""

    text: Flag = False


class FlipsPage(OfRound):
    """How many documents that flipped in a round are told of in each direction, and whether with their text."""

    limit: Flips = 20
    text: Flag = False


class RoundSamplesPage(OfRound):
    """A page of a round's samples."""

    limit: Rows = MOST_ROWS
    after: Position = 0


class AsideTextPage(OfRound):
    """A page of the documents that a round set aside, their text only where that is asked for."""

    limit: Rows = 50
    after: Position = 0
    worst: Flag = False
    text: Flag = False


class WantedRound(Arguments):
    """The round that is asked for."""

    dry_run: bool = False


class PauseReason(Arguments):
    """Why rounds are paused."""

    reason: str = Field("", max_length=LONGEST_REASON)


class OfGeneration(Arguments):
    """The generation that the path names."""

    thing: ClassVar[str] = "generation"

    number: Position


class TwoGenerations(Arguments):
    """Two generations to be compared."""

    thing: ClassVar[str] = "generation"

    number: Position
    other: Position


class OfComparison(Arguments):
    """The comparison that the path names."""

    thing: ClassVar[str] = "comparison"

    number: Position


class WantedComparison(Arguments):
    """A prompt, and the two generations that are to answer it. In a body: an address would end up in logs."""

    most_bytes: ClassVar[int] = LONGEST_PROMPT_BODY_BYTES

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    first: Position | None = None
    second: Position | None = None
    blind: bool = False
    chat: bool = False
    max_tokens: int = Field(128, ge=1, le=MOST_ANSWER_TOKENS)
    temperature: float | None = Field(None, ge=0, le=HIGHEST_TEMPERATURE, allow_inf_nan=False)
    seed: Position | None = None


class PickedAnswer(OfComparison):
    """Which answer of a comparison is the better."""

    choice: Literal["left", "right", "equal"]


class TargetGeneration(Arguments):
    """The generation to go back to."""

    generation: int | None = Field(None, ge=0)


class WatchedGeneration(Arguments):
    """The generation that is watched in traffic, so that what is decided on is the one that was looked at."""

    generation: int | None = Field(None, ge=0)


class PausedPartition(Arguments):
    """One partition as `topic/number`, or all."""

    partition: str | None = Field(None, min_length=1, max_length=300)


class NamedPerson(Arguments):
    """A person by key, or by its hash. In a body: a key in an address would end up in logs."""

    most_bytes: ClassVar[int] = LONGEST_KEY_BODY_BYTES

    key: str | None = Field(None, min_length=1)
    key_hash: str | None = Field(None, pattern=r"^[0-9a-fA-F]{16}$")

    def call(self) -> dict[str, Any]:
        """As of any arguments; `key` is what names the person. Raises BadRequest where nothing does, or both do."""
        # Both could contradict each other, and of two people only one would be erased.
        if (self.key is None) == (self.key_hash is None):
            raise BadRequest("Name one: `key`, or `key_hash` (16 hexadecimal digits).")
        call = super().call()
        digits = call.pop("key_hash")
        # The digits are no argument of the method: its `key` is a key or a hash.
        return call if digits is None else call | {"key": KeyHash.from_hex(digits)}

    @classmethod
    def sent(cls, call: Mapping[str, Any]) -> dict[str, Any]:
        """As of any arguments; a key that is a hash has another name."""
        fields = super().sent(call)
        if isinstance(fields["key"], KeyHash):
            fields["key_hash"] = str(fields.pop("key"))
        return fields


class FindPage(NamedPerson):
    """A page of what is kept of a person."""

    text: bool = False
    limit: int = Field(50, ge=1, le=MOST_ROWS)
    after: Position = 0


class TracedPlace(Arguments):
    """A record by its place. In a body: a query knows numbers alone."""

    topic: str = Field(min_length=1, max_length=LONGEST_TOPIC)
    number: int = Field(alias="partition", ge=0, le=LARGEST_ID)
    offset: int = Field(ge=0, le=LARGEST_ID)
    text: bool = False


class PeekedPlace(Arguments):
    """Where to look in a topic: from an offset on, or at the newest."""

    topic: str = Field(pattern=KAFKA_TOPIC)
    number: int | None = Field(None, alias="partition", ge=0, le=MOST_PARTITION)
    offset: int | None = Field(None, ge=0, le=LARGEST_ID)
    count: int = Field(5, ge=1, le=MOST_PEEKED)
    text: bool = False


class AsideOfRound(Arguments):
    """What a round set aside."""

    number: int = Field(alias="round", ge=1)


class ReleasedPart(AsideOfRound):
    """What a round set aside; with ids only these of it."""

    ids: list[Id] = Field(default=[], max_length=MOST_ASIDE_IDS, fail_fast=True)


class AsidePart(AsideOfRound):
    """What a round set aside of a source, of a key, or of both."""

    source: str | None = Field(None, min_length=1, max_length=LONGEST_KEY)
    key: str | None = Field(None, min_length=1, max_length=LONGEST_KEY)


class ChosenAside(AsidePart):
    """What a round set aside; with ids, a source or a key only that part of it."""

    # Only the first mistake is told, so that thousands of wrong ids need not be described.
    ids: list[Id] = Field(default=[], max_length=MOST_ASIDE_IDS, fail_fast=True)

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.ids and (self.source is not None or self.key is not None):
            raise ValueError("name ids, or a source and a key, not both")
        return self


class ChosenDeadLetters(Arguments):
    """Dead letters by their ids; none: all."""

    ids: list[Id] = Field(default=[], max_length=MOST_DEAD_LETTER_IDS, fail_fast=True)
