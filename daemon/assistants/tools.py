"""Which operations assistants get as tools: facts without text from the stream, and changes that can be taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Final

from daemon.control.operations import BY_NAME, Operation
from daemon.control.reading import check_arguments
from daemon.errors import BadRequest

FACTS: Final = (
    "status", "rounds", "round", "explain_round", "generations", "generation", "diff_generations", "serving", "latency",
    "memory", "next_draw", "streams", "gaps", "trace", "audit",
)  # fmt: skip
"""None tells what documents say: whoever writes to a topic could speak to an assistant that reads it.

Labels, sources and particulars that records brought are withheld from what these answer (`withheld.py`).
"""
CHANGES: Final = (
    "request_round", "approve_round", "cancel_rounds", "pause_rounds", "resume_rounds", "rollback",
    "promote_canary", "take_back_canary",
)  # fmt: skip
"""None erases anything: to reject a round erases its text, and is left to people."""
WITHHELD: Final = "text"
"""The argument by which operations give text as well."""
CONFIRMATION: Final = "confirmation"


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """An operation as an assistant sees it.

    Attributes:
        operation: what is asked for.
        description: for the assistant.
        schema: of its arguments, JSON Schema.
    """

    operation: Operation
    description: str
    schema: Mapping[str, Any]


def offered(*, changes: bool) -> dict[str, OfferedTool]:
    """The tools by name.

    Args:
        changes: whether those that change something are among them.
    """
    return {name: _tool(BY_NAME[name]) for name in (*FACTS, *(CHANGES if changes else ()))}


def _tool(operation: Operation) -> OfferedTool:
    schema = operation.arguments.model_json_schema()
    properties = {name: value for name, value in schema.get("properties", {}).items() if name != WITHHELD}
    description = cleandoc(operation.ask.__doc__ or "").split("\n\n", maxsplit=1)[0]
    if operation.writes:
        properties[CONFIRMATION] = {"type": "string", "description": "The code that the first call gave."}
        description += (
            " Changes something: the first call says what would be done and gives a code; ask the person, and only on "
            "their word call again with the same arguments and the code."
        )
    told = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := schema.get("required"):
        told["required"] = required
    return OfferedTool(operation, description, told)


def call_of(tool: OfferedTool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the control's method.

    Args:
        tool: what is asked for.
        arguments: as the assistant gives them, without a confirmation.

    Raises:
        BadRequest: there is no such argument, or not with such a value.
    """
    if WITHHELD in arguments:
        raise BadRequest(f"{WITHHELD}: assistants are given no text of documents; `riverkeep trace --text` shows it.")
    return check_arguments(tool.operation.arguments, dict(arguments)).call()
