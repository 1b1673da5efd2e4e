"""What a file holds, told by its beginning and not by its name."""

import codecs
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import orjson

LOOKED_AT: Final = 5
"""Lines that are looked at to tell JSON lines from a text."""
BINARY_SHARE: Final = 0.1
"""Beyond this share of NUL bytes it is no text in UTF-8."""
BINARY_LOOK: Final = 4096

PARQUET: Final = b"PAR1"

_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive (or a .docx, .xlsx or .epub, which are such): unpack it, and name the files in it"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it, and name the files in it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it, and name the files in it"),
    (b"\x1f\x9d", "compressed by compress (.Z): `zcat` unpacks it"),
    (b"LZIP", "compressed by lzip: `lzip -dc` unpacks it"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by Snappy: unpack it first"),
    (b"%PDF-", "a PDF: `pdftotext` takes its text out"),
    (b"Obj\x01", "an Avro container: turn it into JSON lines first (`avro-tools tojson`)"),
    (b"ORC", "an ORC file: turn it into JSON lines or Parquet first"),
    (b"ARROW1", "an Arrow file: turn it into Parquet first"),
    (
        b"SQLite format 3\0",
        "a SQLite database: write its rows as JSON lines first (`sqlite-utils rows FILE TABLE --nl`)",
    ),
    (b"\x89HDF", "an HDF5 file: write its text as JSON lines first"),
    (b"\x93NUMPY", "a NumPy array: write its text as JSON lines first"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"GGUF", "a model's weights"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a git-lfs pointer and not the file itself: `git lfs pull` brings that"),
    (b"{\\rtf", "an RTF document: turn it into plain text first"),
)
_TAR_AT, _TAR = 257, b"ustar"

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Look(StrEnum):
    """What the beginning of a file looks like."""

    JSON_LINES = "JSON, an object a line"
    SOME_JSON_LINES = "JSON objects on some lines and something else on others"
    JSON_ARRAY = "one JSON array"
    JSON_DOCUMENT = "JSON whose objects go over several lines"
    PARQUET = "Parquet"
    TEXT = "plain text"

    @property
    def remedy(self) -> str:
        """How a file of this look becomes JSON lines, where it is JSON of another kind; else empty."""
        return {Look.JSON_ARRAY: "`jq -c '.[]'`", Look.JSON_DOCUMENT: "`jq -c .`"}.get(self, "")


def foreign(head: bytes) -> str | None:
    """What a file is that holds no text to be read here, and what makes one of it; None where it may be text."""
    if head.startswith(PARQUET):
        return None
    for beginning, what in _FOREIGN:
        if head.startswith(beginning):
            return what
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return "a tar archive: unpack it, and name the files in it"
    look = head[:BINARY_LOOK]
    if look.count(b"\0") > BINARY_SHARE * len(look):
        return "binary, or UTF-16 without a byte order mark: `iconv -f UTF-16LE -t UTF-8` makes UTF-8 of that"
    return None


def encoding_of(head: bytes) -> str | None:
    """The encoding that a byte order mark tells, where it is another than UTF-8; else None."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def look(head: bytes, *, whole: bool) -> Look:
    """What a file looks like.

    Args:
        head: its beginning, in UTF-8.
        whole: whether that is all of it.
    """
    if head.startswith(PARQUET):
        return Look.PARQUET
    lines = list(_first_lines(head, whole=whole))
    objects = [line for line in lines if _is_object(line)]
    if lines and len(objects) == len(lines):
        return Look.JSON_LINES
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin.startswith(b"[") and _is_array(begin, lines):
        return Look.JSON_ARRAY
    if begin.startswith(b"{") and objects[:1] != lines[:1] and _goes_over_lines(begin, whole=whole):
        return Look.JSON_DOCUMENT
    return Look.SOME_JSON_LINES if objects else Look.TEXT


def _first_lines(head: bytes, *, whole: bool) -> Iterator[bytes]:
    lines = head.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    if lines and not whole and not lines[-1].endswith((b"\n", b"\r")):
        lines.pop()
    found = [line for line in lines if line.strip()]
    # The last line of a file may still be written.
    if len(found) > 1 and not found[-1].endswith((b"\n", b"\r")) and not _is_object(found[-1]):
        found.pop()
    yield from found[:LOOKED_AT]


def _is_object(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _is_array(begin: bytes, lines: list[bytes]) -> bool:
    """Whether it is an array of objects or texts, and neither a text in brackets nor lines of arrays."""
    if begin[1:].lstrip()[:1] not in {b"{", b'"', b"["}:
        return False
    try:
        return not (len(lines) > 1 and isinstance(orjson.loads(lines[0]), list))
    except orjson.JSONDecodeError:
        return True


def _goes_over_lines(begin: bytes, *, whole: bool) -> bool:
    text = begin.decode(errors="replace")
    first = text.find("\n")
    if first < 0:
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError:
        # The object may go on beyond the head: then its second line names a field.
        return not whole and text[first:].lstrip().startswith('"')
    except RecursionError:
        return True
    return end > first
