"""A server of the Model Context Protocol on standard input and output: tools are asked of whoever answers commands."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

from checkpoints.errors import CheckpointsError
from daemon.assistants.confirmations import Confirmations
from daemon.assistants.tools import CONFIRMATION, OfferedTool, call_of, offered
from daemon.assistants.withheld import peoples_names, withhold
from daemon.control.operations import Operation
from daemon.control.protocol import Control
from daemon.errors import DaemonError
from daemon.settings.tree import Settings
from memory.errors import StoreError

Reach = Callable[[Operation], AbstractContextManager[Control]]
"""Who answers to an operation: the daemon where one runs, else the store."""
TOLD: Final = (DaemonError, StoreError, CheckpointsError)
"""What says by itself what is wrong, and to what."""
INSTRUCTIONS: Final = (
    "Riverkeep keeps a language model current with live text: it trains in rounds, a gate accepts or refuses what "
    "comes out, and what it accepts serves as a generation. Begin with `status`; `explain_round` says why a round "
    "ended as it did. Losses are in nats per token, lower is better; forgetting above 0 is bad."
)


class AssistantTools:
    """Answers to calls of tools.

    Args:
        reach: who answers.
        settings: whose names may be told.
        changes: whether tools that change something are offered.
    """

    def __init__(self, reach: Reach, settings: Callable[[], Settings], *, changes: bool) -> None:
        self._reach = reach
        self._settings = settings
        self._tools = offered(changes=changes)
        self._confirmations = Confirmations()

    def server(self) -> Server[dict[str, Any]]:
        """The protocol's side of it."""
        return Server(
            "riverkeep",
            version=version("riverkeep"),
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(self, _: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(name, tool) for name, tool in self._tools.items()])

    async def _call(self, _: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        return await anyio.to_thread.run_sync(self.answer, asked.name, asked.arguments or {})

    def answer(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """What is answered to a call. Blocks."""
        tool = self._tools.get(name)
        if tool is None:
            return _refused(f"There is no tool {name[:100]}; there are: {', '.join(self._tools)}.")
        given = {key: value for key, value in arguments.items() if key != CONFIRMATION}
        try:
            call = call_of(tool, given)
            if tool.operation.writes and (why := self._unconfirmed(name, tool, given, arguments.get(CONFIRMATION))):
                return _said(why)
            with self._reach(tool.operation) as control:
                return _said(json.dumps(self._fit_to_tell(control, tool.operation, call), ensure_ascii=False))
        except TOLD as error:
            return _refused(str(error))

    def _fit_to_tell(self, control: Control, operation: Operation, call: Mapping[str, Any]) -> Any:
        """What is answered, without what records say of themselves."""
        answer = operation.answer(control, call)
        kept: Any = {}
        # How things stand is told also where the memory cannot be used.
        with suppress(*TOLD):
            kept = control.memory()
        return withhold(answer, peoples_names(self._settings()), kept)

    def _unconfirmed(self, name: str, tool: OfferedTool, given: Mapping[str, Any], code: object) -> str:
        """What is to be confirmed first; empty where it is."""
        if isinstance(code, str) and self._confirmations.take(code, name, given):
            return ""
        why = "" if code is None else "That code is not for this call, or no longer. "
        does = tool.description.partition(" Changes something:")[0]
        new = self._confirmations.give(name, given)
        return (
            f"{why}Nothing was done yet. {name}({json.dumps(given)}): {does} Tell the person what this does, and ask. "
            f"On their word call it again with the same arguments and {CONFIRMATION} {new!r}, within five minutes."
        )


def _described(name: str, tool: OfferedTool) -> types.Tool:
    return types.Tool(
        name=name,
        description=tool.description,
        input_schema=dict(tool.schema),
        annotations=types.ToolAnnotations(
            read_only_hint=not tool.operation.writes, destructive_hint=False, open_world_hint=False
        ),
    )


def _said(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)])


def _refused(why: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=why)], is_error=True)


def run(reach: Reach, settings: Callable[[], Settings], *, changes: bool) -> None:
    """Answer on standard input and output until the assistant goes.

    Args:
        reach: who answers.
        settings: whose names may be told; read for each answer.
        changes: whether tools that change something are offered.
    """

    async def serve() -> None:
        server = AssistantTools(reach, settings, changes=changes).server()
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)
