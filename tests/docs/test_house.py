"""The plan of the house: small folders, files and functions, one class a name, and a contract for each sub-room."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("streams", "memory", "checkpoints", "learner", "gate", "serving", "daemon")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MOST_FILES, MOST_LINES, LONGEST_FUNCTION = 20, 400, 60


def name_of(path: Path) -> str:
    """A file as the repository names it."""
    return str(path.relative_to(ROOT))


def test_no_folder_has_more_files_than_a_person_can_survey() -> None:
    """A room that grows beyond that gets sub-rooms."""
    folders: dict[Path, int] = defaultdict(int)
    for path in FILES:
        folders[path.parent] += 1
    assert {name_of(folder): files for folder, files in folders.items() if files > MOST_FILES} == {}


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    """What grows beyond that decides more than one thing."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def functions() -> Iterator[tuple[str, int]]:
    """Each function of the product with its length in lines."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                assert node.end_lineno is not None
                yield f"{name_of(path)}::{node.name}", node.end_lineno - node.lineno + 1


def test_each_function_can_be_seen_whole() -> None:
    """With its docstring."""
    assert {name: lines for name, lines in functions() if lines > LONGEST_FUNCTION} == {}


def test_no_two_public_classes_share_a_name() -> None:
    """One word for one thing: whoever reads a name need not ask which of them is meant."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def sub_rooms() -> list[str]:
    """The folders within the rooms, as modules."""
    folders = {path.parent for path in FILES} - {ROOT / room for room in ROOMS}
    return sorted(name_of(folder).replace("/", ".") for folder in folders)


def contracted() -> set[str]:
    """The modules whose place among their neighbours a contract fixes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    found: set[str] = set()
    for contract in contracts:
        found |= set(contract.get("source_modules", ()))
        for container in contract.get("containers", ()):
            layers = (part.strip() for layer in contract["layers"] for part in layer.split("|"))
            found |= {f"{container}.{part}" for part in layers}
    return found


@pytest.mark.parametrize("room", sub_rooms())
def test_each_sub_room_says_what_is_decided_there_and_has_a_contract(room: str) -> None:
    """In its `__init__.py`, and in `pyproject.toml`."""
    said = ast.get_docstring(TREES[ROOT / room.replace(".", "/") / "__init__.py"]) or ""
    assert said.endswith(".")
    assert len(said.split()) > 5
    assert room in contracted()


@pytest.mark.parametrize("room", [*ROOMS, *(room for room in sub_rooms() if room.count(".") == 1)])
def test_the_contributors_page_shows_each_room(room: str) -> None:
    """A newcomer finds it there by its name."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = f"`{room}/`" if "." not in room else f"`{room.partition('.')[2]}`"
    assert shown in page
    if "." in room:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{room.partition('.')[0]}/`"))
        assert shown in row


NAMED = re.compile(rf"`(?:python -m )?((?:{'|'.join(ROOMS)})(?:\.[A-Za-z_0-9]+)+)[`( ]")


def names_in_strings() -> Iterator[tuple[str, str]]:
    """What the product's texts name as a module or as something in one.

    Settings are named alike, by tables that bear the names of rooms; `daemon` is no table.
    """
    for path in FILES:
        for found in NAMED.finditer(path.read_text(encoding="utf-8")):
            first, second = found[1].split(".")[:2]
            place = ROOT / first / second
            if first == "daemon" or place.is_dir() or place.with_suffix(".py").is_file():
                yield name_of(path), found[1]


def is_there(dotted: str) -> bool:
    """Whether a module is, or defines, what is named."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        file = ROOT.joinpath(*parts[:length]).with_suffix(".py")
        if file in TREES:
            rest = parts[length:]
            defined = {getattr(node, "name", "") for node in ast.walk(TREES[file])}
            return not rest or rest[0] in defined
    return ROOT.joinpath(*parts) / "__init__.py" in TREES


def test_what_texts_name_is_there() -> None:
    """A file that moves takes the sentences along that send a reader to it."""
    assert [(where, name) for where, name in names_in_strings() if not is_there(name)] == []
