"""What the Makefile does where something is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unproven import MAKE, program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what `make kafka` reads, with programs named java and mvn of the test's own."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "tests/kafka/libs").mkdir(parents=True)
    shutil.copy(ROOT / "tests/kafka/pom.xml", tmp_path / "tests/kafka")
    (tmp_path / "bin").mkdir()
    return tmp_path


def make_kafka(checkout: Path, **programs: str) -> "subprocess.CompletedProcess[str]":
    """Run `make kafka` where only these programs are, and what a shell needs."""
    for name, body in programs.items():
        path = checkout / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    for name in ("sh", "touch"):
        (checkout / "bin" / name).symlink_to(shutil.which(name) or name)
    return subprocess.run(
        [program("make", MAKE), "SHELL=/bin/sh", "kafka"],
        cwd=checkout,
        env={"PATH": str(checkout / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "programs",
    [{}, {"java": ":"}, {"java": ":", "mvn": "echo no network >&2; exit 1"}],
    ids=["neither", "no Maven", "no network"],
)
def test_without_apache_kafka_the_tests_go_on(checkout: Path, programs: dict[str, str]) -> None:
    """Said, not failed; and tried again the next time."""
    run = make_kafka(checkout, **programs)
    assert run.returncode == 0, run.stderr
    assert "the tests run on the embedded broker only" in run.stdout
    assert not (checkout / "tests/kafka/libs/.complete").exists()


def test_what_maven_fetched_is_noted(checkout: Path) -> None:
    """So that the next run fetches nothing."""
    assert make_kafka(checkout, java=":", mvn=":").returncode == 0
    assert (checkout / "tests/kafka/libs/.complete").exists()


RECORDS = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/../../asked"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A checkout whose environment holds programs that only write down what they are asked."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "riverkeep", "ruff", "mypy", "lint-imports"):
        path = tmp_path / ".venv" / "bin" / name
        path.write_text(RECORDS)
        path.chmod(0o755)
    return tmp_path


def asked_by(environment: Path, target: str) -> list[str]:
    """What a target asks of them."""
    (environment / "asked").unlink(missing_ok=True)
    subprocess.run([program("make", MAKE), target], cwd=environment, check=True, capture_output=True)
    return (environment / "asked").read_text().splitlines()


def test_the_demo_installs_what_it_needs_alone_and_once(environment: Path) -> None:
    """Not the tools for tests; and a second run begins at once."""
    first, second = asked_by(environment, "demo"), asked_by(environment, "demo")
    assert [line.split()[-1] for line in first if "pip install" in line] == [".[demo]"]
    assert second == ["demo"]


def test_who_has_the_tools_for_tests_has_what_the_demo_needs(environment: Path) -> None:
    """Nothing is installed twice."""
    assert any(".[test,lint]" in line for line in asked_by(environment, "check"))
    assert asked_by(environment, "demo") == ["demo"]
