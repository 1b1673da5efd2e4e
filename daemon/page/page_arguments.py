"""What the address of a page may name where no operation's arguments say it."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field

from daemon.control.arguments import (
    KAFKA_TOPIC,
    MOST_PARTITION,
    Arguments,
    Flag,
    Position,
    Rows,
)
from daemon.control.bounds import LARGEST_ID, LONGEST_TOPIC, MOST_PEEKED
from daemon.control.reading import is_number
from daemon.errors import BadRequest
from memory.samples.records import KeyHash


class ComparePage(Arguments):
    """Which two generations the form is filled in with."""

    first: int | None = Field(None, ge=0, le=LARGEST_ID)
    second: int | None = Field(None, ge=0, le=LARGEST_ID)


class TracePage(Arguments):
    """One record by its place, or a person's by the hash of their key; nothing yet: the page asks.

    Never a key: an address ends up in logs.
    """

    words: ClassVar[frozenset[str]] = frozenset({"topic", "key_hash"})

    topic: str | None = Field(None, min_length=1, max_length=LONGEST_TOPIC)
    partition: int | None = Field(None, ge=0, le=LARGEST_ID)
    offset: int | None = Field(None, ge=0, le=LARGEST_ID)
    key_hash: str | None = Field(None, pattern=r"^[0-9a-fA-F]{16}$")
    text: Flag = False
    limit: Rows = 20
    after: Position = 0

    def call(self) -> dict[str, Any]:
        """As of any arguments; `key` names the person. Raises BadRequest where they name no one thing."""
        named = [each is not None for each in (self.topic, self.partition, self.offset)]
        if any(named) and (not all(named) or self.key_hash is not None):
            raise BadRequest("Name one: a record by `topic`, `partition` and `offset`, or a person by `key_hash`.")
        call = super().call()
        digits = call.pop("key_hash")
        return call | {"key": None if digits is None else KeyHash.from_hex(digits)}


USUAL_COUNT: Final = 5


def _as_written(text: object) -> object:
    """What a field of a form says that may be left empty: a number, or nothing."""
    if not isinstance(text, str):
        return text
    return None if not text else int(text) if is_number(text) else text


class PeekPage(Arguments):
    """A place in a topic; nothing yet: the page asks. Fields of its form may be left empty."""

    words: ClassVar[frozenset[str]] = frozenset({"topic", "partition", "offset", "count"})

    topic: str | None = Field(None, pattern=KAFKA_TOPIC)
    number: Annotated[int | None, BeforeValidator(_as_written)] = Field(
        None, alias="partition", ge=0, le=MOST_PARTITION
    )
    offset: Annotated[int | None, BeforeValidator(_as_written)] = Field(None, ge=0, le=LARGEST_ID)
    count: Annotated[int | None, BeforeValidator(_as_written)] = Field(None, ge=1, le=MOST_PEEKED)
    text: Flag = False

    def call(self) -> dict[str, Any]:
        """As of any arguments."""
        call = super().call()
        return call | {"count": call["count"] or USUAL_COUNT}
