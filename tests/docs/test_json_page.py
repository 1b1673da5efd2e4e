"""What `--json` prints is what docs/json.md says, key by key."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest

from daemon.control.answers.comparisons import ComparisonAnswer, PickTally
from daemon.control.answers.explained import ExplainedRound
from daemon.control.answers.rounds import RoundLine
from daemon.control.answers.status import RefusedSettings, StatusAnswer
from daemon.control.operations import OPERATIONS
from daemon.errors import DaemonError
from tests.command_line import riverkeep
from tests.docs.json_page import COMMANDS, MORE, OTHERWISE, meanings, mistakes, page, types_answered
from tests.harness import wait_until
from tests.unit.daemon.cli.test_main import every_command
from tests.unit.daemon.control.test_operations import call_of
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.kept import Kept
from tests.unit.daemon.rooms import world

PAGE = Path(__file__).parents[2] / "docs/json.md"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A store with generations, a round that waits, one that was refused, a person and a dead letter."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(40)
    kept.accept()
    kept.arrive(40)
    kept.arrive(3, key="zoe")
    kept.hold()
    kept.arrive(40)
    kept.refuse()
    kept.die(b"{")
    yield kept
    kept.store.close()


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.json_page > docs/json.md"


def test_every_command_that_prints_json_is_told_of() -> None:
    """A new one must be put into a table of the page."""
    told = {*COMMANDS, *OTHERWISE}
    speak = {
        path for path, command in every_command() if any(parameter.name == "as_json" for parameter in command.params)
    }
    assert told == speak
    assert MORE.keys() <= COMMANDS.keys()


def test_what_a_docstring_says_is_about_a_key_that_there_is() -> None:
    """A key that was renamed would keep its words under the old name."""
    for kind in types_answered():
        assert meanings(kind).keys() <= get_type_hints(kind).keys(), kind.__name__


def test_every_answer_is_of_its_type(kept: Kept) -> None:
    """Of each operation, on a store with something of everything; nothing more, nothing less, and JSON alone."""
    answered = 0
    for operation in sorted(OPERATIONS, key=lambda each: each.writes):
        try:
            answer = operation.answer(kept.control, call_of(operation))
        except DaemonError:
            continue
        plain = json.loads(json.dumps(answer, allow_nan=False))
        kind = get_type_hints(operation.ask)["return"]
        assert list(mistakes(plain, kind)) == [], operation.name
        answered += 1
    # What needs a daemon, or a generation that is watched.
    assert answered >= len(OPERATIONS) - 17


def test_a_running_daemons_status_is_of_its_type(tmp_path: Path) -> None:
    """With the parts that only it knows."""
    with world(tmp_path) as here:
        here.run("good")
        control = live_control(here)
        assert list(mistakes(control.status(), StatusAnswer)) == []
        assert list(mistakes(control.explain_round(1), ExplainedRound)) == []
        assert list(mistakes(control.rounds(), list[RoundLine])) == []
        for blind in (True, False):
            begun = control.compare("The river", blind=blind)
            found = partial(control.comparison, begun["number"])
            wait_until(partial(_has_answered, found), what="both answers")
            for answer in (begun, control.pick_answer(begun["number"], "left") if blind else found()):
                assert list(mistakes(answer, ComparisonAnswer)) == []
        assert list(mistakes(control.picks(), list[PickTally])) == []


def _has_answered(found: Callable[[], ComparisonAnswer]) -> bool:
    return bool(found()["answers"])


def test_commands_print_the_answers(kept: Kept) -> None:
    """The document that standard output has is that of the operation."""
    (kept.home / "riverkeep.toml").write_text(f'state_dir = "{kept.settings.state_dir}"\n[model]\npath = "model"\n')
    for words, kind in ((["status"], StatusAnswer), (["explain", "round", "1"], ExplainedRound)):
        printed = json.loads(riverkeep(*words, "--json", cwd=kept.home).stdout)
        assert list(mistakes(printed, kind)) == []


def test_mistakes_are_found() -> None:
    """The check itself: a key too many, one too few, one of another type."""
    line = {"at": 1, "mistakes": [], "more": 1}
    assert list(mistakes(line, RefusedSettings)) == ["$ has more, of which nobody was told"]
    assert list(mistakes({"at": "now"}, RefusedSettings)) == ["$ lacks mistakes", "$.at is 'now', not number"]
    assert list(mistakes({"at": True, "mistakes": []}, RefusedSettings)) == ["$.at is True, not number"]
