"""The tutorial as a newcomer follows it: its own commands in their order, in one shell, on a real broker."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.brokers import free_port
from tests.unproven import CURL, program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = "@@@@ block"


def blocks() -> Iterator[tuple[str, list[str]]]:
    """Each block of commands, with the lines that the page shows of its output."""
    found = BLOCK.findall(PAGE)
    for at, (language, text) in enumerate(found):
        if language == "sh":
            shown = found[at + 1][1].splitlines() if at + 1 < len(found) and found[at + 1][0] == "text" else []
            yield text, shown


def script() -> str:
    """All of them, a mark before each; whatever is left when one fails is ended."""
    parts = [f"echo '{MARK}'\n{commands}" for commands, _ in blocks()]
    return "\n".join(["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *parts])


def run(text: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a script to its end: its status and what it printed; whatever it started is asked to end with it."""
    shell = subprocess.Popen(
        [shutil.which("bash") or "bash", "-c", text],
        cwd=ROOT,
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


def test_the_page_has_nothing_but_commands_and_what_they_print() -> None:
    """No block of another kind, which nothing would run."""
    assert {language for language, _ in BLOCK.findall(PAGE)} == {"sh", "text"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_tutorial_works_and_prints_what_is_shown(tmp_path: Path) -> None:
    """From the checkout to a round that was accepted, and back; only ports and the home are others."""
    program("curl", CURL)
    ports = {default: str(free_port()) for default in ("9092", "8400", "8710")}
    text = script()
    for default, port in ports.items():
        text = text.replace(f":{default}", f":{port}")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
        "RIVERKEEP_SERVING__PORT": ports["8400"],
        "RIVERKEEP_ADMIN__PORT": ports["8710"],
    }
    status, output, errors = run(text, environment)
    log = tmp_path / "river" / "riverkeep.log"
    assert status == 0, output[-4_000:] + errors[-3_000:] + (log.read_text()[-3_000:] if log.exists() else "")
    printed = [" ".join(part.split()) for part in output.split(MARK)[1:]]
    for default, port in ports.items():
        printed = [part.replace(f":{port}", f":{default}") for part in printed]
    for (commands, shown), told in zip(blocks(), printed, strict=True):
        missing = [line for line in shown if " ".join(line.split()) not in told]
        assert not missing, f"{commands}\nprinted\n{told}"
