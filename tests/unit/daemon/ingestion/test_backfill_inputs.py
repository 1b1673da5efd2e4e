"""What is given to `riverkeep backfill` is read for what it is, or refused by name: never taken for something else."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow.parquet import write_table
from pysqlite3 import dbapi2 as sqlite3

from tests.command_line import riverkeep
from tests.unit.daemon.ingestion.test_backfill import sentence

RECORDS = [{"text": sentence(number), "id": f"user-{number}"} for number in range(20)]
JSONL = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
TEXT = "\n\n".join(sentence(number) for number in range(20)) + "\n\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the command is given; the records have keys."""
    topic = '[[streams.topics]]\nname = "articles"\nkey_field = "id"\n'
    (tmp_path / "riverkeep.toml").write_text(f'state_dir = "state"\n[model]\npath = "model"\n{topic}')
    return tmp_path


def backfill(home: Path, *words: str) -> tuple[int, dict[str, object], str]:
    """Exit status, facts and standard error of a backfill."""
    run = riverkeep("backfill", "--json", *words, cwd=home)
    return run.returncode, json.loads(run.stdout or "{}"), run.stderr


def stored(facts: dict[str, object]) -> object:
    """How many documents were stored."""
    fresh, holdout = facts["fresh"], facts["holdout"]
    assert isinstance(fresh, int)
    assert isinstance(holdout, int)
    return fresh + holdout


def zipped() -> bytes:
    """The records in a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jsonl", JSONL)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("UP.JSONL", JSONL),
        ("a.NDJSON.GZ", gzip.compress(JSONL)),
        ("plain.gz", gzip.compress(JSONL)),
        ("dump", JSONL),
        ("dump.dat", JSONL),
        ("a.jsonl.bz2", bz2.compress(JSONL)),
        ("a.xz", lzma.compress(JSONL)),
        ("a.jsonl", zstandard.ZstdCompressor().compress(JSONL)),
        ("a.jsonl.utf16", JSONL.decode().encode("utf-16")),
        ("a.json", JSONL.replace(b"\n", b"\r\n")),
    ],
)
def test_json_lines_are_known_in_every_dress(home: Path, name: str, content: bytes) -> None:
    """Whatever the file is called and however it is packed: documents with their keys, no raw JSON."""
    (home / name).write_bytes(content)
    code, facts, _ = backfill(home, name)
    assert (code, stored(facts), facts["without_key"]) == (0, 20, 0)


def test_a_parquet_file_is_read_by_its_columns(home: Path) -> None:
    """With the fields of the topic; a second time nothing is new; what has no text is a dead letter."""
    table = pa.table(
        {
            "text": [*(record["text"] for record in RECORDS), None],
            "id": [*(record["id"] for record in RECORDS), "user-99"],
            "blob": [b"\xff" * 100] * 21,
        }
    )
    write_table(table, home / "rows.parquet", row_group_size=7)
    code, facts, _ = backfill(home, "rows.parquet")
    assert (code, stored(facts), facts["dead_letters"], facts["without_key"]) == (0, 20, 1, 0)
    _, again, _ = backfill(home, "rows.parquet")
    assert stored(again) == 0
    (home / "cut.parquet").write_bytes((home / "rows.parquet").read_bytes()[:-40])
    code, _, error = backfill(home, "cut.parquet")
    assert code == 1
    assert "cut.parquet begins as Parquet and cannot be read as such" in error


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_in_parquet_that_python_has_not_cost_no_file(home: Path, zone: str | None) -> None:
    """Nanoseconds are cut off, and a year that no text is from is a dead letter of its own."""
    nanoseconds = pa.array([1712113012345678901, 1712113012345678902], pa.timestamp("ns", zone))
    seconds = pa.array([10**15, 1712113012], pa.timestamp("s", zone))
    # Texts of their own: what is nearly held-out text would not be stored.
    for name, times, records in (("fine.parquet", nanoseconds, RECORDS[:2]), ("far.parquet", seconds, RECORDS[2:4])):
        texts = [record["text"] for record in records]
        write_table(pa.table({"text": texts, "at": times}), home / name)
    code, facts, error = backfill(home, "--time-field", "at", "fine.parquet", "far.parquet")
    assert (code, stored(facts), facts["dead_letters"]) == (0, 3, 1), error
    with closing(sqlite3.connect(home / "state" / "riverkeep.db")) as database:
        times_kept = {int(time) for (time,) in database.execute("SELECT event_time FROM samples")}
    assert times_kept == {1712113012}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", json.dumps(RECORDS).encode(), "one JSON array"),
        ("a.json", json.dumps(RECORDS, indent=1).encode(), "jq -c '.[]'"),
        ("a.jsonl", json.dumps(RECORDS[0], indent=4).encode(), "over several lines"),
        ("export", json.dumps(RECORDS, indent=1).encode(), "--format text"),
        ("a.jsonl", JSONL.replace(b"\n", b""), "several objects on a line"),
        ("export", JSONL.replace(b"\n", b""), "jq -c ."),
        ("a.jsonl", JSONL.replace(b"\n", b",\n"), "a comma behind each object"),
        ("a.json", b"\x1e" + JSONL, "tr -d '\\036'"),
        ("a.jsonl", "\n".join(map(repr, RECORDS)).encode(), "json.dumps"),
        ("a.html", b"<!DOCTYPE html><p>A text</p>", "pandoc"),
        ("a.csv", b"id,text\n1,A text\n", "--ojsonl"),
    ],
)
def test_json_of_another_kind_is_refused_by_name(home: Path, name: str, content: bytes, said: str) -> None:
    """Nothing is stored, not even dead letters, and the command that mends it is told."""
    (home / name).write_bytes(content)
    code, _, error = backfill(home, name)
    assert code == 2
    assert said in error
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl.zip", zipped(), "zip archive"),
        ("a.pdf", b"%PDF-1.7\n", "pdftotext"),
        ("a.txt", TEXT.encode("utf-16-le"), "iconv"),
        ("b.txt", TEXT.encode("utf-16-be"), "iconv -f UTF-16BE"),
        ("holes.jsonl", bytes(9000) + JSONL, "tr -d '\\000'"),
        ("some.bin", bytes(range(1, 256)) * 8, "binary"),
        ("twice.gz", gzip.compress(bz2.compress(JSONL)), "compressed twice"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_read(home: Path, name: str, content: bytes, said: str) -> None:
    """Exit status 1, and the files beside it are stored."""
    (home / name).write_bytes(content)
    (home / "good.jsonl").write_bytes(JSONL)
    code, facts, error = backfill(home, name, "good.jsonl")
    assert (code, stored(facts), facts["dead_letters"]) == (1, 20, 0)
    assert said in error


def test_json_in_a_file_that_is_named_a_text_is_asked_about(home: Path) -> None:
    """Both answers are taken."""
    (home / "notes.txt").write_bytes(JSONL)
    code, _, error = backfill(home, "notes.txt")
    assert code == 2
    assert "say --format json or --format text" in error
    code, facts, _ = backfill(home, "--format", "json", "notes.txt")
    assert (code, stored(facts)) == (0, 20)


def test_a_file_of_which_nothing_could_be_read_does_not_end_as_done(home: Path) -> None:
    """Exit status 1, with the reason of the first record and what the file looks like."""
    (home / "a.jsonl").write_text('["a"]\n["b"]\n"c"\n')
    code, facts, error = backfill(home, "a.jsonl")
    assert (code, stored(facts), facts["dead_letters"]) == (1, 0, 3)
    assert "Nothing of a.jsonl could be read; its first record: not_an_object" in error


def test_a_text_in_another_encoding_is_named_as_that(home: Path) -> None:
    """One of a byte for each character, with what makes UTF-8 of it."""
    (home / "latin.txt").write_bytes("Größe und Höhe\n\n".encode("latin-1"))
    code, facts, error = backfill(home, "--ended", "latin.txt")
    assert (code, stored(facts), facts["dead_letters"]) == (1, 0, 1)
    assert "iconv -f WINDOWS-1252" in error


def test_standard_input_is_known_by_its_beginning(home: Path) -> None:
    """Also where it comes byte by byte and packed."""
    command = [sys.executable, "-m", "daemon", "backfill", "--json", "-"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as run:
        assert run.stdin is not None
        for place in range(20):
            run.stdin.write(gzip.compress(JSONL)[place : place + 1])
            run.stdin.flush()
        run.stdin.write(gzip.compress(JSONL)[20:])
        out, _ = run.communicate(timeout=60)
    facts = json.loads(out)
    assert (run.returncode, stored(facts), facts["without_key"]) == (0, 20, 0)


def test_a_line_that_is_still_written_waits_and_is_stored_once(home: Path) -> None:
    """No dead letter, no half; what waits is said."""
    lines = b"".join(json.dumps({"text": sentence(number), "id": "u"}).encode() + b"\n" for number in range(700))
    assert len(lines) > 100_000
    (home / "log.jsonl").write_bytes(lines[:-50])
    code, facts, _ = backfill(home, "log.jsonl")
    assert (code, stored(facts), facts["dead_letters"]) == (0, 699, 0)
    assert facts["waiting"]
    (home / "log.jsonl").write_bytes(lines)
    code, facts, _ = backfill(home, "log.jsonl")
    assert (code, stored(facts), facts["dead_letters"], facts["waiting"]) == (0, 1, 0, {})


def test_a_text_that_was_just_changed_keeps_its_end_back(home: Path) -> None:
    """Until it is a minute old, or said to have ended; the message says so."""
    path = home / "notes.txt"
    path.write_text(f"{sentence(1)}\n\n{sentence(2)}")
    run = riverkeep("backfill", "notes.txt", cwd=home)
    assert "1 fresh" in run.stdout or "1 holdout" in run.stdout
    assert "notes.txt: the last" in run.stderr
    assert "--ended at once" in run.stderr
    an_hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    _, facts, _ = backfill(home, "notes.txt")
    assert (stored(facts), facts["waiting"]) == (1, {})


def test_a_twin_with_other_line_ends_is_a_duplicate(home: Path) -> None:
    """A text from Windows is the same text."""
    text = f"{sentence(1)}\n{sentence(2)}\n"
    (home / "unix.txt").write_bytes(text.encode())
    (home / "windows.txt").write_bytes(text.replace("\n", "\r\n").encode())
    _, facts, _ = backfill(home, "--ended", "unix.txt", "windows.txt")
    assert (stored(facts), facts["duplicates"]) == (1, 1)
    with closing(sqlite3.connect(home / "state" / "riverkeep.db")) as database:
        assert not any("\r" in text for (text,) in database.execute("SELECT text FROM samples"))


@pytest.mark.parametrize("content", [JSONL, gzip.compress(JSONL)], ids=["plain", "packed"])
@pytest.mark.parametrize("how", ["<({})", "/dev/stdin < <({})", "pipe"])
def test_a_pipe_is_read_once_and_to_its_end(home: Path, how: str, content: bytes) -> None:
    """As a shell gives it in a file's place, and a named one: nothing is taken from it only to look at it."""
    (home / "content").write_bytes(content)
    os.mkfifo(home / "pipe")
    begin = "cat content > pipe & " if how == "pipe" else ""
    command = f"{begin}{sys.executable} -m daemon backfill --json {how.format('cat content')}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        ["bash", "-c", command], cwd=home, env=environment, capture_output=True, timeout=60, check=False
    )
    facts = json.loads(run.stdout)
    assert (run.returncode, stored(facts), facts["dead_letters"], facts["waiting"]) == (0, 20, 0, {})


def test_the_end_of_a_text_from_a_pipe_is_taken(home: Path) -> None:
    """It cannot be asked for again."""
    (home / "notes.txt").write_text(f"{sentence(1)}\n\n{sentence(2)}")
    command = f"{sys.executable} -m daemon backfill --json <(cat notes.txt)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        ["bash", "-c", command], cwd=home, env=environment, capture_output=True, timeout=60, check=False
    )
    facts = json.loads(run.stdout)
    assert (run.returncode, stored(facts), facts["waiting"]) == (0, 2, {})


def test_a_long_first_line_of_json_is_known(home: Path) -> None:
    """Also where the object does not end within the bytes that are looked at."""
    (home / "dump").write_text(json.dumps({"text": "word " * 30_000, "id": "u"}) + "\n" + JSONL.decode())
    code, facts, _ = backfill(home, "--ended", "dump")
    assert code == 0
    assert facts["fields"] == {"text_field": "text", "key_field": "id"}
    assert stored(facts) in {20, 21}


@pytest.mark.parametrize("damage", ["rubbish", "cut"])
def test_a_damaged_archive_gives_what_is_whole(home: Path, damage: str) -> None:
    """The damage is named, with exit status 1."""
    packed = gzip.compress(JSONL)
    (home / "a.jsonl.gz").write_bytes(packed + b"rubbish" if damage == "rubbish" else packed[:-60])
    code, facts, error = backfill(home, "a.jsonl.gz")
    assert code == 1
    assert "a.jsonl.gz is damaged after byte" in error
    count = stored(facts)
    assert isinstance(count, int)
    assert count == 20 if damage == "rubbish" else 10 < count < 20


@pytest.mark.parametrize("where", ["path", "config"])
def test_names_that_are_no_utf_8_work(home: Path, where: str) -> None:
    """A file's, and that of the settings."""
    odd = os.fsencode(home) + b"/caf\xe9"
    if where == "path":
        words: list[str | bytes] = ["backfill", "--json", odd + b".jsonl"]
        Path(os.fsdecode(odd + b".jsonl")).write_bytes(JSONL)
    else:
        words = ["--config", odd + b".toml", "backfill", "--json", "a.jsonl"]
        (home / "riverkeep.toml").rename(os.fsdecode(odd + b".toml"))
        (home / "a.jsonl").write_bytes(JSONL)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-m", "daemon", *words], cwd=home, capture_output=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert stored(json.loads(run.stdout)) == 20
    assert b"Traceback" not in run.stderr


def test_a_name_with_line_ends_and_escapes_is_shown_in_one_line(home: Path) -> None:
    """Nothing in it moves a cursor; of standard input such a name is refused."""
    name = "a\n\x1b[31mb.jsonl"
    (home / name).write_bytes(JSONL)
    code, facts, _ = backfill(home, name)
    assert (code, stored(facts)) == (0, 20)
    (home / name).write_bytes(json.dumps(RECORDS).encode())
    _, _, error = backfill(home, name)
    assert "a\\n\\x1b[31mb.jsonl seems to be one JSON array" in error
    for odd in ("a\nb", "\x1b]0;x\x07", "n" * 5000):
        code, _, error = backfill(home, "--name", odd, "/dev/null", "-")
        assert code == 2
        assert "--name takes up to" in error


@pytest.mark.parametrize(
    "words",
    [
        ["backfill", "--source", b"caf\xe9", "a.jsonl"],
        ["backfill", "--text-field", b"caf\xe9", "a.jsonl"],
        ["backfill", "--name", b"caf\xe9", "a.jsonl"],
        ["forget", "--yes", b"caf\xe9"],
        ["round", "pause", "--reason", b"caf\xe9"],
    ],
)
def test_words_that_are_no_utf_8_are_refused(home: Path, words: list[str | bytes]) -> None:
    """Nothing that is stored could ever be so: in one sentence, before anything is done."""
    (home / "a.jsonl").write_bytes(JSONL)
    run = subprocess.run(
        [sys.executable, "-m", "daemon", *words],
        cwd=home,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert b"is not UTF-8" in run.stderr
    assert b"Traceback" not in run.stderr
