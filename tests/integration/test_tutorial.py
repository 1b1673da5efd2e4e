"""The tutorial as a newcomer follows it: its own commands in their order, in one shell, on a real broker."""

import os
import sys
from pathlib import Path

import pytest

from tests.brokers import Broker, free_port, make_topic
from tests.tutorials import command_blocks, follow, languages
from tests.unproven import CURL, program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
ON_A_GPU = (ROOT / "docs" / "gpu.md").read_text()
SMALL_MODEL = ROOT / "daemon" / "demo" / "data" / "model"


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


@pytest.mark.slow
def test_the_commands_for_a_gpu_work_with_a_small_model_in_its_place(tmp_path: Path, embedded_broker: Broker) -> None:
    """Settings that are right, and a doctor that finds the topic; what a GPU would show is not shown."""
    make_topic(embedded_broker, name="news")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    elsewhere = {
        "localhost:9092": embedded_broker.bootstrap,
        "/models/llama-3.2-1b": str(SMALL_MODEL),
        "riverkeep doctor": "riverkeep doctor --skip-model",
    }
    follow(list(command_blocks(ON_A_GPU)), cwd=ROOT, environment=environment, elsewhere=elsewhere)
