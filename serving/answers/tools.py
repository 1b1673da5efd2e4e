"""The tools that a model may call: `tools` and `tool_choice` of a chat."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from serving.answers.fields import refuse, require_shallow
from serving.answers.json_schemas import holdable

MOST_TOOLS: Final = 128
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
FUNCTION: Final = '{"type": "function", "function": {"name": "…", "description": "…", "parameters": {…}}}'
HELD: Final = frozenset({"name", "description", "parameters", "strict"})


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: by which it is called.
        described: as the client described it, which the model's chat template writes.
        parameters: JSON schema of its arguments.
    """

    name: str
    described: dict[str, Any]
    parameters: Any


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """That a tool is called.

    Attributes:
        name: which; None: any of them.
    """

    name: str | None = None


def read_tools(value: object) -> tuple[Tool, ...]:
    """The tools of a request.

    Raises:
        RequestError: one of them is none; names the place.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        refuse("tools", f"a list of up to {MOST_TOOLS} tools is needed, each {FUNCTION}")
    tools = tuple(_tool(f"tools.{number}", each) for number, each in enumerate(value))
    names = [tool.name for tool in tools]
    for number, name in enumerate(names):
        if name in names[:number]:
            refuse(f"tools.{number}.function.name", "another tool has this name")
    return tools


def _tool(place: str, value: object) -> Tool:
    if not isinstance(value, dict) or value.get("type") != "function" or not isinstance(value.get("function"), dict):
        refuse(place, f"a tool is a function: {FUNCTION}")
    function = value["function"]
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        refuse(f"{place}.function.name", "1 to 64 letters, digits, _, - or . are needed")
    if unknown := [each for each in function if each not in HELD]:
        refuse(f"{place}.function.{unknown[0][:64]}", "this is no part of a tool here; leave it out")
    if not isinstance(function.get("description") or "", str):
        refuse(f"{place}.function.description", "a text is needed")
    require_shallow(f"{place}.function.parameters", parameters)
    if parameters is not None and not isinstance(parameters, dict):
        refuse(f"{place}.function.parameters", "a schema is an object")
    said = {key: function[key] for key in ("name", "description", "parameters") if function.get(key) is not None}
    return Tool(name, {"type": "function", "function": said}, parameters or {"type": "object", "properties": {}})


def read_choice(value: object) -> ForcedCall | str | None:
    """`tool_choice`: "none", "auto", or a call that is to be made; None where the request is silent.

    Raises:
        RequestError: it is none of them.
    """
    if value is None or value in ("none", "auto"):
        return value if isinstance(value, str) else None
    if value == "required":
        return ForcedCall()
    function = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        named = '{"type": "function", "function": {"name": "…"}}'
        refuse("tool_choice", f'"none", "auto", "required" or {named} is needed')
    return ForcedCall(name)


def call_schema(tools: Sequence[Tool], forced: ForcedCall) -> str:
    """The schema of a call that is to be made, as JSON.

    Raises:
        RequestError: there is no such tool, or its arguments cannot be held to its parameters.
    """
    chosen = [number for number, tool in enumerate(tools) if forced.name in (None, tool.name)]
    if not chosen:
        refuse("tool_choice", "no tool has this name" if tools else "there are no tools to choose from")
    calls = [_call(tools[number], f"tools.{number}.function.parameters") for number in chosen]
    return orjson.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls}).decode()


def _call(tool: Tool, place: str) -> dict[str, Any]:
    held = holdable(tool.parameters, place)
    if _refers(held):
        refuse(
            place,
            "arguments of a call that has to be made cannot be held to $ref; write out what it refers to",
        )
    return {
        "type": "object",
        "properties": {"name": {"enum": [tool.name]}, "arguments": held},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _refers(held: object) -> bool:
    """Whether a schema refers to places in itself, which lie elsewhere once it is a part of another."""
    if isinstance(held, dict):
        return isinstance(held.get("$ref"), str) or any(_refers(each) for each in held.values())
    return isinstance(held, list) and any(_refers(each) for each in held)
