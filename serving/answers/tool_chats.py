"""Chats with tools as token ids: what they are, which were called, and what they found, by the model's own template."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from learner.errors import UnrenderableChat
from learner.material.chats import system_role
from learner.material.template_forms import render_failure, template_of
from serving.answers.messages import ToolTurn
from serving.answers.tool_calls import CLOSING, OPENING
from serving.answers.tools import Tool
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from streams.chats import Message

PROBE: Final = "xqtoolqx"
MARKED: Final = "xqturn%dqx"


def asks_for_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> bool:
    """Whether a chat has to do with tools."""
    return bool(tools) or any(isinstance(message, ToolTurn) for message in messages)


def tool_chat_prompt(generation: LoadedGeneration, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
    """The token ids of a conversation with tools.

    Raises:
        RequestError: the model has no template that writes tools and reads calls as they are read here, or it leaves
            out a message or fails; or a name within has the words of a control token.
    """
    param = "tools" if tools else _place_of_tools(messages)
    tokenizer: Any = generation.tokenizer
    try:
        template = template_of(tokenizer)
    except UnrenderableChat as error:
        raise RequestError(f"messages: {error}", code="chat_template_failed", param="messages") from None
    if template is None or not _writes_tools(tokenizer, template):
        why = "the model's chat template writes no tools; leave it out"
        raise RequestError(f"{param}: not supported here: {why}", code="unsupported_parameter", param=param)
    if OPENING not in template or OPENING in generation.unshown.values():
        why = f"the model writes calls of tools in another way than {OPENING}…{CLOSING}, the only one that is read"
        raise RequestError(f"{param}: not supported here: {why}", code="unsupported_parameter", param=param)
    turns = [_turn(system_role(message) if not isinstance(message, ToolTurn) else message) for message in messages]
    described = [tool.described for tool in tools]
    _require_plain_keys([described, [_arguments(message) for message in messages]], generation)
    _require_all_shown(tokenizer, template, turns, described)
    return _render(tokenizer, template, turns, described)


def _place_of_tools(messages: Sequence[Message]) -> str:
    return next(
        f"messages.{number}.{'tool_calls' if message.calls else 'role'}"
        for number, message in enumerate(messages)
        if isinstance(message, ToolTurn)
    )


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if isinstance(message, ToolTurn) and message.calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                # As values: templates write them as JSON themselves.
                "function": {"name": call.name, "arguments": orjson.loads(call.arguments)},
            }
            for call in message.calls
        ]
    if isinstance(message, ToolTurn) and message.answers:
        turn["tool_call_id"] = message.answers
    return turn


def _arguments(message: Message) -> list[Any]:
    return [orjson.loads(call.arguments) for call in message.calls] if isinstance(message, ToolTurn) else []


def _require_plain_keys(values: object, generation: LoadedGeneration) -> None:
    # The words of control tokens in values are written as letters; names of fields are written as they are.
    words = [word for word in (*generation.unshown.values(), OPENING, CLOSING) if word]
    for key in _keys(values):
        if any(word in key for word in words):
            why = "a name in parameters or arguments has the words of a control token; name it otherwise"
            raise RequestError(f"tools: {why}", param="tools")


def _keys(values: object) -> Iterator[str]:
    if isinstance(values, dict):
        yield from values
        for each in values.values():
            yield from _keys(each)
    elif isinstance(values, list):
        for each in values:
            yield from _keys(each)


def _require_all_shown(tokenizer: Any, template: str, turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> None:
    """See that the template writes every message: some leave out what they do not know without a word."""
    marked = [{**turn, "content": MARKED % number if turn["content"] else ""} for number, turn in enumerate(turns)]
    written = str(_apply(tokenizer, template, marked, tools, tokenize=False)).casefold()
    for number, turn in enumerate(turns):
        names = [call["function"]["name"].casefold() for call in turn.get("tool_calls", ())]
        if (turn["content"] and MARKED % number not in written) or not all(name in written for name in names):
            why = f"the model's chat template leaves out what the role {turn['role']} says"
            raise RequestError(f"messages.{number}: {why}", code="chat_template_failed", param=f"messages.{number}")


def _render(tokenizer: Any, template: str, turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
    # Else a message could close its own turn and speak as the system.
    return list(_apply(tokenizer, template, turns, tools, tokenize=True, sanitize_control_tokens=True))


def _apply(tokenizer: Any, template: str, turns: list[dict[str, Any]], tools: list[dict[str, Any]], **how: Any) -> Any:
    if how.get("tokenize"):
        how = {**how, "return_dict": False, "tokenizer_kwargs": {"verbose": False}}
    try:
        return tokenizer.apply_chat_template(
            turns, tools=tools or None, chat_template=template, add_generation_prompt=True, **how
        )
    except Exception as error:  # noqa: BLE001 - a template is a program of its author's, and may raise anything
        reason = render_failure(error)
        raise RequestError(f"messages: {reason}", code="chat_template_failed", param="messages") from None


def _writes_tools(tokenizer: Any, template: str) -> bool:
    return _writes(_Asked(tokenizer, template))


class _Asked:
    """A template with a tokenizer that renders it: equal where the template is."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self.tokenizer, self.template = tokenizer, template

    def __hash__(self) -> int:
        return hash(self.template)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.template == self.template


@lru_cache(maxsize=16)
def _writes(asked: _Asked) -> bool:
    """Whether a tool's name comes out of a template that is given it."""
    tool = {"type": "function", "function": {"name": PROBE, "description": PROBE, "parameters": {"type": "object"}}}
    turns = [{"role": "user", "content": "a"}]
    try:
        return PROBE in str(_apply(asked.tokenizer, asked.template, turns, [tool], tokenize=False))
    except RequestError:
        return False
