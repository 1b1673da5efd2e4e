"""What the address of a page may name where no operation's arguments say it."""

from typing import Any, ClassVar

from pydantic import Field

from daemon.control.arguments import Arguments, AsideTextPage, Flag, Position, Rows
from daemon.control.bounds import LARGEST_ID, LONGEST_TOPIC
from daemon.errors import BadRequest
from memory.samples.records import KeyHash


class HeldTextPage(AsideTextPage):
    """A page of what a round set aside, its text only where that is asked for."""

    text: Flag = False


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
