"""A file that still grows: what has no end yet waits, and everything is taken once."""

import gzip
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import DamagedFile
from streams.files.opened_file import HEAD, OpenedFile
from streams.files.source import FileSource
from streams.files.splitting import Split
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat
from tests.unit.streams.files.test_source import Offsets

LINES = [f"document {number} " + " ".join(str((number + 1) * k) for k in range(60)) for number in range(400)]
JSONL = b"".join(orjson.dumps({"text": line}) + b"\n" for line in LINES)
JSON, TEXT = TopicFormat(), TopicFormat(format="text")


def take(path: Path, offsets: Offsets, format_: TopicFormat, *, how: Split = "line", ended: bool = False) -> list[str]:
    """The texts that are new in a file; that none is a dead letter."""
    found: list[str] = []
    source = FileSource(OpenedFile(path), format_, offsets, settings=StreamsSettings(), how=how, ended=ended)
    with source:
        for batch in source:
            assert not batch.dead_letters
            found += [document.text for document in batch.documents]
            offsets.take(batch)
    return found


@pytest.mark.parametrize("begin", [0, len(JSONL) - 3000], ids=["small", "large"])
@given(cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6))
def test_json_lines_that_are_written_in_pieces_come_once(
    tmp_path_factory: pytest.TempPathFactory, begin: int, cuts: list[int]
) -> None:
    """Read after each piece, wherever it is cut: no dead letter, no half, no document twice."""
    path, offsets = tmp_path_factory.mktemp("grows") / "news.jsonl", Offsets()
    assert begin == 0 or begin > HEAD
    data = JSONL[len(JSONL) - 3000 :] if begin == 0 else JSONL
    data = data[data.index(b"\n") + 1 :] if begin == 0 else data
    found: list[str] = []
    for cut in [*sorted(begin + cut for cut in cuts), len(data)]:
        path.write_bytes(data[:cut])
        found += take(path, offsets, JSON)
    assert found == [orjson.loads(line)["text"] for line in data.splitlines()]


@pytest.mark.parametrize(
    ("how", "separator"), [("line", "\n"), ("paragraph", "\n\n"), ("line", "\r\n"), ("line", "\r")]
)
@given(cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6))
def test_plain_text_that_is_written_in_pieces_comes_once(
    tmp_path_factory: pytest.TempPathFactory, how: Split, separator: str, cuts: list[int]
) -> None:
    """By lines and by paragraphs, and with the line ends of every system."""
    path, offsets = tmp_path_factory.mktemp("grows") / "news.txt", Offsets()
    data = separator.join(LINES[:12]).encode()
    found: list[str] = []
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        found += take(path, offsets, TEXT, how=how)
    path.write_bytes(data)
    assert found + take(path, offsets, TEXT, how=how, ended=True) == LINES[:12]


def test_a_whole_file_as_one_document_waits_until_it_has_ended(tmp_path: Path) -> None:
    """Its bytes are counted meanwhile."""
    path, offsets = tmp_path / "book.txt", Offsets()
    path.write_text("The first half\n")
    with FileSource(OpenedFile(path), TEXT, offsets, how="file", ended=False) as source:
        assert not list(source)
        assert source.waiting == 15
    with path.open("a") as file:
        file.write("and the second.\n")
    assert take(path, offsets, TEXT, how="file", ended=True) == ["The first half\nand the second.\n"]


def test_an_object_that_is_closed_is_whole_without_a_line_end(tmp_path: Path) -> None:
    """Many writers end no last line."""
    path, offsets = tmp_path / "news.jsonl", Offsets()
    path.write_bytes(JSONL.rstrip(b"\n"))
    assert take(path, offsets, JSON) == LINES
    path.write_bytes(JSONL + orjson.dumps({"text": "one more"}))
    assert take(path, offsets, JSON) == ["one more"]


def test_a_half_line_is_taken_where_the_file_is_said_to_have_ended(tmp_path: Path) -> None:
    """Then it is what it is: a dead letter."""
    path = tmp_path / "news.jsonl"
    path.write_bytes(JSONL[:-30])
    with FileSource(OpenedFile(path), JSON, Offsets(), ended=True) as source:
        (batch,) = source
    assert (len(batch.documents), len(batch.dead_letters)) == (len(LINES) - 1, 1)


def test_a_small_file_that_grows_is_not_read_again(tmp_path: Path) -> None:
    """Nor is it when it grew beyond what a file is known by."""
    path, offsets = tmp_path / "news.txt", Offsets()
    path.write_text("one\n")
    assert take(path, offsets, TEXT) == ["one"]
    for text in ("one\ntwo\n", "one\ntwo\nthree\n"):
        path.write_text(text)
        assert take(path, offsets, TEXT) == [text.split()[-1]]
    path.write_text("one\ntwo\nthree\n" + "\n".join(LINES) + "\n")
    assert path.stat().st_size > HEAD
    assert take(path, offsets, TEXT) == LINES
    path.write_text("another\nfile\n")
    assert take(path, offsets, TEXT) == ["another", "file"]


def test_an_archive_that_was_cut_off_goes_on_when_it_is_whole(tmp_path: Path) -> None:
    """The part that was taken is not taken again."""
    path, offsets = tmp_path / "news.jsonl.gz", Offsets()
    packed = gzip.compress(JSONL)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DamagedFile, match="cut off"):
        take(path, offsets, JSON)
    found = list(offsets.texts)
    assert 0 < len(found) < len(LINES)
    path.write_bytes(packed)
    assert found + take(path, offsets, JSON) == LINES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    """Text and JSON, small and large; read on where it was left."""
    for format_, data, expected in ((TEXT, "\n".join(LINES), LINES), (JSON, JSONL.decode(), LINES)):
        path, offsets = tmp_path / f"news-{format_.format}", Offsets()
        path.write_bytes(data.encode(encoding))
        found = take(path, offsets, format_, ended=True)
        assert found == expected
        path.write_bytes((data + '\n{"text": "one more \u00e9"}\n').encode(encoding))
        assert len(take(path, offsets, format_, ended=True)) == 1


@pytest.mark.parametrize("how", ["line", "paragraph", "file"])
def test_line_ends_of_every_system_give_the_same_text(tmp_path: Path, how: Split) -> None:
    """A text with CRLF or CR is the twin of the one with LF."""
    text = "One line\nand a second.\n\nAnother paragraph,\nof two lines.\n"
    found = []
    for number, end in enumerate(("\n", "\r\n", "\r")):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(text.replace("\n", end).encode())
        found.append(take(path, Offsets(), TEXT, how=how, ended=True))
    assert found[0] == found[1] == found[2]
    assert "\r" not in "".join(found[1] + found[2])


def test_a_name_that_is_no_utf_8_is_read_and_shown(tmp_path: Path) -> None:
    """Its bytes are escaped where a person sees them and where they are stored."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    path.write_bytes(JSONL)
    offsets = Offsets()
    assert take(path, offsets, JSON) == LINES
    ((topic, _),) = offsets.known
    assert topic.endswith("caf\\xe9.jsonl")
    topic.encode()
