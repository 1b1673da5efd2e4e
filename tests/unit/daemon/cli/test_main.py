"""The command line, run as a process."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from daemon.admin.app import create_app
from daemon.admin.listener import listening
from daemon.admin.token import Token, ensure_token
from daemon.cli.invocation import Invocation
from daemon.cli.main import EXIT_CODES, cli
from daemon.exit_codes import ExitCode
from daemon.lifecycle.lock import StateLock
from daemon.settings.admin import AdminSettings
from daemon.settings.reference import reference
from memory.samples.records import KeyHash
from tests.command_line import riverkeep, started_riverkeep
from tests.harness import wait_until
from tests.unit.daemon.fakes import FakeControl

HEAVY = ("torch", "transformers", "numpy", "kafka", "tokenizers", "sqlite_utils")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with settings; nothing has run there."""
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\n')
    return tmp_path


@pytest.fixture
def control(home: Path) -> Iterator[FakeControl]:
    """A daemon on that folder: the lock, the token, the admin surface; who answers is a fake."""
    control = FakeControl()
    state, settings = home / "state", AdminSettings(port=0)
    with StateLock(state, now=0.0) as lock:
        token = ensure_token(settings, state)
        with listening(create_app(control, CollectorRegistry(), Token(token)), settings) as admin:
            lock.announce(admin.address)
            yield control


def imported(run: "subprocess.CompletedProcess[str]") -> set[str]:
    """The top-level packages that a run under `-X importtime` imported."""
    found = re.findall(r"^import time:.*\| +([A-Za-z_0-9.]+)$", run.stderr, re.MULTILINE)
    return {name.partition(".")[0] for name in found}


def test_help_imports_nothing_heavy(home: Path) -> None:
    """`--help` comes without torch, numpy, Kafka's client, pydantic or a store."""
    run = started_riverkeep("--help", cwd=home, python=("-X", "importtime"))
    assert run.returncode == 0
    assert "daemon" in imported(run)
    assert imported(run).isdisjoint({*HEAVY, "pydantic", "rich", "httpx", "starlette"})


def test_every_command_has_help_with_an_example() -> None:
    """What it does, and one line to copy; subcommands too."""
    for path, command in every_command():
        text = CliRunner().invoke(command, ["--help"], obj=Invocation(None)).output
        assert re.search(rf"\$ .*riverkeep (-c \S+ )?{path}", text), path
        assert command.get_short_help_str(), path


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Each command and subcommand with its words."""
    pending: list[tuple[str, click.Command]] = [("", cli)]
    while pending:
        path, command = pending.pop()
        if path:
            yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                nested = command.get_command(context, name)
                assert nested is not None
                pending.append((f"{path} {name}".strip(), nested))


COMMANDS = dict(every_command())


@pytest.mark.parametrize("arguments", [["check"], ["init", "other.toml"], ["status"]], ids=" ".join)
def test_commands_without_a_store_import_nothing_heavy(home: Path, arguments: list[str]) -> None:
    """Where nothing has run yet, neither torch nor numpy, Kafka's client or SQLite is imported."""
    assert imported(started_riverkeep(*arguments, cwd=home, python=("-X", "importtime"))).isdisjoint(HEAVY)


def test_the_help_tells_every_exit_status() -> None:
    """The list in `--help` and the numbers that scripts get are the same."""
    told = {int(number) for number in re.findall(r"^ +(\d+)  ", EXIT_CODES, re.MULTILINE)}
    assert told == {int(code) for code in ExitCode}


@pytest.mark.parametrize(("typed", "meant"), [("sttus", "status"), ("rounds", "round")])
def test_a_command_that_is_nearly_right_is_named(home: Path, typed: str, meant: str) -> None:
    """With what was most probably meant."""
    run = riverkeep(typed, cwd=home)
    assert run.returncode == ExitCode.BAD_USAGE
    assert f"Did you mean '{meant}'?" in run.stderr


def test_an_unknown_command_is_a_usage_error(home: Path) -> None:
    """Exit status 2, and the help is pointed to."""
    run = riverkeep("rounds", cwd=home)
    assert run.returncode == ExitCode.BAD_USAGE
    assert "No such command" in run.stderr


def test_init_writes_settings_that_check_understands(tmp_path: Path) -> None:
    """From nothing to a checked file in two commands; the model is the only thing to bring."""
    model = tmp_path / 'odd "name" 🚂'
    model.mkdir()
    made = riverkeep("init", "--model", str(model), "--bootstrap-servers", "a:9092, b:9092", cwd=tmp_path)
    assert made.returncode == 0
    assert len((tmp_path / "riverkeep.toml").read_text().splitlines()) <= 15
    run = riverkeep("check", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "riverkeep-state" in run.stdout


@pytest.mark.parametrize(
    ("folder", "options", "group"),
    [
        ("news desk", (), "riverkeep-news-desk"),
        ("Zoë", (), "riverkeep-Zo"),
        ("n" * 255, (), f"riverkeep-{'n' * 239}"),
        ("news", ("--group", "desk"), "desk"),
    ],
)
def test_init_gives_each_project_a_group_of_its_own(
    tmp_path: Path, folder: str, options: tuple[str, ...], group: str
) -> None:
    """Two that share one would share the partitions, and the second find the first one's offsets."""
    place = tmp_path / folder
    (place / "model").mkdir(parents=True)
    riverkeep("init", "--model", "model", *options, cwd=place)
    assert tomllib.loads((place / "riverkeep.toml").read_text())["streams"]["group_id"] == group
    assert riverkeep("check", cwd=place).returncode == 0


def test_init_asks_a_person_what_it_needs(tmp_path: Path) -> None:
    """On a terminal, but for what an option says; and not before it is known that the file can be written."""
    place = tmp_path / "news"
    place.mkdir()
    shown, typed = os.openpty()
    command = [sys.executable, "-m", "daemon", "init", "--topic", "wiki"]
    try:
        os.write(shown, b"\nmasked-lm\nkafka:9092\nbody\ndesk\n")
        ran = subprocess.run(command, cwd=place, stdin=typed, stdout=typed, stderr=typed, timeout=60, check=False)
        assert (ran.returncode, b"of this project alone [riverkeep-news]" in os.read(shown, 4096)) == (0, True)
        made = tomllib.loads((place / "riverkeep.toml").read_text())
        assert made["model"] == {"path": "/models/my-model", "kind": "masked-lm"}
        assert made["streams"] == {
            "bootstrap_servers": ["kafka:9092"],
            "group_id": "desk",
            "topics": [{"name": "wiki", "text_field": "body"}],
        }
        again = subprocess.run(command, cwd=place, stdin=typed, stdout=typed, stderr=typed, timeout=60, check=False)
        assert again.returncode == ExitCode.BAD_USAGE
    finally:
        os.close(shown)
        os.close(typed)


@pytest.mark.parametrize(
    ("architecture", "kind", "fields"),
    [
        ("LlamaForCausalLM", "causal-lm", {"text_field": "text"}),
        ("BertForSequenceClassification", "classifier", {"text_field": "text", "label_field": "topic"}),
        ("T5ForConditionalGeneration", "seq2seq", {"input_field": "input", "target_field": "target"}),
        ("BertForMaskedLM", "masked-lm", {"format": "text"}),
    ],
)
def test_init_tells_the_kind_by_the_models_files(
    tmp_path: Path, architecture: str, kind: str, fields: dict[str, str]
) -> None:
    """And asks for the fields that such a model learns from; plain text has none."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    plain = ("--text-field", "none") if "format" in fields else ("--label-field", "topic")
    riverkeep("init", "--model", "model", *plain, cwd=tmp_path)
    made = tomllib.loads((tmp_path / "riverkeep.toml").read_text())
    assert made["model"]["kind"] == kind
    assert made["streams"]["topics"] == [{"name": "news", **fields}]


def test_init_names_the_label_of_a_classifier(tmp_path: Path) -> None:
    """Without it nothing that arrives could be learned."""
    (tmp_path / "model").mkdir()
    riverkeep("init", "--kind", "classifier", "--model", "model", cwd=tmp_path)
    run = riverkeep("check", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "label_field" in (tmp_path / "riverkeep.toml").read_text()


def test_init_names_both_parts_of_a_pair(tmp_path: Path) -> None:
    """Of a sequence-to-sequence model; `check` says what its records need."""
    (tmp_path / "model").mkdir()
    riverkeep("init", "--kind", "seq2seq", "--model", "model", cwd=tmp_path)
    run = riverkeep("check", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "Of records each needs an input (input_field) and its target (target_field)" in " ".join(run.stdout.split())
    assert 'target_field = "target"' in (tmp_path / "riverkeep.toml").read_text()


def test_backfill_of_pairs_needs_their_fields(tmp_path: Path) -> None:
    """Plain text is refused before it is read; pairs are stored as such."""
    (tmp_path / "model").mkdir()
    riverkeep("init", "--kind", "seq2seq", "--model", "model", cwd=tmp_path)
    (tmp_path / "text.txt").write_text("the water rises")
    refused = riverkeep("backfill", "text.txt", cwd=tmp_path)
    assert refused.returncode == ExitCode.BAD_USAGE
    assert "--input-field" in refused.stderr
    (tmp_path / "pairs.jsonl").write_text('{"q": "what rises?", "target": "the water"}\n')
    taken = riverkeep("backfill", "--input-field", "q", "pairs.jsonl", cwd=tmp_path)
    assert (taken.returncode, "1 " in taken.stdout) == (0, True), taken.stderr


def test_backfill_of_a_classifier_needs_labels(home: Path) -> None:
    """Said before a file is read, not by a quarantine full of it."""
    (home / "text.jsonl").write_text('{"text": "the water rises"}\n')
    run = riverkeep("backfill", "text.jsonl", cwd=home, environment={"RIVERKEEP_MODEL__KIND": "classifier"})
    assert run.returncode == ExitCode.BAD_USAGE
    assert "--label-field" in run.stderr
    assert not (home / "state").exists()


def test_init_writes_over_nothing(home: Path) -> None:
    """A file that is there is kept, unless told otherwise."""
    before = (home / "riverkeep.toml").read_text()
    assert riverkeep("init", cwd=home).returncode == ExitCode.BAD_USAGE
    assert (home / "riverkeep.toml").read_text() == before
    assert riverkeep("init", "--force", cwd=home).returncode == 0


def test_init_can_write_the_reference(tmp_path: Path) -> None:
    """Every setting with its default."""
    riverkeep("init", "all.toml", "--reference", cwd=tmp_path)
    assert (tmp_path / "all.toml").read_text() == reference()


def test_check_prints_all_mistakes(home: Path) -> None:
    """Exit status 2, all at once, for people and for scripts."""
    variables = {"RIVERKEEP_ADMIN__PORT": "high", "RIVERKEEP_LEARNER__RECIPE__KLL": "1"}
    run = riverkeep("check", cwd=home, environment=variables)
    assert run.returncode == ExitCode.BAD_USAGE
    assert "admin.port" in run.stderr
    assert "RIVERKEEP_LEARNER__RECIPE__KL?" in run.stderr
    facts = json.loads(riverkeep("check", "--json", cwd=home, environment=variables).stdout)
    assert [mistake["key"] for mistake in facts["mistakes"]] == [
        "admin.port",
        "RIVERKEEP_LEARNER__RECIPE__KLL",
        "model.path",
    ]


def test_check_looks_for_the_model(home: Path) -> None:
    """What a start would miss is a mistake already."""
    run = riverkeep("check", cwd=home)
    assert run.returncode == ExitCode.BAD_USAGE
    assert "model.path" in run.stderr


def test_without_a_settings_file_that_is_the_only_mistake(tmp_path: Path) -> None:
    """Not a setting that would stand in it."""
    run = riverkeep("check", "--json", cwd=tmp_path, environment={"RIVERKEEP_CONFIG": ""})
    assert [mistake["key"] for mistake in json.loads(run.stdout)["mistakes"]] == ["(settings file)"]


def test_check_notes_what_is_most_probably_not_meant(tmp_path: Path) -> None:
    """No topics, a token that can be guessed and read: exit status 0, and a word of each."""
    (tmp_path / "model").mkdir()
    token = tmp_path / "token"
    token.write_text("abcdef\n")
    token.chmod(0o644)
    (tmp_path / "riverkeep.toml").write_text('[model]\npath = "model"\n[admin]\ntoken_file = "token"\n')
    noted = json.loads(riverkeep("check", "--json", cwd=tmp_path).stdout)["notes"]
    assert [note.split(":")[0] for note in noted] == ["streams.topics is empty", *["admin.token_file"] * 2]
    run = riverkeep("check", cwd=tmp_path)
    assert run.returncode == 0
    assert all(note in run.stderr for note in noted)
    assert "abcdef" not in run.stderr
    token.write_text("a" * 32)
    token.chmod(0o600)
    assert len(json.loads(riverkeep("check", "--json", cwd=tmp_path).stdout)["notes"]) == 1


def test_init_needs_a_folder_to_write_into(tmp_path: Path) -> None:
    """It makes none, and says which."""
    run = riverkeep("init", "etc/riverkeep.toml", cwd=tmp_path)
    assert run.returncode == ExitCode.BAD_USAGE
    assert "There is no folder etc" in run.stderr


def test_bad_settings_stop_every_command(home: Path) -> None:
    """Exit status 2 and the whole report, whatever was asked."""
    run = riverkeep("status", cwd=home, environment={"RIVERKEEP_ADMIN__PORT": "-1"})
    assert run.returncode == ExitCode.BAD_USAGE
    assert "admin.port" in run.stderr


@pytest.mark.parametrize("arguments", [["status"], ["rollback", "--yes"], ["round", "pause"]], ids=" ".join)
def test_mistakes_in_the_settings_lock_nobody_out_of_a_daemon(
    home: Path, control: FakeControl, arguments: list[str]
) -> None:
    """They are a warning of one line; the daemon has settings of its own."""
    _add(home, "[learner.recipe]\nmax_stepz = 3\n")
    run = riverkeep(*arguments, cwd=home)
    assert run.returncode == ExitCode.OK, run.stderr
    (warning,) = [line for line in run.stderr.splitlines() if "warning" in line]
    assert "learner.recipe.max_stepz (riverkeep.toml line 6)" in warning
    assert str(home / "state") in warning


@pytest.mark.parametrize("arguments", [["status"], ["rollback", "--yes"]], ids=" ".join)
def test_without_a_daemon_mistakes_in_the_settings_are_refused(home: Path, arguments: list[str]) -> None:
    """The store is not changed with settings that nobody meant."""
    _add(home, "[learner.recipe]\nmax_stepz = 3\n")
    run = riverkeep(*arguments, cwd=home)
    assert run.returncode == ExitCode.BAD_USAGE
    assert "max_stepz" in run.stderr


@pytest.mark.parametrize("line", ["state_dirr = 'x'", "[admin]\nport = -1", "[gate]\nstate_dir = 'x'", "= 1"])
def test_where_another_daemon_may_be_meant_mistakes_are_refused(home: Path, control: FakeControl, line: str) -> None:
    """A mistake in what leads to the daemon is no warning."""
    _add(home, f"{line}\n")
    run = riverkeep("rollback", "--yes", cwd=home)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])


def _add(home: Path, text: str) -> None:
    settings = home / "riverkeep.toml"
    head, tail = settings.read_text().split("\n", 1)
    settings.write_text(f"{head}\n{text}{tail}" if text.startswith("state_dirr") else f"{head}\n{tail}\n{text}")


def test_status_answers_when_nothing_ever_ran(home: Path) -> None:
    """No daemon, no store: an answer, and exit status 5."""
    run = riverkeep("status", "--json", cwd=home)
    assert run.returncode == ExitCode.NOT_RUNNING
    assert json.loads(run.stdout)["running"] is False
    assert "no daemon runs" in riverkeep("status", cwd=home).stdout


def test_status_asks_the_daemon(home: Path, control: FakeControl) -> None:
    """Exit status 0 and the daemon's own facts."""
    run = riverkeep("status", "--json", cwd=home)
    assert (run.returncode, json.loads(run.stdout)["serving"]["generation"]) == (0, 2)
    assert "generation 2" in riverkeep("status", cwd=home).stdout


def test_a_starting_daemon_is_said_so(home: Path) -> None:
    """The lock is held but nothing listens yet."""
    with StateLock(home / "state", now=0.0) as lock:
        lock.tell("it imports /models/m as generation 0")
        run = riverkeep("status", cwd=home)
    assert run.returncode == ExitCode.FAILED
    assert "is starting and does not listen yet: it imports /models/m as generation 0." in run.stderr


def test_the_config_can_be_named(home: Path, control: FakeControl, tmp_path: Path) -> None:
    """From another folder, the same state directory is found."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert riverkeep("-c", str(home / "riverkeep.toml"), "status", cwd=elsewhere).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["round", "begin"], ("request_round", False)),
        (["round", "approve", "7"], ("approve_round", 7)),
        (["round", "reject", "7", "--yes"], ("reject_round", 7)),
        (["round", "pause", "--reason", "the GPU is lent out"], ("pause_rounds", "the GPU is lent out")),
        (["round", "pause"], ("pause_rounds", "")),
        (["round", "resume"], ("resume_rounds", None)),
        (["round", "cancel"], ("cancel_rounds", None)),
        (["rollback", "--yes"], ("rollback", None)),
        (["rollback", "0", "--yes"], ("rollback", 0)),
        (["canary", "promote", "--yes"], ("promote_canary", None)),
        (["canary", "take-back", "3", "--yes"], ("take_back_canary", 3)),
        (["compare", "pick", "7", "left"], ("pick_answer", 7, "left")),
        (["compare", "cancel", "7"], ("cancel_comparison", 7)),
        (["memory", "dead-letters", "resume", "news/2"], ("resume", "news/2")),
        (["forget", "user-1", "--yes"], ("forget", "user-1")),
        (["memory", "release", "3"], ("release_aside", 3)),
        (["memory", "release", "3", "--ids", "12,15"], ("release_aside", 3, (12, 15))),
        (["memory", "drop", "3", "--yes"], ("drop_aside", 3)),
        (["memory", "drop", "3", "--ids", "12,15", "--yes"], ("drop_aside", 3, (12, 15))),
        (["memory", "drop", "3", "--source", "news", "--yes"], ("drop_aside", 3, (), "news", None)),
        (["memory", "drop", "3", "--key", "zoe", "--yes"], ("drop_aside", 3, (), None, "zoe")),
        (["memory", "dead-letters", "replay", "4", "5"], ("replay_dead_letters", (4, 5))),
        (["memory", "dead-letters", "drop", "--yes"], ("drop_dead_letters", ())),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_commands_reach_the_daemon(
    home: Path, control: FakeControl, arguments: list[str], call: tuple[str, object]
) -> None:
    """Each writing command goes through the admin surface, imports nothing heavy, and prints facts as JSON."""
    run = started_riverkeep(*arguments, "--json", cwd=home, python=("-X", "importtime"))
    assert (run.returncode, control.calls) == (0, [call])
    assert isinstance(json.loads(run.stdout), dict)
    assert imported(run).isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["status"], ["memory", "dead-letters", "replay"]], ids=" ".join)
@pytest.mark.usefixtures("control")
def test_settings_that_wait_for_a_restart_are_told(home: Path, arguments: list[str]) -> None:
    """A person who mended them sees why nothing has changed."""
    run = riverkeep(*arguments, cwd=home, environment={"COLUMNS": "200"})
    assert "[streams] changed on disk, not in force until a restart" in run.stdout + run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback"],
        ["forget", "user-1"],
        ["round", "reject", "3"],
        ["memory", "drop", "3"],
        ["memory", "dead-letters", "drop"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_undone_is_asked_first(home: Path, control: FakeControl, arguments: list[str]) -> None:
    """No word, no deed: an empty answer stops it."""
    run = riverkeep(*arguments, cwd=home, stdin="n\n")
    assert (run.returncode, control.calls) == (ExitCode.INTERRUPTED, [])


@pytest.mark.parametrize(("named", "target"), [([], 1), (["0"], 0)])
def test_a_rollback_asks_with_both_numbers(home: Path, control: FakeControl, named: list[str], target: int) -> None:
    """And goes back to the one that was agreed to, whatever serves by then."""
    run = riverkeep("rollback", *named, cwd=home, stdin="y\n")
    assert f"Go back from generation 2 to generation {target}?" in run.stderr
    assert control.calls == [("rollback", target)]


@pytest.mark.parametrize(
    ("key", "kept"), [("nobody", "Nothing is kept of that key."), ("user-1", "Kept of that key: 1 samples")]
)
def test_an_erasure_says_first_how_much_is_kept(home: Path, control: FakeControl, key: str, kept: str) -> None:
    """And is offered where nothing is, too."""
    run = riverkeep("forget", key, cwd=home, stdin="y\n")
    assert kept in run.stderr
    assert control.calls == [("forget", key)]


def test_a_key_can_stay_out_of_the_process_list(home: Path, control: FakeControl) -> None:
    """`forget -` reads it from standard input; only the line's end is taken off."""
    assert riverkeep("forget", "-", "--json", cwd=home, stdin=" Zoë 4711 \n").returncode == 0
    assert control.calls == [("forget", " Zoë 4711 ")]


def test_a_key_comes_from_a_file_or_by_its_hash(home: Path, control: FakeControl) -> None:
    """One as long as a record, which no command line takes; a binary one; one that nobody knows but by its hash."""
    long = "k" * 300_000
    (home / "long").write_text("\ufeff" + long + "\r\n", newline="")
    (home / "binary").write_bytes(b"\0\xff")
    assert riverkeep("forget", "--key-file", "long", "--yes", cwd=home).returncode == 0
    assert riverkeep("forget", "--key-file", "binary", "--yes", cwd=home).returncode == 0
    assert riverkeep("forget", "--key-hash", "ffffffffffffffff", "--yes", cwd=home).returncode == 0
    assert control.calls == [("forget", long), ("forget", "0x00ff"), ("forget", KeyHash(-1))]
    assert riverkeep("memory", "find", "--key-file", "long", cwd=home).returncode == 0


@pytest.mark.parametrize("command", [["forget", "--yes"], ["memory", "find"]], ids=" ".join)
@pytest.mark.parametrize(
    "named",
    [[], ["u", "--key-hash", "0" * 16], ["--key-hash", "12"], ["--key-file", "nowhere"], ["--key-file", "empty"]],
    ids=" ".join,
)
def test_a_key_is_named_in_one_way(home: Path, control: FakeControl, command: list[str], named: list[str]) -> None:
    """Nothing is erased where it is not sure whose text is meant."""
    (home / "empty").write_text("\n")
    assert riverkeep(*command, *named, cwd=home).returncode == ExitCode.BAD_USAGE
    assert control.calls == []


def test_a_round_is_shown_with_its_samples(home: Path, control: FakeControl) -> None:
    """In JSON, page by page."""
    facts = json.loads(riverkeep("round", "show", "7", "--json", cwd=home).stdout)
    assert [one["id"] for one in facts["samples"]["samples"]] == [1, 2, 3]
    facts = json.loads(riverkeep("round", "show", "7", "--json", "--after", "2", cwd=home).stdout)
    assert [one["id"] for one in facts["samples"]["samples"]] == [3]
    assert riverkeep("round", "show", "7", "--after", "2", cwd=home).returncode == ExitCode.BAD_USAGE


def test_a_person_is_found_by_key(home: Path, control: FakeControl) -> None:
    """For people and scripts; the text only where it is asked for; a stranger has exit status 4."""
    told = riverkeep("memory", "find", "user-1", cwd=home).stdout
    assert "1 fresh" in told
    assert "generations 1" in told
    facts = json.loads(riverkeep("memory", "find", "-", "--text", "--json", cwd=home, stdin="Zoë\n").stdout)
    assert facts["kept"][0]["text"] == "Zoë"
    run = riverkeep("memory", "find", "nobody", cwd=home)
    assert (run.returncode, run.stderr) == (ExitCode.NOT_FOUND, "riverkeep: Nothing is kept of that key.\n")
    assert riverkeep("memory", "find", "", cwd=home).returncode == ExitCode.BAD_USAGE
    assert control.calls == []


@pytest.mark.parametrize("command", [["forget"], ["memory", "find"]], ids=" ".join)
@pytest.mark.parametrize("argument", ["-", os.fsdecode(b"\xff")], ids=["stdin", "argument"])
def test_a_key_that_is_no_text_is_a_usage_error(
    home: Path, control: FakeControl, command: list[str], argument: str
) -> None:
    """A binary key of Kafka's has a name; its bytes themselves match nothing."""
    arguments = [sys.executable, "-m", "daemon", *command, argument]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    run = subprocess.run(arguments, cwd=home, env=strict, input=b"\xff\n", capture_output=True, timeout=60, check=False)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])
    assert b"0x" in run.stderr


def test_gaps_are_listed(home: Path, control: FakeControl) -> None:
    """A table for people, rows for scripts."""
    assert "retention" in riverkeep("memory", "gaps", cwd=home).stdout
    run = riverkeep("memory", "gaps", "--before", "3", "--json", cwd=home)
    assert [one["id"] for one in json.loads(run.stdout)] == [2, 1]


def test_what_was_said_of_answers_is_counted_and_listed(home: Path, control: FakeControl) -> None:
    """Tables for people, in which no text from outside does anything; rows for scripts."""
    assert "rejected" in riverkeep("feedback", cwd=home).stdout
    shown = riverkeep("feedback", "list", "--text", cwd=home).stdout
    assert "three" in shown
    assert "\x1b[2J" not in shown
    run = riverkeep("feedback", "list", "--before", "2", "--json", cwd=home)
    assert [one["id"] for one in json.loads(run.stdout)["latest"]] == [1]


def test_what_does_not_exist_has_its_exit_status(home: Path, control: FakeControl) -> None:
    """A script can tell "no such round" from a failure."""
    run = riverkeep("round", "show", "99", cwd=home)
    assert (run.returncode, run.stderr) == (ExitCode.NOT_FOUND, "riverkeep: There is no round 99.\n")


@pytest.mark.parametrize(
    "arguments",
    [["begin", "--reason", "why"], ["pause", "--reason", "x" * 501], ["pause", "--reason", "f\udcfcr heute"]],
    ids=["alone", "long", "latin-1"],
)
def test_a_reason_belongs_to_a_pause_and_is_short_text(home: Path, control: FakeControl, arguments: list[str]) -> None:
    """A usage error, and nothing was asked."""
    run = riverkeep("round", *arguments, cwd=home)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])


def test_a_pause_that_there_is_already_is_said(home: Path, control: FakeControl) -> None:
    """Since when, and why."""
    run = riverkeep("round", "pause", cwd=home, environment={"TZ": "UTC"})
    assert "already paused since 1970-01-01 00:00:01+00:00 (a first reason)" in run.stdout


def test_a_round_that_waits_ends_with_the_commands_to_decide_on_it(home: Path, control: FakeControl) -> None:
    """With its number, to be pasted."""
    counts = dict.fromkeys(("fresh_samples", "fresh_tokens", "replay_samples", "replay_tokens"), 1)
    told = {"detail": "Waiting for a person's word.", "parent": 0, "trigger": "by_hand", "verdict": {}}
    control.ended = [{"number": 10, "state": "waiting"} | counts | told]
    run = riverkeep("round", "begin", "--wait", cwd=home)
    assert run.returncode == ExitCode.REFUSED, run.stderr
    for command in ("memory aside 10 --text", "round approve 10", "round reject 10"):
        assert f"`riverkeep {command}`" in run.stdout


def test_what_is_refused_has_its_exit_status(home: Path, control: FakeControl) -> None:
    """Nothing fresh: refused, not failed."""
    run = riverkeep("round", "begin", "--dry-run", cwd=home)
    assert (run.returncode, run.stderr) == (ExitCode.REFUSED, "riverkeep: Nothing is fresh.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["approve", "3", "--reject", "3"],
        ["approve", "3", "--dry-run"],
        ["reject", "3", "--yes", "--dry-run"],
        ["show", "3", "--dry-run"],
        ["list", "--dry-run"],
        ["show", "3", "--list"],
        ["reject", "3", "--yes", "--wait"],
        ["list", "--wait"],
        ["pause", "--resume"],
        ["pause", "--wait"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_are_refused(home: Path, control: FakeControl, arguments: list[str]) -> None:
    """What cannot be done together is a usage error, and nothing was asked."""
    run = riverkeep("round", *arguments, cwd=home)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])
    assert "No such option" in run.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("round", "round begin"),
        ("round --wait", "round begin --wait"),
        ("round --dry-run --json", "round begin --dry-run --json"),
        ("round --approve 7", "round approve 7"),
        ("round --wait --approve=7", "round approve --wait 7"),
        ("round --reject 7 --yes", "round reject 7 --yes"),
        ("round --show 7 --json --after 2", "round show 7 --json --after 2"),
        ("round --list", "round list"),
        ("round --json list", "round list --json"),
        ("round --cancel", "round cancel"),
        ("round --pause --reason why", "round pause --reason why"),
        ("round --resume", "round resume"),
        ("resume", "memory dead-letters resume"),
        ("resume news/3 --json", "memory dead-letters resume news/3 --json"),
    ],
)
def test_an_old_spelling_is_answered_with_the_new_one(home: Path, control: FakeControl, old: str, new: str) -> None:
    """In one line, with the exit status of a wrong command line; nothing is asked, and the new one is understood."""
    run = riverkeep(*old.split(), cwd=home)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])
    assert run.stderr == f"riverkeep: `riverkeep {old}` is now `riverkeep {new}`.\n"
    words = new.split()
    path = next(path for path in sorted(COMMANDS, key=len, reverse=True) if new.startswith(path))
    COMMANDS[path].make_context(path, words[len(path.split()) :])


@pytest.mark.parametrize(
    ("state", "decision", "status"),
    [
        ("accepted", "accept", ExitCode.OK),
        ("refused", "refuse", ExitCode.REFUSED),
        ("abandoned", "accept", ExitCode.OK),
        ("abandoned", "refuse", ExitCode.REFUSED),
        ("waiting", "wait", ExitCode.REFUSED),
        ("failed", None, ExitCode.FAILED),
    ],
    ids=["accepted", "refused", "dry run that would be accepted", "refused dry run", "waiting", "failed"],
)
def test_waiting_for_a_round_ends_with_what_came_of_it(
    home: Path, control: FakeControl, state: str, decision: str | None, status: ExitCode
) -> None:
    """`round begin --wait` leaves with the round's outcome, once it has ended."""
    verdict = {} if decision is None else {"decision": decision}
    ended = {"number": 10, "state": "training", "generation": 2, "verdict": verdict}
    control.ended = [ended]

    def end() -> None:
        wait_until(lambda: control.calls, what="the request")
        ended["state"] = state

    ending = threading.Thread(target=end)
    ending.start()
    run = riverkeep("round", "begin", "--wait", "--json", cwd=home)
    ending.join()
    told = json.loads(run.stdout)
    assert (run.returncode, told["state"]) == (status, state)
    # What was accepted answers already.
    assert told.get("not_serving") == ("" if state == "accepted" else None)


def test_a_reader_that_has_enough_is_no_error(home: Path, control: FakeControl) -> None:
    """`riverkeep … | head -0` leaves no traceback."""
    command = f"{sys.executable} -m daemon memory dead-letters --json | true"
    run = subprocess.run(["sh", "-c", command], cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert run.stderr == ""


@pytest.mark.parametrize("command", ["round begin", "generations", "memory", "rollback"])
def test_without_anything_kept_commands_say_so(home: Path, command: str) -> None:
    """No daemon and no store: nothing is made by asking."""
    run = riverkeep(*command.split(), cwd=home)
    assert run.returncode == ExitCode.NOT_FOUND
    assert "nothing" in run.stderr
    assert not (home / "state").exists()


def test_without_settings_the_places_are_named(tmp_path: Path) -> None:
    """In the wrong directory it is the file that is missing, not a key."""
    run = riverkeep("status", cwd=tmp_path)
    assert run.returncode == ExitCode.BAD_USAGE
    for words in ("RIVERKEEP_CONFIG", "/etc/riverkeep/riverkeep.toml", "--config", "RIVERKEEP_MODEL__PATH"):
        assert words in run.stderr


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("run", "Name a directory, or one to be made."),
        ("backfill riverkeep.toml", "Make it, owned by the service's user, or set another `state_dir`."),
    ],
)
def test_a_state_directory_that_is_a_file_is_said(home: Path, command: str, remedy: str) -> None:
    """With its path, without the system's number for it, and with what to do."""
    (home / "model").mkdir()
    (home / "state").touch()
    run = riverkeep(*command.split(), cwd=home)
    assert run.returncode != 0
    assert remedy in run.stderr
    assert str(home / "state") in run.stderr
    assert "Errno" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [["forget", "someone"], ["rollback"], ["memory", "drop", "3"], ["memory", "dead-letters", "drop"]],
    ids=" ".join,
)
def test_where_nobody_answers_nothing_is_done_without_yes(
    home: Path, control: FakeControl, arguments: list[str]
) -> None:
    """A script is told of `--yes`; a no is a no."""
    silent = riverkeep(*arguments, cwd=home)
    assert silent.returncode == ExitCode.BAD_USAGE
    assert "--yes" in silent.stderr
    assert riverkeep(*arguments, cwd=home, stdin="n\n").returncode == ExitCode.INTERRUPTED
    assert control.calls == []
    assert riverkeep(*arguments, cwd=home, stdin="y\n").returncode == ExitCode.OK
    assert len(control.calls) == 1


@pytest.mark.parametrize("words", [["aside"], ["dead-letters"], ["dead-letters", "replay"]], ids=" ".join)
def test_json_may_stand_before_the_subcommand(home: Path, control: FakeControl, words: list[str]) -> None:
    """It means the same there; passed over, a script would get a table."""
    assert json.loads(riverkeep("memory", "--json", *words, cwd=home).stdout) == json.loads(
        riverkeep("memory", *words, "--json", cwd=home).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["memory", "aside", "3", "--text"], "    text 2\\x1b]0;owned\\x07\n"),
        (["memory", "aside", "3", "--text", "--limit", "1"], "--after 1"),
        (["memory", "aside", "3", "--text", "--json"], '"text": "text 2\\u001b]0;owned\\u0007"'),
        (["memory", "dead-letters"], "3 of 0 dead letters, newest first."),
        (["memory", "dead-letters", "--text", "--limit", "1"], "    {\\x1b[2J\n"),
        (["memory", "dead-letters", "--show", "2"], "2  news/0 at 2  not_json  no key"),
        (["memory", "dead-letters", "--show", "2", "--json"], '"value": "{\\u001b[2J"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_text_to_judge_is_shown(home: Path, control: FakeControl, arguments: list[str], shown: str) -> None:
    """A person can read what waits and what was not understood, and neither can command the terminal."""
    run = riverkeep(*arguments, cwd=home)
    assert run.returncode == ExitCode.OK
    assert shown in run.stdout
    assert "\x1b" not in run.stdout


def test_text_is_shown_of_one_round(home: Path, control: FakeControl) -> None:
    """Which one must be said; of one that set nothing aside there is none."""
    for wrong in (
        ["drop", "3", "--yes", "--ids", ","],
        ["drop", "3", "--yes", "--ids", "1-2"],
        ["aside", "3", "--worst"],
    ):
        assert riverkeep("memory", *wrong, cwd=home).returncode == ExitCode.BAD_USAGE
    run = riverkeep("memory", "aside", "--text", cwd=home)
    assert (run.returncode, "riverkeep memory aside" in run.stderr) == (ExitCode.BAD_USAGE, True)
    for option in ([], ["--text"]):
        assert riverkeep("memory", "aside", "99", *option, cwd=home).returncode == ExitCode.NOT_FOUND
    assert riverkeep("memory", "dead-letters", "--show", "99", cwd=home).returncode == ExitCode.NOT_FOUND


@pytest.mark.parametrize("option", ["--limit", "--before", "--show"])
def test_what_chooses_the_list_does_not_seem_to_choose_what_is_dropped(
    home: Path, control: FakeControl, option: str
) -> None:
    """`dead-letters --limit 3 drop` would drop all of them."""
    run = riverkeep("memory", "dead-letters", option, "3", "drop", "--yes", cwd=home)
    assert run.returncode == ExitCode.BAD_USAGE
    assert option in run.stderr
    assert control.calls == []


def test_a_part_by_source_is_counted_before_it_is_erased(home: Path, control: FakeControl) -> None:
    """The question says how many; a source of which nothing is there leaves with 4 and names those that are."""
    run = riverkeep("memory", "drop", "3", "--source", "news", cwd=home, stdin="n\n")
    assert "Of the 12 documents that round 3 set aside 9 are of source news: 9 to train on, 0 held out." in run.stderr
    assert "Erase these 9 documents for good?" in run.stdout + run.stderr
    assert control.calls == []
    run = riverkeep("memory", "drop", "3", "--source", "blogs", "--yes", cwd=home)
    assert run.returncode == ExitCode.NOT_FOUND
    assert "news (9), wiki (3)" in run.stderr
    assert (
        riverkeep("memory", "drop", "3", "--source", "a", "--ids", "1", "--yes", cwd=home).returncode
        == ExitCode.BAD_USAGE
    )
