"""What nobody sees in files, and streams that are closed, narrow or full: read all the same, or named; no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.admin.token import read_token
from daemon.settings.admin import AdminSettings
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings
from serving.door.bearer import digest_of
from serving.keys.entries import read_entries
from streams.errors import BadSecret
from streams.secret_files import secret

MODEL = 'state_dir = "state"\n[model]\npath = "."\n'
ROOT = Path(__file__).parents[5]


@pytest.mark.parametrize(
    "written",
    ["\ufeff" + MODEL, MODEL.replace("\n", "\r"), MODEL.replace("\n", "\r\n"), "\ufeff" + MODEL.replace("\n", "\r\n")],
)
def test_settings_are_read_without_a_byte_order_mark_and_with_any_line_ends(tmp_path: Path, written: str) -> None:
    """As editors of other systems save them."""
    config = tmp_path / "riverkeep.toml"
    config.write_bytes(written.encode())
    assert load(config, {}).state_dir == tmp_path / "state"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (
            MODEL.replace("[model]", "\u00a0[model]").encode(),
            "line 2 has an invisible U+00A0 (NO-BREAK SPACE) at column 1",
        ),
        (MODEL.replace("path =", "path\u200b =").encode(), "line 3 has an invisible U+200B (ZERO WIDTH SPACE)"),
        (("# mine\n\ufeff" + MODEL).encode(), "line 2 has an invisible U+FEFF"),
        (MODEL.encode("utf-16"), "begins as UTF-16 does"),
        (MODEL.encode("utf-16-le"), "UTF-16 or UTF-32: save it as UTF-8"),
        (MODEL.encode("utf-16-be"), "UTF-16 or UTF-32: save it as UTF-8"),
        (MODEL.encode("utf-32-le"), "UTF-16 or UTF-32: save it as UTF-8"),
        (
            MODEL.replace('"', "\u201d").encode(),
            'line 1 has a U+201D (RIGHT DOUBLE QUOTATION MARK) at column 13: write a plain "',
        ),
        (b"x = " + b"9" * 5000, "thousands of digits"),
        (f"x = {'[' * 2000}{']' * 2000}".encode(), "nested more than"),
        (f"x = {'[' * 300}{']' * 300}".encode(), "nested more than"),
        ((".".join(["a"] * 2000) + " = 1").encode(), "nested more than"),
    ],
)
def test_what_hides_in_settings_is_named(tmp_path: Path, written: bytes, says: str) -> None:
    """By line and column, where there is one."""
    config = tmp_path / "riverkeep.toml"
    config.write_bytes(written)
    with pytest.raises(BadSettings) as said:
        load(config, {})
    assert says in str(said.value)


def test_a_variable_that_is_nested_deep_is_no_traceback() -> None:
    """It is a value of the wrong type."""
    with pytest.raises(BadSettings):
        load(None, {"RIVERKEEP_MODEL__PATH": "/m", "RIVERKEEP_STREAMS__TOPICS": "[" * 5000 + "]" * 5000})


@pytest.mark.parametrize(
    "around", ["\ufeff{}", "{}\r\n", "\u00a0{}\u00a0", "{}\u200b\n", "\ufeff{}\u2060\r\n", "{}\x00", "{}\n\n"]
)
def test_secrets_are_read_without_what_nobody_sees(tmp_path: Path, around: str) -> None:
    """Passwords, keys and tokens."""
    path = tmp_path / "secret"
    path.write_bytes(around.format("s3cret-of-mine").encode())
    assert secret(path) == "s3cret-of-mine"
    assert [entry.digest for entry in read_entries(path)] == [digest_of("s3cret-of-mine")]
    assert read_token(AdminSettings(token_file=path), tmp_path) == "s3cret-of-mine"


def test_what_nobody_sees_within_a_password_is_named(tmp_path: Path) -> None:
    """By its place, never by the password."""
    path = tmp_path / "secret"
    path.write_text("s3c\u200bret")
    with pytest.raises(BadSecret, match="at place 4") as said:
        secret(path)
    assert "ret" not in str(said.value).replace("secret", "")


def riverkeep(command: str, tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """A command of the shell in which `riverkeep` is this one."""
    told = {**os.environ, "PYTHONPATH": str(ROOT), "R": f"{sys.executable} -m daemon", **environment}
    return subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=told, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_output_is_written_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """What an encoding lacks comes as an escape."""
    config = tmp_path / "riverkeep.toml"
    config.write_text('state_dir = "Zürich-東京"\n[model]\npath = "."\n', encoding="utf-8")
    done = riverkeep("$R check && $R status", tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 5
    assert b"Traceback" not in done.stderr
    assert "Zürich-東京".encode(encoding, "backslashreplace") in done.stdout


def test_a_locale_without_the_letters_of_a_path_is_named(tmp_path: Path) -> None:
    """With the one that has them."""
    (tmp_path / "riverkeep.toml").write_text('state_dir = "Zürich"\n[model]\npath = "."\n', encoding="utf-8")
    done = riverkeep("$R status", tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert b"set LC_ALL=C.UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["status", "status --json", "check", "--help", "memory --help", "doctor --skip-model"]
)
@pytest.mark.parametrize("end", [">&-", ">&- 2>&- <&-", "| head -c 0"])
def test_nobody_who_reads_is_no_traceback(tmp_path: Path, command: str, end: str) -> None:
    """Closed before, closed by who read, or all of them closed."""
    (tmp_path / "riverkeep.toml").write_text(MODEL)
    done = riverkeep(f"$R {command} {end}", tmp_path)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_full_disk_behind_standard_output_is_said(tmp_path: Path) -> None:
    """In a sentence, and with an exit status."""
    (tmp_path / "riverkeep.toml").write_text(MODEL)
    done = riverkeep("$R check > /dev/full", tmp_path)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr
