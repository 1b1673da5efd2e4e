"""Text of several parts, kept as one text and the turns that it is made of: chats, and pairs of input and target.

So whatever is done with a document's text (compared, counted, shown, erased) is done with what was said in a chat, and
only who learns from it asks whose words they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

ASSISTANT: Final = "assistant"
ROLES: Final = ("system", "developer", "user", ASSISTANT)
INPUT: Final = "input"
TARGET: Final = "target"
"""The roles of a pair: what a sequence-to-sequence model reads, and what it is to write for that."""
BETWEEN: Final = "\n\n"
"""Stands between turns."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: one of `ROLES`; of a pair `INPUT` or `TARGET`.
        content: what was said; its parts are joined.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation as it is kept.

    Attributes:
        text: what was said, turn after turn.
        turns: who said how many characters of it, as JSON: `[["user", 12], ["assistant", 30]]`.
    """

    text: str
    turns: str


_TURNS: Final = TypeAdapter(list[tuple[str, Annotated[int, Field(ge=0)]]])


def join(messages: Iterable[Message]) -> Chat:
    """A conversation as one text and its turns."""
    said = list(messages)
    turns = [(message.role, len(message.content)) for message in said]
    return Chat(BETWEEN.join(message.content for message in said), _TURNS.dump_json(turns).decode())


def split(text: str, turns: str) -> tuple[Message, ...]:
    """The conversation that a text and its turns are.

    Raises:
        ValueError: they are none: no such turns, or another length.
    """
    messages: list[Message] = []
    at = 0
    for role, length in _TURNS.validate_json(turns, strict=False):
        if messages:
            at += len(BETWEEN)
        messages.append(Message(role, text[at : at + length]))
        at += length
    if at != len(text):
        raise ValueError(f"the turns have {at} characters, the text {len(text)}")
    return tuple(messages)


def roles(turns: str) -> tuple[str, ...]:
    """Who speaks, turn after turn."""
    return tuple(role for role, _ in _TURNS.validate_json(turns, strict=False))


def learned_text(text: str, turns: str | None) -> str:
    """What a model learns to say of a sample: of a chat what the assistant says, of a pair the target, else all."""
    if turns is None:
        return text
    return BETWEEN.join(message.content for message in split(text, turns) if message.role in (ASSISTANT, TARGET))


def split_pair(text: str, turns: str | None) -> tuple[str, str] | None:
    """The input and the target that a text and its turns are; None where they are no pair."""
    if turns is None or roles(turns) != (INPUT, TARGET):
        return None
    asked, answer = split(text, turns)
    return asked.content, answer.content
