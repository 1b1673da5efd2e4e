"""Bytes of a file to records, within bounds: a record that is too long is told of, never gathered."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from streams.chunk import Oversized

Split = Literal["line", "paragraph", "file"]
"""What one document of a plain text is: a line, what stands between blank lines, or all of it."""


class Record(NamedTuple):
    """A record: the offset it begins at, the one after it (its separator included), and its bytes.

    `ended` says that its separator came: no more can belong to it.
    """

    begin: int
    after: int
    value: bytes | Oversized
    ended: bool


def line_end_of(head: bytes) -> bytes:
    """What ends the lines of a text that begins so."""
    return b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def split(
    chunks: Iterable[bytes], start: int, how: Split, *, most: int, kept: int, line_end: bytes = b"\n"
) -> Iterator[Record]:
    """The records in some bytes; blank ones are left out.

    Args:
        chunks: the bytes from `start` on, in pieces of any size.
        start: the offset that they begin at, which must be a record's.
        how: what a record is.
        most: the longest record; of a longer one only `kept` bytes are kept.
        kept: at most `most`.
        line_end: as `line_end_of` told.
    """
    if how == "paragraph":
        return _paragraphs(_pieces(chunks, start, line_end, most, kept), most, kept)
    records = _pieces(chunks, start, line_end if how == "line" else b"", most, kept)
    return (record for record in records if not _is_blank(record.value))


def bound_value(value: bytes, length: int, most: int, kept: int) -> bytes | Oversized:
    """A record's value, or where it is longer than `most` its beginning."""
    return value if length <= most else Oversized(value[:kept], length)


def _line(value: bytes) -> bytes:
    """A line without the carriage return that systems of one kind put before the line feed."""
    return value.removesuffix(b"\r")


def _is_blank(value: bytes | Oversized) -> bool:
    return isinstance(value, bytes) and not value.strip()


def _pieces(chunks: Iterable[bytes], start: int, separator: bytes, most: int, kept: int) -> Iterator[Record]:
    begin, length, gathered = start, 0, b""
    for chunk in chunks:
        # What follows the last separator may go on in the next chunk.
        *ended, rest = chunk.split(separator) if separator else [chunk]
        for piece in ended:
            length += len(piece)
            # Of what is too long only the part that a letter keeps is gathered, however long it goes on.
            if length <= most or len(gathered) < kept:
                gathered += piece
            end = begin + length + 1
            yield Record(begin, end, bound_value(_line(gathered), length, most, kept), ended=True)
            begin, length, gathered = end, 0, b""
        length += len(rest)
        if length <= most:
            gathered += rest
        elif len(gathered) < kept:
            gathered += rest[: kept - len(gathered)]
    if length:
        yield Record(begin, begin + length, bound_value(gathered, length, most, kept), ended=False)


def _paragraphs(lines: Iterable[Record], most: int, kept: int) -> Iterator[Record]:
    begin, end, length, gathered = 0, 0, 0, b""
    for line in lines:
        # A blank line that may go on is none yet.
        if _is_blank(line.value) and line.ended:
            if length:
                yield Record(begin, line.after, bound_value(gathered, length, most, kept), ended=True)
            length, gathered = 0, b""
            continue
        if not length:
            begin = line.begin
        value = line.value.beginning if isinstance(line.value, Oversized) else line.value
        length += (length > 0) + (line.value.value_bytes if isinstance(line.value, Oversized) else len(value))
        if length <= most or len(gathered) < kept:
            gathered = gathered + b"\n" + value if gathered else value
        end = line.after
    if length and gathered.strip():
        yield Record(begin, end, bound_value(gathered, length, most, kept), ended=False)
