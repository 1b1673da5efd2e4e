"""What is built from a checkout holds all that runs and nothing else, and runs where there is no checkout."""

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS: Final = ("streams", "memory", "checkpoints", "learner", "gate", "serving", "daemon", "deploy")
BESIDE: Final = ("pyproject.toml", "DESCRIPTION.md", "LICENSE")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built as pip does it, of a copy: building leaves its traces."""
    home = tmp_path_factory.mktemp("built")
    source = home / "source"
    source.mkdir()
    for name in ROOMS:
        # Links among them as they are: what is built must hold what they lead to.
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
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
    assert told.description == (ROOT / "DESCRIPTION.md").read_text()
    assert "riverkeep = daemon.cli.main:main" in commands


def test_what_it_says_of_itself_leads_to_nothing_in_a_checkout() -> None:
    """Where an index shows it there is none: no picture and no link. It begins as the README does."""
    text = (ROOT / "DESCRIPTION.md").read_text()
    assert text.startswith("\n\n".join((ROOT / "README.md").read_text().split("\n\n")[:2]))
    assert "](" not in text


def test_an_index_would_take_both_and_show_what_they_say(built: tuple[Path, Path]) -> None:
    """By its own tool, strictly: what it warns of is refused."""
    twine = Path(sys.executable).with_name("twine")
    checked = subprocess.run(
        [str(twine), "check", "--strict", *map(str, built)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == 2


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
    run("-m", "daemon", "deploy", "print", "--into", "deployed")
    for name in (name for name in kept() if name.startswith("deploy/")):
        assert (tmp_path / "deployed" / name.removeprefix("deploy/")).read_bytes() == (ROOT / name).read_bytes()


def brought(requirements: Iterable[str]) -> set[str]:
    """The distributions that pip brings for these requirements, by their names, as far as this environment has them."""
    found: set[str] = set()
    pending = [(Requirement(each), "") for each in requirements]
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in requirement.extras if name in found else {"", *requirement.extras}:
            found.add(name)
            with suppress(PackageNotFoundError):
                pending += [(Requirement(each), wanted) for each in distribution(name).requires or ()]
    return found


def imports() -> Iterator[tuple[str, str]]:
    """Each file of the rooms with each package of others that it imports, wherever it does."""
    own = {*ROOMS, *sys.stdlib_module_names}
    for name in sorted(name for name in kept() if name.endswith(".py") and not name.startswith("deploy/")):
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((name, top) for top in (module.partition(".")[0] for module in modules) if top not in own)


WITH_EXTRAS: Final = {
    "daemon/assistants/server.py": "assistants",
    "daemon/demo/broker.py": "demo",
    "learner/weights/adapter.py": "adapters",
    "learner/weights/four_bits.py": "four-bits",
    "serving/engine/grammar.py": "structured",
    "serving/tracing/open_telemetry.py": "otel",
    "streams/files/parquet.py": "parquet",
    "streams/registry/protobuf_messages.py": "registry",
    "streams/registry/protobuf_schemas.py": "registry",
    "streams/registry/schemas.py": "registry",
}
"""The files that may import what an extra brings."""
CALLED_OTHERWISE: Final = {
    "kafka": "kafka-python",
    "snappy": "python-snappy",
    "google": "protobuf",
    "opentelemetry": "opentelemetry-sdk",
    "yaml": "pyyaml",
}
"""Packages whose distributions do not bear their names."""


def test_what_it_imports_is_installed_with_it() -> None:
    """Else commands of a fresh installation end in a ModuleNotFoundError: `riverkeep demo` with its extra too."""
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    plain = brought(PROJECT["dependencies"])
    used: set[str] = set()
    for name, package in imports():
        distributed = canonicalize_name(CALLED_OTHERWISE.get(package, package))
        if distributed not in plain:
            extra = WITH_EXTRAS.get(name)
            assert extra is not None, f"{name} imports {package}, which no dependency brings"
            assert distributed in brought(extras[extra]), f"{name}: the extra {extra} does not bring {package}"
            used.add(name)
    assert used == WITH_EXTRAS.keys()
