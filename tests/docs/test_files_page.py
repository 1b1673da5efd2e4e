"""The page of files and formats is the code's, and tells of everything that a service leaves behind."""

import re
import shutil
import subprocess
from pathlib import Path

from checkpoints.generation_store import GenerationStore
from daemon.lifecycle.lock import StateLock
from tests.docs.files_page import (
    DEAD_LETTER_HEADERS,
    GENERATION,
    ROUND,
    STATE_DIRECTORY,
    TYPES,
    fields_of,
    headers_sent,
    in_words,
    page,
)
from tests.docs.json_page import meanings
from tests.docs.test_docs import ROOT
from tests.unit.daemon.rooms import world

PAGE = ROOT / "docs" / "files.md"
NUMBERED = re.compile(r"(?:checkpoints/generations|rounds)/\d{6}/")


def untold(state: Path) -> list[str]:
    """The files of a state directory that the page does not tell of; generations and rounds by their own tables."""
    found = []
    for path in sorted(each for each in state.rglob("*") if not each.is_dir()):
        name = path.relative_to(state).as_posix()
        below = NUMBERED.match(name)
        tables = {"c": GENERATION, "r": ROUND}
        kept = STATE_DIRECTORY if below is None else tables[name[0]]
        if not any(each.matches(name if below is None else name[below.end() :]) for each in kept):
            found.append(name)
    return found


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.files_page > docs/files.md"


def test_each_key_of_each_file_is_told_of() -> None:
    """None is empty, and no words are left of one that was renamed."""
    for kind in (kind for each in TYPES.values() for kind in each):
        told = list(fields_of(kind))
        assert [name for name, _, what in told if not what] == [], kind.__name__
        assert meanings(kind).keys() <= {name for name, _, _ in told}, kind.__name__


def test_types_are_told_in_the_words_of_json() -> None:
    """Nothing of Python's."""
    assert in_words(dict[str, tuple[int, ...] | None]) == "object of list of whole number or null"
    assert in_words(tuple[str, float | None]) == "array of text, number or null"


def test_it_tells_of_what_rounds_and_generations_leave_behind(tmp_path: Path) -> None:
    """By the daemon's own code: what is new there has to be told."""
    with world(tmp_path) as here, StateLock(here.settings.state_dir, now=0.0):
        here.run("good")
        here.feed(seed=5)
        here.run("doubtful")
        state = here.settings.state_dir
        # The model that the base was imported from lies there too in this test.
        shutil.rmtree(state / "model")
        assert untold(state) == []
        names = {path.relative_to(state).as_posix() for path in state.rglob("*")}
        assert {"rounds/000001/round.json", "rounds/000001/draw.json", "checkpoints/serving.json", "lock"} <= names
        (state / "rounds" / "000001" / "more.json").touch()
        assert untold(state) == ["rounds/000001/more.json"]


def test_a_shell_makes_the_digest_of_a_generation(tmp_path: Path) -> None:
    """With the command of the page."""
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with world(tmp_path) as here:
        store = GenerationStore(here.settings.checkpoints_dir)
        made = subprocess.run(
            ["bash", "-c", command], cwd=store.path(0), capture_output=True, text=True, timeout=60, check=True
        )
        assert made.stdout.split()[0] == store.digest(0)


def test_a_backup_holds_what_the_page_says() -> None:
    """As the commands of the operations page copy it."""
    _, _, section = (ROOT / "docs" / "operations.md").read_text().partition("## Backup")
    (script,) = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    loops = [name for names in re.findall(r"^for name in (.*); do$", script, re.MULTILINE) for name in names.split()]
    copied = {*loops, "generations", "riverkeep.db"}
    assert all(f"/{name}" in script for name in ("generations", "riverkeep.db"))
    kept = {
        next((name for name in copied if name in each.name.split("/")), each.name)
        for each in STATE_DIRECTORY
        if each.backed_up
    }
    assert kept == copied
    assert not any(set(each.name.split("/")) & copied for each in STATE_DIRECTORY if not each.backed_up)


def test_the_headers_of_dead_letters_are_those_that_are_sent() -> None:
    """In their order."""
    assert headers_sent() == list(DEAD_LETTER_HEADERS)
