"""An assistant's client and the command itself, over standard input and output."""

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent

from tests.command_line import riverkeep
from tests.daemon_harness import ROOT
from tests.unit.daemon.kept import Kept

SETTINGS = """\
state_dir = "state"
[model]
path = "model"
[streams]
topics = [{ name = "news", text_field = "body" }]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with two generations, a round that waits, and a record that asks for too much; no daemon."""
    kept = Kept(tmp_path, text_field="body")
    with kept.store:
        kept.base()
        for _ in range(2):
            kept.arrive(40)
            kept.accept()
        kept.arrive(40)
        kept.hold()
    (tmp_path / "riverkeep.toml").write_text(SETTINGS)
    return tmp_path


def connected(home: Path, *options: str, ask: Callable[[Client], Awaitable[None]]) -> None:
    """Let a client ask."""
    words = ["-m", "daemon", "-c", str(home / "riverkeep.toml"), "mcp", *options]
    server = StdioServerParameters(
        command=sys.executable, args=words, cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )

    async def run() -> None:
        async with Client(server) as client:
            await ask(client)

    anyio.run(run)


def words_of(result: CallToolResult) -> str:
    """What was answered."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def facts_of(result: CallToolResult) -> Any:
    """The same, as facts."""
    assert not result.is_error, words_of(result)
    return json.loads(words_of(result))


def test_it_tells_what_the_commands_tell(home: Path) -> None:
    """The same facts; and what is asked wrongly is said, without an end of the connection."""

    async def ask(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
        told = facts_of(await client.call_tool("rounds", {}))
        assert told == json.loads(riverkeep("round", "list", "--json", cwd=home).stdout)
        assert facts_of(await client.call_tool("explain_round", {"number": 3}))
        for name, arguments, words in (
            ("explain_round", {"number": 99}, "99"),
            ("explain_round", {"number": "3"}, "number"),
            ("trace", {"topic": "news", "partition": 0, "offset": 1, "text": True}, "no text"),
            ("forget", {"key": "user-1"}, "no tool"),
            ("rollback", {}, "no tool"),
        ):
            refused = await client.call_tool(name, arguments)
            assert refused.is_error
            assert words in words_of(refused)

    connected(home, ask=ask)


def test_a_change_is_made_on_a_persons_word_alone(home: Path) -> None:
    """At the second call, with the code of the first; then it stands in the audit log."""

    async def ask(client: Client) -> None:
        asked = words_of(await client.call_tool("approve_round", {"number": 3}))
        assert asked.startswith("Nothing was done yet.")
        (code,) = re.findall(r"confirmation '(\w+)'", asked)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "reject_round" not in tools
        other = words_of(await client.call_tool("cancel_rounds", {"confirmation": code}))
        assert "not for this call" in other
        (code,) = re.findall(r"confirmation '(\w+)'", words_of(await client.call_tool("approve_round", {"number": 3})))
        facts_of(await client.call_tool("approve_round", {"number": 3, "confirmation": code}))

    connected(home, "--changes", ask=ask)
    noted = json.loads(riverkeep("audit", "--json", cwd=home).stdout)
    assert [line["what"] for line in noted if line["what"] in ("approve_round", "cancel_rounds")] == ["approve_round"]
