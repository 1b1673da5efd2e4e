"""Every command that changes something leaves a line in the audit log, before a daemon runs too."""

import json
from pathlib import Path
from typing import Any, Final

import click
import pytest

from daemon.control.operations import OPERATIONS
from daemon.exit_codes import ExitCode
from memory.settings import MemorySettings
from memory.store import Store
from tests.command_line import riverkeep
from tests.unit.daemon.cli.test_main import every_command
from tests.unit.daemon.kept import Kept

SETTINGS: Final = """\
state_dir = "state"
[model]
path = "model"
[streams]
topics = [{ name = "news", text_field = "body" }]
"""
NOTED: Final = {
    "round begin": ("", "request_round", "no daemon"),
    "round cancel": ("", "cancel_rounds", "no daemon"),
    "round approve": ("3", "approve_round", ""),
    "round reject": ("4 --yes", "reject_round", ""),
    "round pause": ("--reason lent", "pause_rounds", ""),
    "round resume": ("", "resume_rounds", ""),
    "compare ask": ("", "compare", "no daemon"),
    "compare pick": ("7 left", "pick_answer", "no daemon"),
    "compare cancel": ("7", "cancel_comparison", "no daemon"),
    "rollback": ("--yes", "rollback", ""),
    "canary promote": ("--yes", "promote_canary", "no canary"),
    "canary take-back": ("--yes", "take_back_canary", "no canary"),
    "memory release": ("6", "release_aside", ""),
    "memory drop": ("8 --yes", "drop_aside", ""),
    "memory dead-letters replay": ("1", "replay_dead_letters", ""),
    "memory dead-letters drop": ("--yes", "drop_dead_letters", ""),
    "memory dead-letters resume": ("", "resume", "no daemon"),
    "forget": ("user-1 --yes", "forget", ""),
    "keys add": ("alice --at-once 2 --file keys", "keys_add", ""),
    "keys revoke": ("alice --file keys", "keys_revoke", ""),
    "backfill": ("--before-stream before.jsonl", "backfill", ""),
    # The last: the memory that it is given for is gone.
    "memory begin-anew": ("", "begin_anew", "lost"),
}
"""Commands that change something: with what they are called here, what is noted, and why nothing is there."""
CHANGE_NOTHING: Final = frozenset(
    {
        *(
            "check",
            "doctor",
            "status",
            "round list",
            "round show",
            "round flips",
            "generations",
            "compare show",
            "compare picks",
            "audit",
            "feedback list",
        ),
        # Who looks into Kafka is noted; nothing changes by it.
        *("peek", "serving", "streams", "memory aside", "memory find", "memory gaps", "memory next-draw", "keys list"),
        *("watch", "explain round", "trace", "config show", "config schema", "completion"),
        # They write what lies elsewhere: a settings file, a copy of a model, files to deploy by, a folder of their own.
        *("init", "export", "round export", "deploy print", "demo"),
        # What they do as long as they run is noted as it is asked for, and as generations serve.
        *("run", "serve", "mcp"),
    }
)
BESIDE_OPERATIONS: Final = {"keys_add", "keys_revoke", "backfill", "begin_anew"}
"""What commands do that no operation of the admin surface is."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory with something for every command, settings beside it, and no daemon."""
    kept = Kept(tmp_path, text_field="body")
    with kept.store:
        kept.base()
        for count in (40, 50):
            kept.arrive(count)
            kept.accept()
        for _ in range(2):
            kept.arrive(40)
            kept.hold()
        for _ in range(2):
            kept.arrive(40)
            kept.refuse()
            kept.refuse()
        kept.die(b'{"body": "a text about the river and its keeper"}')
    (tmp_path / "riverkeep.toml").write_text(SETTINGS)
    (tmp_path / "before.jsonl").write_text('{"body": "the water of the old mill rises in the spring of every year"}\n')
    return tmp_path


def lines(home: Path) -> list[dict[str, Any]]:
    """What somebody asked for, oldest first."""
    with Store.open(home / "state" / "riverkeep.db", MemorySettings(), read_only=True) as store:
        found = [{"what": line.what, "who": line.who, **line.detail} for line in store.audit.latest(500)]
    return [line for line in reversed(found) if line["what"] != "serves"]


def test_every_command_is_known_to_change_something_or_not() -> None:
    """A new one has to be put on one of the lists; what operations change, a command is there for."""
    # A group that shows something by itself changes nothing.
    commands = {path for path, command in every_command() if not isinstance(command, click.Group)}
    assert commands == NOTED.keys() | CHANGE_NOTHING
    # A round is withdrawn by `round begin --wait` that was interrupted.
    changing = {operation.name for operation in OPERATIONS if operation.writes} - {"withdraw_round"}
    assert {what for _, what, _ in NOTED.values()} == changing | BESIDE_OPERATIONS


def test_each_leaves_a_line_before_a_daemon_runs_too(home: Path) -> None:
    """One each. What needs a daemon changes nothing without one, and leaves none."""
    for command, (arguments, what, without) in NOTED.items():
        if without == "lost":
            for path in (home / "state").glob("riverkeep.db*"):
                path.unlink()
        before = [] if without == "lost" else lines(home)
        done = riverkeep(*command.split(), *arguments.split(), cwd=home)
        new = lines(home)[len(before) :]
        if without == "no daemon":
            assert done.returncode != 0
            assert not new, command
            continue
        if without == "no canary":
            assert done.returncode == ExitCode.REFUSED
            assert [line["what"] for line in new] == [what, f"{what}_refused"]
            continue
        assert done.returncode == 0, done.stderr
        assert [line["what"] for line in new] == [what], command
        assert "@" in new[0]["who"]


def test_of_a_key_its_name_stands_there_and_what_was_refused(home: Path) -> None:
    """Its secret nowhere."""
    secret = riverkeep("keys", "add", "alice", "--at-once", "2", "--file", "keys", cwd=home).stdout.strip()
    assert riverkeep("keys", "add", "alice", "--file", "keys", cwd=home).returncode != 0
    assert riverkeep("keys", "revoke", "bob", "--file", "keys", cwd=home).returncode != 0
    added, again, refused, revoked, unknown = lines(home)
    told = {"name": "alice", "limits": {"at_once": 2}, "in_use_already": False, "file": "keys"}
    assert added == {"what": "keys_add", "who": added["who"], **told}
    assert [line["what"] for line in (again, refused, revoked, unknown)] == [
        *("keys_add", "keys_add_refused"),
        *("keys_revoke", "keys_revoke_refused"),
    ]
    assert "there is a key of the name alice already" in refused["reason"]
    assert secret
    assert secret.encode() not in b"".join(path.read_bytes() for path in (home / "state").glob("riverkeep.db*"))


@pytest.mark.parametrize("damage", ["none", "no memory", "a file that is none"])
def test_keys_are_changed_where_the_log_cannot_be_written(tmp_path: Path, damage: str) -> None:
    """As one that leaked must go: the command says that there is no line."""
    if damage != "none":
        (tmp_path / "riverkeep.toml").write_text(SETTINGS)
    if damage == "a file that is none":
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "riverkeep.db").write_bytes(b"no database" * 500)
    added = riverkeep("keys", "add", "alice", "--file", "keys", cwd=tmp_path)
    assert added.returncode == 0
    assert "The audit log has no line of this (keys add)" in added.stderr
    assert json.loads(riverkeep("keys", "list", "--json", "--file", "keys", cwd=tmp_path).stdout)[0]["name"] == "alice"


def test_a_backfill_that_finds_nothing_new_is_not_noted_again(home: Path) -> None:
    """A file that grows may be given every minute."""
    for _ in range(2):
        assert riverkeep("backfill", "--before-stream", "before.jsonl", cwd=home).returncode == 0
    (line,) = lines(home)
    assert (line["paths"], line["files"], line["before_stream"]) == (["before.jsonl"], 1, True)
