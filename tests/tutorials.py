"""Pages whose commands are run as they stand: their blocks in their order, in one shell, and what they print."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARK: Final = "@@@@ block"


@dataclass(frozen=True, slots=True)
class CommandBlock:
    """Commands of a page.

    Attributes:
        commands: as a person pastes them.
        shown: the lines of their output that the page shows.
    """

    commands: str
    shown: Sequence[str]


def languages(page: str) -> set[str]:
    """Of which kinds the blocks of a page are."""
    return {language for language, _ in BLOCK.findall(page)}


def command_blocks(page: str) -> Iterator[CommandBlock]:
    """Each block of commands, with what the block of output behind it shows."""
    found = BLOCK.findall(page)
    for at, (language, text) in enumerate(found):
        if language == "sh":
            shown = found[at + 1][1].splitlines() if at + 1 < len(found) and found[at + 1][0] == "text" else []
            yield CommandBlock(text, shown)


def follow(
    blocks: Sequence[CommandBlock],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    elsewhere: Mapping[str, str],
    log: Path | None = None,
) -> None:
    """Run the blocks in one shell; fails where one fails, or does not print what its page shows.

    Args:
        blocks: of a page.
        cwd: where the shell begins.
        environment: of the shell.
        elsewhere: what stands in the page, and what takes its place here: ports, folders.
        log: whose end is told where a command fails.
    """
    text = _script(blocks)
    for there, here in elsewhere.items():
        text = text.replace(there, here)
    status, output, errors = _run(text, cwd, environment)
    assert status == 0, output[-4_000:] + errors[-3_000:] + (log.read_text()[-3_000:] if log and log.exists() else "")
    for there, here in elsewhere.items():
        output = output.replace(here, there)
    printed = [" ".join(part.split()) for part in output.split(MARK)[1:]]
    for block, told in zip(blocks, printed, strict=True):
        missing = [line for line in block.shown if " ".join(line.split()) not in told]
        assert not missing, f"{block.commands}\nprinted\n{told}\nand not\n{missing}"


def _script(blocks: Sequence[CommandBlock]) -> str:
    """All of them, a mark before each; whatever is left when one fails is ended."""
    parts = [f"echo '{MARK}'\n{block.commands}" for block in blocks]
    return "\n".join(["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *parts])


def _run(text: str, cwd: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a script to its end: its status and what it printed; whatever it started is asked to end with it."""
    shell = subprocess.Popen(
        [shutil.which("bash") or "bash", "-c", text],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = shell.communicate()
        return shell.returncode, output, errors
    finally:
        # Also where this test is given up: the service of its last command would go on for ever.
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
