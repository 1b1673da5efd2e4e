"""A chat's messages as clients write them: texts are taken, and whatever else there may be is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from serving.answers.fields import refuse, require_shallow
from serving.answers.tool_calls import ToolCall
from serving.errors import RequestError
from streams.chats import ASSISTANT, ROLES, Message

LONGEST_ECHO: Final = 64
TOOL: Final = "tool"
CALL: Final = '{"id": "…", "type": "function", "function": {"name": "…", "arguments": "{…}"}}'
OF_ROLES: Final[Mapping[str, tuple[str, ...]]] = {ASSISTANT: ("tool_calls",), TOOL: ("tool_call_id",)}
TEXT_PART: Final = '{"type": "text", "text": "…"}'
# Fields that clients send along, and that change nothing of what was said.
PASSED_OVER: Final = frozenset({"name", "annotations", "id", "cache_control"})
WITHOUT: Final[Mapping[str, str]] = {
    "tool_calls": "only an assistant calls tools",
    "tool_call_id": "only a message of the role tool has it",
    "function_call": "calls are written as tool_calls here",
    "refusal": "refusals are not supported here; say what was said as content",
    "audio": "the model reads text only",
}


@dataclass(frozen=True, slots=True)
class ToolTurn(Message):
    """A turn that calls tools, or that gives back what one of them found.

    Attributes:
        calls: of the assistant.
        answers: the id of the call that it answers; empty for a call.
    """

    calls: tuple[ToolCall, ...] = ()
    answers: str = ""


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
    taken = {"role", "content", *OF_ROLES.get(role, ())} | PASSED_OVER
    for name, field in value.items():
        # Clients send an assistant's turn back as they got it, with empty fields for what it did not use.
        if name not in taken and field not in (None, [], {}, ""):
            refuse(f"{place}.{name[:LONGEST_ECHO]}", WITHOUT.get(name, "not supported here; leave it out"))
    if role == TOOL:
        return ToolTurn(role, _content(f"{place}.content", value), answers=_answered(place, value))
    if calls := value.get("tool_calls"):
        # What is said beside a call may be nothing.
        content = _content(f"{place}.content", value) if value.get("content") else ""
        return ToolTurn(role, content, calls=_calls(f"{place}.tool_calls", calls))
    return Message(role, _content(f"{place}.content", value))


def _answered(place: str, message: Mapping[str, Any]) -> str:
    value = message.get("tool_call_id")
    if not isinstance(value, str) or not value:
        refuse(f"{place}.tool_call_id", "the id of the call that this answers is needed")
    return value


def _calls(place: str, value: object) -> tuple[ToolCall, ...]:
    if not isinstance(value, list):
        refuse(place, f"a list of calls is needed, each {CALL}")
    return tuple(_call(f"{place}.{number}", each) for number, each in enumerate(value))


def _call(place: str, value: object) -> ToolCall:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("type", "function") != "function" or not isinstance(function, dict):
        refuse(place, f"a call is an object: {CALL}")
    identity, name, arguments = value.get("id"), function.get("name"), function.get("arguments")
    if not isinstance(identity, str) or not isinstance(name, str) or not name:
        refuse(place, f"a call has an id and a name: {CALL}")
    return ToolCall(identity, name, _arguments(f"{place}.function.arguments", arguments))


def _arguments(place: str, text: object) -> str:
    try:
        value = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(text, str) or not isinstance(value, dict):
        refuse(place, "a JSON object is needed, written as a text")
    require_shallow(place, value)
    return text


def _role(place: str, value: object) -> str:
    if value == "function":
        refuse(place, "what a tool found is said by the role tool")
    if value == TOOL:
        return TOOL
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
