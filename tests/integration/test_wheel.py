"""What is built from a checkout holds all that runs and nothing else, and runs where there is no checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS: Final = ("streams", "memory", "checkpoints", "learner", "gate", "serving", "daemon")
BESIDE: Final = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built as pip does it, of a copy: building leaves its traces."""
    home = tmp_path_factory.mktemp("built")
    source = home / "source"
    source.mkdir()
    for name in ROOMS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, source / name)
    lines = "from setuptools import build_meta as b; b.build_sdist('..'); b.build_wheel('..')"
    made = subprocess.run(
        [sys.executable, "-c", lines], cwd=source, capture_output=True, text=True, timeout=120, check=False
    )
    assert made.returncode == 0, made.stderr
    (wheel,), (sdist,) = home.glob("*.whl"), home.glob("*.tar.gz")
    return wheel, sdist


def kept() -> set[str]:
    """All files of the rooms."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}


def test_it_holds_the_rooms_and_nothing_else(built: tuple[Path, Path]) -> None:
    """A template that is forgotten is missed by who opens that page; a test that comes along is in everybody's way."""
    wheel, sdist = built
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == kept()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert kept() | set(BESIDE) <= names
    assert {name for name in names if name.startswith(("tests", "benchmarks", "docs"))} == set()


def test_what_it_says_of_itself_is_what_the_project_says(built: tuple[Path, Path]) -> None:
    """As an index would read it, strictly."""
    with zipfile.ZipFile(built[0]) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        content = archive.read(name)
        commands = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    told = Metadata.from_email(content, validate=True)
    assert (told.name, str(told.version)) == (PROJECT["name"], PROJECT["version"])
    plain = {requirement.name for requirement in told.requires_dist or () if not _is_extra(requirement)}
    assert plain == {Requirement(each).name for each in PROJECT["dependencies"]}
    assert set(told.provides_extra or ()) == set(PROJECT["optional-dependencies"])
    assert told.description_content_type == "text/markdown"
    assert told.description == (ROOT / "README.md").read_text()
    assert "riverkeep = daemon.cli.main:main" in commands


def _is_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and "extra" in str(requirement.marker)


def test_it_runs_without_a_checkout(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Unpacked elsewhere, with what this environment has of its dependencies."""
    site = tmp_path / "site"
    with zipfile.ZipFile(built[0]) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert str(site) in run("-c", "import daemon; print(daemon.__file__)")
    assert "Usage: riverkeep" in run("-m", "daemon", "--help")
    assert run("-m", "daemon", "config", "schema") == (ROOT / "riverkeep.schema.json").read_text()
    run("-m", "daemon", "init", "--reference")
    assert (tmp_path / "riverkeep.toml").read_text() == (ROOT / "riverkeep.toml").read_text()
