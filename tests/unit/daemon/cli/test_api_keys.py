"""`riverkeep keys`: who may ask the model."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.doctor.notes import notes
from daemon.exit_codes import ExitCode
from daemon.settings.load import load
from serving.door.bearer import digest_of
from serving.keys.key_file import add_key, revoke_key
from serving.keys.usage import KeyUsage
from tests.command_line import riverkeep

SETTINGS = 'state_dir = "state"\nmodel.path = "model"\nserving.api_key_file = "keys"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Settings that name a file which is not there yet."""
    (tmp_path / "riverkeep.toml").write_text(SETTINGS)
    return tmp_path


def test_a_key_is_shown_once_listed_and_revoked(home: Path) -> None:
    """What a script reads is the key alone; limits are those that were named."""
    added = riverkeep("keys", "add", "alice", "--tokens-per-day", "1000000", "--at-once", "none", cwd=home)
    assert added.returncode == 0, added.stderr
    secret = added.stdout.strip()
    assert secret.startswith("rk-")
    assert digest_of(secret).hex() in (home / "keys").read_text()
    assert secret not in added.stderr + (home / "keys").read_text()
    (home / "state").mkdir()
    KeyUsage(home / "state" / "key-usage.json").add(datetime.now(UTC).date(), {"alice": 4321})
    listed = riverkeep("keys", "list", cwd=home).stdout
    assert "alice" in listed
    assert "4,321" in listed
    assert "tokens_per_day 1,000,000, at_once none" in listed
    revoked = riverkeep("keys", "revoke", "alice", cwd=home)
    assert "0 keys are left" in revoked.stdout
    assert "Nobody can ask any more" in revoked.stderr
    assert riverkeep("keys", "revoke", "alice", cwd=home).returncode == ExitCode.NOT_FOUND


def test_a_key_that_is_in_use_is_taken_from_standard_input(home: Path) -> None:
    """Its line in plain text becomes its hash; `check` says of those that are left what to do."""
    (home / "keys").write_text("an-old-key-of-bobs-own\nanother-key-in-plain-text\n")
    taken = riverkeep("keys", "add", "bob", "--stdin", cwd=home, stdin="an-old-key-of-bobs-own\n")
    assert "in place of line 1 in plain text" in taken.stderr
    assert not taken.stdout
    facts = json.loads(riverkeep("keys", "list", "--json", cwd=home).stdout)
    assert [(key["name"], key["plain_text"]) for key in facts] == [("bob", False), ("line-2", True)]


@pytest.mark.parametrize(
    ("words", "says", "status"),
    [
        (("add", "a b"), "up to 64 letters", ExitCode.BAD_USAGE),
        (("add", "alice", "--at-once", "0"), "at_once is a whole number", ExitCode.BAD_USAGE),
        (("add", "alice", "--stdin"), "can be guessed", ExitCode.BAD_USAGE),
        (("list",), "cannot be read", ExitCode.FAILED),
        (("revoke", "alice"), "No such file", ExitCode.FAILED),
        (("add", "alice", "--file", "missing/keys"), "No such file", ExitCode.FAILED),
    ],
)
def test_what_is_wrong_is_a_sentence(home: Path, words: tuple[str, ...], says: str, status: ExitCode) -> None:
    """And leaves nothing behind."""
    run = riverkeep("keys", *words, cwd=home)
    assert (run.returncode, says in run.stderr) == (status, True), run.stderr
    assert not (home / "keys").exists()


def test_keys_in_plain_text_are_noted(home: Path) -> None:
    """By `check`, with what to do; hashed ones are not."""
    (home / "keys").write_text("an-old-key-of-bobs-own\nanother-key-in-plain-text\n")
    (home / "keys").chmod(0o600)
    (home / "model").mkdir()
    settings = load(home / "riverkeep.toml", {}, files=True)
    (note,) = (note for note in notes(settings) if "api_key_file" in note)
    assert "holds 2 keys (line-1 …) in plain text" in note
    add_key(home / "keys", "bob", {}, "an-old-key-of-bobs-own")
    revoke_key(home / "keys", "line-2")
    assert not any("api_key_file" in note for note in notes(settings))


def test_without_a_file_of_keys_it_says_where_to_name_one(home: Path) -> None:
    """Or another is named here."""
    (home / "riverkeep.toml").write_text(SETTINGS.partition("serving")[0])
    refused = riverkeep("keys", "list", cwd=home)
    assert refused.returncode == ExitCode.BAD_USAGE
    assert "serving.api_key_file is not set" in refused.stderr
    assert riverkeep("keys", "add", "alice", "--file", "copy", cwd=home).returncode == 0
    assert riverkeep("keys", "list", "--file", "copy", cwd=home).returncode == 0
