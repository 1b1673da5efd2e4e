"""The tutorial as a newcomer follows it: its own commands in their order, in one shell, on a real broker."""

import os
import sys
from pathlib import Path

import pytest

from tests.brokers import free_port
from tests.tutorials import command_blocks, follow, languages
from tests.unproven import CURL, program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def test_the_page_has_nothing_but_commands_and_what_they_print() -> None:
    """No block of another kind, which nothing would run."""
    assert languages(PAGE) == {"sh", "text"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_tutorial_works_and_prints_what_is_shown(tmp_path: Path) -> None:
    """From the checkout to a round that was accepted, and back; only ports and the home are others."""
    program("curl", CURL)
    ports = {default: str(free_port()) for default in ("9092", "8400", "8710")}
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
    elsewhere = {f":{default}": f":{port}" for default, port in ports.items()}
    log = tmp_path / "river" / "riverkeep.log"
    follow(list(command_blocks(PAGE)), cwd=ROOT, environment=environment, elsewhere=elsewhere, log=log)
