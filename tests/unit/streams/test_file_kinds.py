"""What a file holds is told by its beginning."""

import io
import json
import zipfile

import pytest

from streams.file_kinds import Look, foreign, look

OBJECT = {"text": "a sentence, and one more", "id": 7}
LINE = json.dumps(OBJECT) + "\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINE * 3, Look.JSON_LINES),
        (LINE, Look.JSON_LINES),
        (LINE.strip(), Look.JSON_LINES),
        ("\ufeff" + LINE * 2, Look.JSON_LINES),
        (LINE.replace("\n", "\r\n") * 3, Look.JSON_LINES),
        ("\n\n" + LINE * 2, Look.JSON_LINES),
        (LINE * 2 + LINE[:20], Look.JSON_LINES),
        (json.dumps([OBJECT] * 3), Look.JSON_ARRAY),
        (json.dumps([OBJECT] * 3, indent=2), Look.JSON_ARRAY),
        ("[\n" + LINE.strip() + ",\n" + LINE + "]\n", Look.JSON_ARRAY),
        ('["one text", "and another"]', Look.JSON_ARRAY),
        (json.dumps(OBJECT, indent=2), Look.JSON_DOCUMENT),
        (json.dumps(OBJECT, indent=2) + "\n" + json.dumps(OBJECT, indent=2), Look.JSON_DOCUMENT),
        ('{\n  "data": [' + LINE + "]}", Look.JSON_DOCUMENT),
        (LINE.strip() * 3, Look.JSON_ROW),
        (LINE.strip() + " " + LINE, Look.JSON_ROW),
        (LINE.strip() + ", " + LINE, Look.JSON_ROW),
        (LINE.replace("\n", ",\n") * 3, Look.JSON_COMMAS),
        (LINE.replace("\n", ",\r\n") * 3 + LINE, Look.JSON_COMMAS),
        (("\x1e" + LINE) * 3, Look.JSON_SEQUENCE),
        ("{'text': 'as Python shows it', 'id': 7}\n" * 3, Look.NEARLY_JSON),
        ("{text: 'as JSON5 has it', id: 7,}\n" * 3, Look.NEARLY_JSON),
        ('{"text": "a number", "score": NaN}\n' * 3, Look.JSON_LINES),
        ('{"text": "half a pair \\ud800"}\n' * 3, Look.JSON_LINES),
        ('{"text": "deep", "x": ' + "[" * 9000 + "]" * 9000 + "}\n", Look.JSON_LINES),
        ('{"text": "not yet wri', Look.SOME_JSON_LINES),
        ('{"a": 1} is an object\n{"b": 2} is another\n', Look.TEXT),
        ("<!DOCTYPE html>\n<p>A paragraph</p>", Look.MARKUP),
        ("\ufeff<?xml version='1.0'?><r/>", Look.MARKUP),
        ("<b>A text</b> with tags\n", Look.TEXT),
        ("A headline\n" + LINE * 3, Look.SOME_JSON_LINES),
        (LINE + "not one\n" + LINE, Look.SOME_JSON_LINES),
        ("[Music] It begins.\nIt goes on.", Look.TEXT),
        ("[1] A footnote\n[2] Another", Look.TEXT),
        ("{curly} braces in a text\nand more", Look.TEXT),
        ("Plain text\n\nof two paragraphs\n", Look.TEXT),
        ("", Look.TEXT),
        ("\n \n", Look.TEXT),
        ("4711\n4712\n", Look.TEXT),
    ],
)
def test_looks(content: str, expected: Look) -> None:
    """JSON lines, JSON of other kinds, and text, which may have brackets too."""
    assert look(content.encode(), whole=True) is expected


def test_a_pretty_object_is_known_before_its_end() -> None:
    """Where the head holds only its beginning."""
    head = json.dumps({f"field {number}": "x" * 200 for number in range(100)}, indent=2).encode()[:5000]
    assert look(head, whole=False) is Look.JSON_DOCUMENT


def test_one_long_line_of_json_is_no_document_of_several() -> None:
    """An object that does not end within the head."""
    assert look(b'{"text": "' + b"x" * 5000, whole=False) is Look.JSON_LINES


def archive() -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a.txt", "a")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (archive(), "zip archive"),
        (b"a.txt" + bytes(252) + b"ustar\x0000", "tar archive"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"Obj\x01\x04\x16avro.schema", "Avro"),
        (b"SQLite format 3\0", "SQLite"),
        ("text in UTF-16".encode("utf-16-le"), "UTF-16 without"),
        ("text in UTF-16".encode("utf-16-be"), "UTF-16 without"),
        ("text in UTF-16, 本文".encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("text in UTF-16, 本文".encode("utf-16-be"), "iconv -f UTF-16BE"),
        ("text in UTF-32".encode("utf-32-le"), "iconv -f UTF-32LE"),
        ("text in UTF-32".encode("utf-32-be"), "iconv -f UTF-32BE"),
        (bytes(900) + LINE.encode(), "partly filled with NUL"),
        (LINE.encode() + bytes(900), "partly filled with NUL"),
        (LINE.encode() + bytes(900) + LINE.encode(), "partly filled with NUL"),
        (bytes(range(1, 256)) * 3, "binary"),
        (b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x08" + b"a pickle", "binary"),
        (b"\x02\x21\x4c\x18" + b"packed", "lz4 -dc"),
        (bytes(range(8)) * 100 + bytes(200), "binary"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "git lfs pull"),
    ],
)
def test_what_is_no_text_is_named(head: bytes, said: str) -> None:
    """With what makes text of it."""
    what = foreign(head)
    assert what is not None
    assert said in what


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Plain text",
        LINE.encode(),
        "caf\u00e9".encode(),
        b"a\0b " * 3 + b"text " * 40,
        "Größe und Höhe".encode("latin-1"),
        "漢字かな交じり文".encode("shift-jis"),
        "漢字かな交じり文".encode("iso-2022-jp"),
        b"\x1b[31mred\x1b[0m " * 9,
        "cut off é".encode()[:-1],
    ],
)
def test_text_is_not_foreign(head: bytes) -> None:
    """Nor is one with a stray NUL byte, whose record becomes a dead letter."""
    assert foreign(head) is None
