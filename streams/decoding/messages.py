"""The messages of a record, in OpenAI's shape, as a chat, or the reason why they are none a model can learn from."""

from collections.abc import Iterator
from typing import Any, Final

from streams.chats import ASSISTANT, ROLES, Chat, Message, join
from streams.decoding import field_values
from streams.decoding.fields import Field
from streams.document import Reason, Rejection

MOST_MESSAGES: Final = 256
"""Where the turns of a chat begin is found by rendering its beginnings, each of them: twice as many cost four times."""
TOOLS: Final = ("tool", "function")
CALLS: Final = ("tool_calls", "function_call")
NO_TEXT: Final = ("refusal", "audio")
# A system's turn may say nothing: so a template's own first words are left out.
MAY_BE_EMPTY: Final = frozenset({"system", "developer"})


class _Refused(Exception):
    """Why a message is none."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection: Rejection = reason, detail


def read_chat(value: object, field: Field) -> Chat | Rejection:
    """A field's value as a chat. Of what was said nothing stands in the particulars of a rejection.

    Args:
        value: what the field holds.
        field: which one.
    """
    if not isinstance(value, list):
        return field_values.wrong(field, value, "a list of messages")
    if not value:
        return Reason.NO_MESSAGES, f"field {field.name} is an empty list"
    if len(value) > MOST_MESSAGES:
        return Reason.TOO_LARGE, f"{len(value)} messages; {MOST_MESSAGES} are the most"
    try:
        messages = list(_messages(value, field.name))
    except _Refused as refused:
        return refused.rejection
    if all(message.role != ASSISTANT for message in messages):
        return Reason.NO_ASSISTANT_TURN, f"field {field.name} has no message of the role {ASSISTANT} to learn from"
    return join(messages)


def _messages(values: list[Any], name: str) -> Iterator[Message]:
    for number, value in enumerate(values):
        place = f"{name}.{number}"
        if not isinstance(value, dict):
            raise _Refused(Reason.WRONG_TYPE, f"{place} is {field_values.type_name(value)}, not an object")
        role = value.get("role")
        if role in TOOLS or any(value.get(call) for call in CALLS):
            raise _Refused(Reason.TOOL_CALLS, f"{place} calls a tool, or is a tool's answer: chats are texts alone")
        if role not in ROLES:
            raise _Refused(Reason.UNKNOWN_ROLE, f"{place}.role is none of {', '.join(ROLES)}")
        content = _content(value, place)
        if not content.strip() and role not in MAY_BE_EMPTY:
            raise _Refused(Reason.EMPTY_TURN, f"{place} says nothing")
        yield Message(role, content)


def _content(message: dict[str, Any], place: str) -> str:
    for name in NO_TEXT:
        if message.get(name):
            raise _Refused(Reason.NOT_TEXT, f"{place} has {name}: chats are texts alone")
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        # Without anything between them, as in serving and in the templates of most models.
        return "".join(_part(part, f"{place}.content.{at}") for at, part in enumerate(content))
    raise _Refused(Reason.WRONG_TYPE, f"{place}.content is {field_values.type_name(content)}, not a text")


def _part(part: object, place: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise _Refused(Reason.NOT_TEXT, f'{place} is no {{"type": "text"}}: chats are texts alone')
    text = part.get("text")
    if not isinstance(text, str):
        raise _Refused(Reason.WRONG_TYPE, f"{place}.text is {field_values.type_name(text)}, not a text")
    return text
