"""What a file holds, told by its beginning and not by its name."""

import codecs
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import orjson

LOOKED_AT: Final = 5
"""Lines that are looked at to tell JSON lines from a text."""
BINARY_SHARE: Final = 0.1
"""Beyond this share of NUL bytes it is no text in UTF-8."""
CONTROL_SHARE: Final = 0.05
"""Beyond this share of control characters bytes that are no UTF-8 are no text of another encoding either."""
BINARY_LOOK: Final = 4096

PARQUET: Final = b"PAR1"

_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive (or a .docx, .xlsx or .epub, which are such): unpack it, and name the files in it"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"PK\x07\x08", "a part of a zip archive: put it together and unpack it, and name the files in it"),
    (b"070701", "a cpio archive: unpack it, and name the files in it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an older Office document (.doc, .xls, .ppt): save its text first"),
    (b"%!PS-", "PostScript: `ps2ascii` takes its text out"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it, and name the files in it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it, and name the files in it"),
    (b"\x1f\x9d", "compressed by compress (.Z): `zcat` unpacks it"),
    (b"\x02\x21\x4c\x18", "compressed by LZ4's legacy format: `lz4 -dc` unpacks it"),
    (b"LZIP", "compressed by lzip: `lzip -dc` unpacks it"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by Snappy: unpack it first"),
    (b"%PDF-", "a PDF: `pdftotext` takes its text out"),
    (b"Obj\x01", "an Avro container: turn it into JSON lines first (`avro-tools tojson`)"),
    (b"ORC", "an ORC file: turn it into JSON lines or Parquet first"),
    (b"FEA1", "an older Feather file: turn it into Parquet first"),
    (b"PARE", "encrypted Parquet: write it without encryption first"),
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
# A tar archive has its mark behind the first file's name, rights and sizes.
_TAR_AT, _TAR = 257, b"ustar"
_CONTROLS: Final = tuple(bytes([code]) for code in (*range(1, 9), *range(14, 27), *range(28, 32), 127))
"""Those that stand in no text of any encoding of one byte; escape sequences (27) do."""
_ZEROS: Final = re.compile(rb"\0+")
_MANY_ZEROS: Final = 4
"""Together they are no part of a character in any encoding."""
_FIELD: Final = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:')
_NO_JSON: Final = re.compile(rb"\s*\{\s*(?:'[^']*'|[A-Za-z_$][\w$]*)\s*:")
_RECORD_SEPARATOR: Final = b"\x1e"
_MARKUP: Final = re.compile(rb"<(!doctype|html|\?xml)\b", re.IGNORECASE)

# UTF-32 first: its little-endian mark begins with that of UTF-16.
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
    JSON_ROW = "JSON with several objects on a line"
    JSON_COMMAS = "JSON with a comma behind each object"
    JSON_SEQUENCE = "a JSON text sequence, with a separator (RS) before each object"
    NEARLY_JSON = "objects as Python or JavaScript shows them, which are no JSON"
    MARKUP = "HTML or XML"
    PARQUET = "Parquet"
    TEXT = "plain text"

    @property
    def remedy(self) -> str:
        """How a file of this look becomes JSON lines, where it is JSON of another kind; else empty."""
        return _REMEDIES.get(self, "")


_REMEDIES: Final = {
    Look.JSON_ARRAY: "`jq -c '.[]'`",
    Look.JSON_DOCUMENT: "`jq -c .`",
    Look.JSON_ROW: "`jq -c .`",
    Look.JSON_COMMAS: "`sed 's/,[[:space:]]*$//'`",
    Look.JSON_SEQUENCE: "`tr -d '\\036'`",
    Look.NEARLY_JSON: "Writing it by `json.dumps` or `JSON.stringify`",
}


def foreign(head: bytes) -> str | None:
    """What a file is that holds no text to be read here, and what makes one of it; None where it may be text."""
    if head.startswith(PARQUET):
        return None
    for beginning, description in _FOREIGN:
        if head.startswith(beginning):
            return description
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return "a tar archive: unpack it, and name the files in it"
    return _binary(head[:BINARY_LOOK])


def _binary(look: bytes) -> str | None:
    if look.count(b"\0") > BINARY_SHARE * len(look):
        if min(map(len, _ZEROS.findall(look))) >= _MANY_ZEROS and _is_utf8(look.replace(b"\0", b"")):
            return "partly filled with NUL bytes, as files are that were cut while written: `tr -d '\\000'` drops them"
        encoding = _without_mark(look)
        name = encoding.removesuffix("LE").removesuffix("BE")
        return f"binary, or {name} without a byte order mark: `iconv -f {encoding} -t UTF-8` makes UTF-8 of that"
    if sum(map(look.count, _CONTROLS)) > CONTROL_SHARE * len(look) and not _is_utf8(look):
        return "binary, or text of an encoding that nothing marks: `iconv -f ENCODING -t UTF-8` makes UTF-8 of that"
    return None


def _without_mark(look: bytes) -> str:
    """Which encoding bytes with many zeros seem to be, by the places of these."""
    # Of Latin letters UTF-16 leaves every second byte zero, and UTF-32 three of four.
    first, second, third, fourth = (look[place::4].count(b"\0") for place in range(4))
    if 2 * min(second, third) > max(second, third) > len(look) / 6:
        return "UTF-32LE" if fourth > first else "UTF-32BE"
    return "UTF-16LE" if second + fourth >= first + third else "UTF-16BE"


def _is_utf8(look: bytes) -> bool:
    """Whether it is text in UTF-8, the last character of which may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(look)
    except UnicodeDecodeError:
        return False
    return True


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
    return _otherwise(begin, lines) or _nearly(begin, lines)


def _nearly(begin: bytes, lines: list[bytes]) -> Look:
    """What lines are of which some hold no object, or none as far as one can see."""
    objects = [line for line in lines if _is_object(line) or _looks_closed(line)]
    if len(objects) == len(lines) and _FIELD.match(begin):
        return Look.JSON_LINES
    is_unfinished = len(lines) == 1 and _FIELD.match(begin) and not begin.endswith((b"\n", b"\r"))
    return Look.SOME_JSON_LINES if objects or is_unfinished else Look.TEXT


def _otherwise(begin: bytes, lines: list[bytes]) -> Look | None:
    """What looks like JSON and is none a line; or markup."""
    if begin.startswith(_RECORD_SEPARATOR) and _FIELD.match(begin.lstrip(_RECORD_SEPARATOR)):
        return Look.JSON_SEQUENCE
    behind = [_behind_object(line) for line in lines or begin.splitlines()[:1]]
    if any(rest.startswith((b"{", b",{")) for rest in behind):
        return Look.JSON_ROW
    if b"," in behind and all(rest in (b",", b"") for rest in behind):
        return Look.JSON_COMMAS
    if lines and all(map(_NO_JSON.match, lines)):
        return Look.NEARLY_JSON
    return Look.MARKUP if _MARKUP.match(begin) else None


def _behind_object(line: bytes) -> bytes:
    """What follows the object that a line begins with, without blanks; empty where it begins with none."""
    text = line.lstrip(b"\xef\xbb\xbf \t").decode(errors="replace")
    if not text.startswith("{"):
        return b""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return b""
    return "".join(text[end : end + 100].split()).encode()


def _looks_closed(line: bytes) -> bool:
    """Whether it is an object but for something in it that no JSON has, such as NaN or a depth beyond all bounds."""
    return _FIELD.match(line.lstrip()) is not None and line.rstrip().endswith(b"}")


def _first_lines(head: bytes, *, whole: bool) -> Iterator[bytes]:
    lines = head.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    # The head ends somewhere within a line.
    if lines and not whole and not lines[-1].endswith((b"\n", b"\r")):
        lines.pop()
    filled = [line for line in lines if line.strip()]
    # The last line of a file may still be written.
    if len(filled) > 1 and not filled[-1].endswith((b"\n", b"\r")) and not _is_object(filled[-1]):
        filled.pop()
    yield from filled[:LOOKED_AT]


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
        return not _looks_closed(begin[:first])
    return end > first
