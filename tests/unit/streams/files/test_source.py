"""Files become the same documents as topics, are resumed, and their damage is told."""

import gzip
import io
from itertools import islice
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.chunk import Oversized
from streams.document import Batch, DeadLetter, Reason
from streams.errors import DamagedFile, UnreadableFile
from streams.files.opened_file import OpenedFile
from streams.files.source import FileSource
from streams.files.splitting import Split, split
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat

JSON, TEXT = TopicFormat(), TopicFormat(format="text")


class Offsets:
    """Remembers what was read, as a store does."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], int] = {}
        self.texts: list[str] = []

    def __call__(self, topic: str) -> dict[str, int]:
        """As a store answers."""
        return {incarnation: offset for (of, incarnation), offset in self.known.items() if of == topic}

    def take(self, batch: Batch) -> None:
        """Note what a batch holds, and how far it goes."""
        self.texts += [document.text for document in batch.documents]
        for at, offset in batch.next_offsets.items():
            self.known[at.topic, at.incarnation] = offset


def texts(source: FileSource, offsets: Offsets | None = None, batches: int | None = None) -> list[str]:
    """The texts of a file, stored batch by batch."""
    found: list[str] = []
    with source:
        for batch in islice(source, batches):
            found += [document.text for document in batch.documents]
            if offsets is not None:
                offsets.take(batch)
    return found


def all_batches(source: FileSource) -> list[Batch]:
    """Everything in a file."""
    with source:
        return list(source)


def jsonl(*lines: str) -> bytes:
    """Lines of JSON."""
    return b"".join(orjson.dumps({"text": line}) + b"\n" for line in lines)


def test_jsonl_has_a_document_on_each_line(tmp_path: Path) -> None:
    """With the file's name as the source and blank lines left out."""
    path = tmp_path / "news.2024.jsonl"
    path.write_bytes(jsonl("one", "two") + b"\r\n\n" + jsonl("three"))
    (batch,) = all_batches(FileSource(OpenedFile(path), JSON, Offsets()))
    assert [(d.text, d.source) for d in batch.documents] == [("one", "news"), ("two", "news"), ("three", "news")]
    assert batch.documents[0].partition.topic == f"file:{path}"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("line", ["one", "two", "three"]),
        ("paragraph", ["one\ntwo", "three"]),
        ("file", ["one\ntwo\n \nthree\n"]),
    ],
)
def test_plain_text_is_split_as_told(tmp_path: Path, how: Split, expected: list[str]) -> None:
    """By lines, by blank lines, or not at all."""
    path = tmp_path / "book.txt"
    path.write_bytes(b"one\ntwo\n \nthree\n")
    assert texts(FileSource(OpenedFile(path), TEXT, Offsets(), how=how)) == expected


def test_gzip_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    """Whatever the file is called, and of several members."""
    path = tmp_path / "news.jsonl"
    path.write_bytes(gzip.compress(jsonl("one")) + gzip.compress(jsonl("two")))
    assert texts(FileSource(OpenedFile(path), JSON, Offsets())) == ["one", "two"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("is_stdin", [False, True])
def test_reading_goes_on_where_the_store_left_off(tmp_path: Path, zipped: bool, is_stdin: bool) -> None:
    """Every document once, however often it is interrupted; from disk, gzip and standard input."""
    lines = [f"document {n} " + " ".join(str((n + 1) * k) for k in range(70)) for n in range(1000)]
    data = gzip.compress(jsonl(*lines)) if zipped else jsonl(*lines)
    path = tmp_path / "news.jsonl"
    path.write_bytes(data)
    offsets = Offsets()
    settings = StreamsSettings(batch_records=7)

    def source() -> FileSource:
        stdin = io.BufferedReader(io.BytesIO(data)) if is_stdin else None
        return FileSource(OpenedFile("-" if is_stdin else path, stdin=stdin), JSON, offsets, settings=settings)

    found: list[str] = []
    for _ in range(40):
        found += texts(source(), offsets, batches=3)
    found += texts(source(), offsets)
    assert found == lines
    assert texts(source(), offsets) == []


def test_a_file_that_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    """Another beginning is another stream."""
    path, offsets = tmp_path / "news.jsonl", Offsets()
    path.write_bytes(jsonl("one", "two"))
    assert texts(FileSource(OpenedFile(path), JSON, offsets), offsets) == ["one", "two"]
    path.write_bytes(jsonl("three", "four"))
    assert texts(FileSource(OpenedFile(path), JSON, offsets), offsets) == ["three", "four"]


def test_a_large_file_that_grew_is_read_from_where_it_ended(tmp_path: Path) -> None:
    """The same beginning is the same stream."""
    path, offsets = tmp_path / "news.jsonl", Offsets()
    path.write_bytes(jsonl(*(f"document {n} " + " ".join(str((n + 1) * k) for k in range(90)) for n in range(300))))
    assert len(texts(FileSource(OpenedFile(path), JSON, offsets), offsets)) == 300
    with path.open("ab") as file:
        file.write(jsonl("one more"))
    assert texts(FileSource(OpenedFile(path), JSON, offsets), offsets) == ["one more"]


def test_a_line_that_is_too_long_is_a_dead_letter(tmp_path: Path) -> None:
    """50 MB without an end are not gathered, and the next line comes."""
    path = tmp_path / "news.jsonl"
    path.write_bytes(jsonl("one") + b'{"text": "' + b"x" * 50_000_000 + b'"}\n' + jsonl("two"))
    letters: list[DeadLetter] = []
    found: list[str] = []
    settings = StreamsSettings(dead_letter_bytes=20)
    for batch in all_batches(FileSource(OpenedFile(path), JSON, Offsets(), settings=settings)):
        letters += batch.dead_letters
        found += [document.text for document in batch.documents]
    assert found == ["one", "two"]
    (letter,) = letters
    assert (letter.reason, letter.value_bytes) == (Reason.TOO_LARGE, 50_000_012)
    assert letter.value == b'{"text": "xxxxxxxxxx'


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_damaged_gzip_gives_what_it_can_and_says_so(tmp_path: Path, harm: str) -> None:
    """What came before the damage is stored; the error names the place."""
    lines = [f"document {n} {hash(str(n))}" for n in range(20_000)]
    data = bytearray(gzip.compress(jsonl(*lines)))
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[-5] ^= 1
    path = tmp_path / "news.gz"
    path.write_bytes(data)
    found: list[str] = []

    def read() -> None:
        with FileSource(OpenedFile(path), JSON, Offsets()) as source:
            for batch in source:
                found.extend(document.text for document in batch.documents)

    with pytest.raises(DamagedFile, match=r"damaged after byte [\d,]+"):
        read()
    assert found == lines[: len(found)]
    assert len(found) > 1000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error says which, and what to do; a directory is none either."""
    with pytest.raises(UnreadableFile, match=r"nowhere.*correct the path"):
        OpenedFile(tmp_path / "nowhere")
    with pytest.raises(UnreadableFile):
        OpenedFile(tmp_path)


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    """No batch at all."""
    (tmp_path / "empty").touch()
    assert all_batches(FileSource(OpenedFile(tmp_path / "empty"), JSON, Offsets())) == []


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(1, 9), st.integers(1, 25))
def test_lines_are_found_across_any_chunks(lines: list[bytes], size: int, most: int) -> None:
    """Pieces of any size give the same lines, offsets meet, and only the long ones are told instead of given."""
    data = b"\n".join(lines)
    pieces = [data[place : place + size] for place in range(0, len(data), size)]
    records = list(split(pieces, 100, "line", most=most, kept=1))
    wanted = [line for line in data.split(b"\n") if len(line) > most or line.strip()]
    # Carriage returns before line feeds are a system's, not the text's; the last line has no line feed.
    assert [r.value.removesuffix(b"\r") if isinstance(r.value, bytes) else r.value.value_bytes for r in records] == [
        line.removesuffix(b"\r") if len(line) <= most else len(line) for line in wanted
    ]
    for record, line in zip(records, wanted, strict=True):
        assert data[record.begin - 100 :].startswith(line)
        assert record.begin + len(line) <= record.after <= 100 + len(data)


def test_a_long_paragraph_is_told_of() -> None:
    """Its length is that of its lines, and its beginning is kept."""
    data = [b"ab\ncd\n\n", b"x" * 10, b"\nefgh\n\n\nend"]
    records = list(split(data, 0, "paragraph", most=5, kept=3))
    assert [record.value for record in records] == [b"ab\ncd", Oversized(b"xxx", 15), b"end"]
    assert [(record.begin, record.after) for record in records] == [(0, 7), (7, 24), (25, 28)]
