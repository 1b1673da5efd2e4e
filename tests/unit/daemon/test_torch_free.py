"""Torch is for the processes that train and answer: the daemon and every other command do their work without it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click import Group

from daemon.exit_codes import ExitCode
from streams.document import Batch, Gap
from tests.unit.daemon.cli.test_main import every_command
from tests.unit.daemon.kept import NEWS, Kept

HEAVY = ("torch", "transformers", "tokenizers", "accelerate", "scipy", "pandas", "opentelemetry.sdk")
NEED_TORCH = {"serve", "export"}
LONG_RUNNING = {"run": "daemon.service", "demo": "daemon.demo.story", "mcp": "daemon.assistants.server"}
"""What they import; that a running daemon has no torch is tested with a whole one (tests/integration)."""
SETTINGS = """\
state_dir = "state"
[model]
path = "model"
[streams]
bootstrap_servers = ["127.0.0.1:1"]
connect_seconds = 0.5
topics = [{ name = "news", text_field = "body" }]
"""
RUN = """
import contextlib, importlib, io, json, sys
from daemon.cli.main import main
heavy, modules, calls = map(json.loads, sys.argv[1:])
told = {}
def new(before): return sorted(set(heavy) & set(sys.modules) - before)
for name, module in modules.items():
    before = set(sys.modules)
    importlib.import_module(module)
    told[name] = [0, new(before), ""]
for words in calls:
    before, output = set(sys.modules), io.StringIO()
    sys.argv[1:] = words
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main()
        except SystemExit as end:
            code = end.code
    told[" ".join(words)] = [code, new(before), output.getvalue()]
print(json.dumps(told))
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a command that does its work, and how it ends where no daemon and no broker is."""

    command: str
    arguments: str = ""
    code: ExitCode = ExitCode.OK

    @property
    def words(self) -> str:
        """The command line."""
        return f"{self.command} {self.arguments}".strip()


CALLS = [
    Call("init", "other.toml"),
    Call("check"),
    Call("doctor", "--skip-model", ExitCode.FAILED),
    Call("status", code=ExitCode.NOT_RUNNING),
    Call("watch", code=ExitCode.NOT_RUNNING),
    Call("round list"),
    Call("round show", "1 --json"),
    Call("round flips", "1 --text"),
    Call("round approve", "3"),
    Call("round reject", "4 --yes"),
    Call("round pause"),
    Call("round resume"),
    Call("round begin", code=ExitCode.REFUSED),
    Call("round cancel", code=ExitCode.NOT_FOUND),
    Call("round export", "http://127.0.0.1:1", ExitCode.FAILED),
    Call("round", code=ExitCode.BAD_USAGE),
    Call("explain", code=ExitCode.BAD_USAGE),
    Call("explain round", "3"),
    Call("trace", "news 0 1 --text"),
    Call("generations"),
    Call("generations", "--diff 0 1"),
    Call("compare", code=ExitCode.BAD_USAGE),
    Call("compare ask", code=ExitCode.BAD_USAGE),
    Call("compare show", "7", ExitCode.NOT_FOUND),
    Call("compare pick", "7 left", ExitCode.NOT_FOUND),
    Call("compare cancel", "7", ExitCode.NOT_FOUND),
    Call("compare picks"),
    Call("rollback", "--yes"),
    Call("canary", code=ExitCode.BAD_USAGE),
    Call("canary promote", "--yes", ExitCode.REFUSED),
    Call("canary take-back", "--yes", ExitCode.REFUSED),
    Call("serving"),
    Call("memory"),
    Call("memory aside"),
    Call("memory aside", "6 --text"),
    Call("memory release", "6"),
    Call("memory drop", "8 --yes"),
    Call("memory find", "user-1 --text"),
    Call("memory gaps"),
    Call("memory next-draw"),
    Call("memory begin-anew", code=ExitCode.REFUSED),
    Call("memory dead-letters", "--text"),
    Call("memory dead-letters replay", "1"),
    Call("memory dead-letters drop", "--yes"),
    Call("memory dead-letters resume", code=ExitCode.REFUSED),
    Call("streams"),
    Call("peek", "news", ExitCode.FAILED),
    Call("audit"),
    Call("completion", "zsh"),
    Call("config", code=ExitCode.BAD_USAGE),
    Call("config show", "learner"),
    Call("config schema"),
    Call("deploy", code=ExitCode.BAD_USAGE),
    Call("deploy print", "--into deploy"),
    Call("keys", code=ExitCode.BAD_USAGE),
    Call("keys add", "alice --file keys"),
    Call("keys list", "--file keys"),
    Call("keys revoke", "alice --file keys"),
    Call("feedback"),
    Call("feedback list", "--text"),
    Call("forget", "user-1 --yes"),
    Call("backfill", "--before-stream before.jsonl"),
]


def fill(home: Path) -> None:
    """A store with something for every command: generations, rounds that wait, text aside, letters, a gap."""
    kept = Kept(home, text_field="body")
    with kept.store as store:
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
        kept.die(b'{"nothing": 1}')
        end = (store.next_offset(NEWS.topic, NEWS.number, NEWS.incarnation) or 0) + 9
        store.append(Batch((), (), (Gap(NEWS, end - 9, end - 1, "retention"),), {NEWS: end}))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How each call ended, what of the heavy modules it brought in, and what it printed: all in one process."""
    home = tmp_path_factory.mktemp("home")
    fill(home)
    (home / "model").mkdir()
    (home / "riverkeep.toml").write_text(SETTINGS)
    (home / "before.jsonl").write_text('{"body": "the water of the old mill rises in the spring of every year"}\n')
    words = [call.words.split() for call in CALLS]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(json.dumps, (HEAVY, LONG_RUNNING, words))],
        cwd=home,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIVERKEEP_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_command_is_known_to_need_torch_or_not() -> None:
    """A new command has to be put on one of the lists."""
    commands = {path for path, command in every_command() if not isinstance(command, Group)}
    groups = {path for path, command in every_command() if isinstance(command, Group)}
    assert commands | groups == {call.command for call in CALLS} | NEED_TORCH | LONG_RUNNING.keys()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.words)
def test_a_command_does_its_work_without_torch(told: dict[str, Any], call: Call) -> None:
    """On a store with rounds and generations, with nobody to answer but the store itself."""
    code, heavy, output = told[call.words]
    assert (code, heavy) == (call.code, []), output


@pytest.mark.parametrize("command", LONG_RUNNING)
def test_what_runs_for_long_is_begun_without_torch(told: dict[str, Any], command: str) -> None:
    """The learner and the serving process have it, the process that watches them has not."""
    assert told[command][1] == []
