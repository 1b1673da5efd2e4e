"""A chat's messages as clients write them: texts are taken, and whatever else there may be is named."""

from collections.abc import Mapping
from typing import Any, Final

from serving.answers.fields import refuse
from serving.errors import RequestError
from streams.chats import ROLES, Message

LONGEST_ECHO: Final = 64
TEXT_PART: Final = '{"type": "text", "text": "…"}'
# Fields that clients send along, and that change nothing of what was said.
PASSED_OVER: Final = frozenset({"name", "annotations", "id", "cache_control"})
WITHOUT: Final[Mapping[str, str]] = {
    "tool_calls": "calls of tools are not supported here",
    "function_call": "calls of functions are not supported here",
    "refusal": "refusals are not supported here; say what was said as content",
    "audio": "the model reads text only",
}


def read_messages(value: object) -> list[Message]:
    """The messages of a request.

    Raises:
        RequestError: something in them is no text, or is not as it should be; names the place, `messages.2.content.1`.
    """
    if not isinstance(value, list) or not value:
        refuse("messages", "a list of messages is needed, each with its role and content")
    return [_message(f"messages.{number}", message) for number, message in enumerate(value)]


def _message(place: str, value: object) -> Message:
    if not isinstance(value, dict):
        refuse(place, 'a message is an object: {"role": "user", "content": "…"}')
    role = _role(f"{place}.role", value.get("role"))
    for name, field in value.items():
        # Clients send an assistant's turn back as they got it, with empty fields for what it did not use.
        if name not in ("role", "content") and name not in PASSED_OVER and field not in (None, [], {}, ""):
            refuse(f"{place}.{name[:LONGEST_ECHO]}", WITHOUT.get(name, "not supported here; leave it out"))
    return Message(role, _content(f"{place}.content", value))


def _role(place: str, value: object) -> str:
    if value in ("tool", "function"):
        refuse(place, f"calls of tools are not supported here, and so no messages of the role {value}")
    if not isinstance(value, str) or value not in ROLES:
        refuse(place, f"{_shorten(value)} is none of {', '.join(ROLES)}")
    return value


def _content(place: str, message: Mapping[str, Any]) -> str:
    value = message.get("content")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        # Without anything between them, as the templates of most models write parts.
        return "".join(_part(f"{place}.{number}", part) for number, part in enumerate(value))
    if value is None or value == []:
        what = "is empty" if value == [] else "is null" if "content" in message else "is missing"
        raise RequestError(f"{place} {what}: a message needs a text", param=place)
    raise RequestError(f"{place}: a text is needed, or a list of {TEXT_PART}", param=place)


def _part(place: str, value: object) -> str:
    if not isinstance(value, dict):
        refuse(place, f"a part is an object: {TEXT_PART}")
    kind = value.get("type")
    if kind != "text":
        problem = "a part needs its type" if kind is None else f"parts of type {_shorten(kind)} are not supported here"
        refuse(place, f"{problem}: the model reads text only, {TEXT_PART}")
    text = value.get("text")
    if not isinstance(text, str):
        refuse(f"{place}.text", "a text is needed")
    return text


def _shorten(value: object) -> str:
    return value[:LONGEST_ECHO] if isinstance(value, str) else "null" if value is None else f"a {type(value).__name__}"
