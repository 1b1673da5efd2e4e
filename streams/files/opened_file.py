"""A file that was opened: what it is by its beginning, and its text in UTF-8, from any place on."""

import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from streams.closing import Closing
from streams.errors import UnreadableFile
from streams.file_kinds import PARQUET, encoding_of, foreign, look
from streams.settings import KIB, MIB
from streams.unpacking import Damage, codec_of, unpack

STDIN: Final = "-"
HEAD: Final = 64 * KIB
"""Files that begin alike this far are taken for the same one."""
BEGINNING: Final = KIB


def shown_path(path: str | Path) -> str:
    """A path in one line of characters that can be printed and stored, also where its bytes are no UTF-8."""
    name = os.fsencode(path).decode(errors="backslashreplace")
    if name.isprintable():
        return name
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in name
    )


def is_kept(path: str | Path) -> bool:
    """Whether what is there can be read more than once: a file on a disk, and no pipe."""
    return str(path) != STDIN and Path(path).is_file()


class OpenedFile(Closing):
    """A file or standard input, open at its beginning. Closed by who opened it.

    Attributes:
        path: where it is; None for standard input.
        shown: its name for a person.
        topic: what the store knows it by.
        source: where its text comes from, unless that is said.
        head: the first bytes of its text.
        look: what it looks like.

    Args:
        path: the file; `-` for standard input.
        name: of standard input: another name is another stream.
        stdin: read instead of the process's own.

    Raises:
        UnreadableFile: it cannot be opened, or it is something that holds no text to be read here; says what.
    """

    def __init__(self, path: str | Path, *, name: str = "stdin", stdin: BinaryIO | None = None) -> None:
        self.path = None if str(path) == STDIN else Path(path)
        self.shown = f"standard input ({name})" if self.path is None else shown_path(path)
        self.topic = f"stdin:{name}" if self.path is None else f"file:{shown_path(_place(self.path))}"
        self.source = name if self.path is None else shown_path(Path(path).name).partition(".")[0] or "file"
        self._raw = (stdin or sys.stdin.buffer) if self.path is None else _open(self.path, self.shown)
        # Who gets an error has nothing to close.
        try:
            self._take_head()
        except OSError as error:
            self.close()
            raise UnreadableFile(f"{self.shown} cannot be read: {error.strerror}") from error
        except UnreadableFile:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def chunks(self, start: int) -> Iterator[bytes]:
        """The text's bytes from `start` on. To be asked once.

        Raises:
            Damage: the rest cannot be read; all before has been handed over.
            OSError: the file cannot be read.
        """
        # Offsets count the text's bytes: only where these are the file's own bytes can it be jumped to one.
        if start > len(self.head) and self._as_it_lies and self._raw.seekable():
            self._raw.seek(start)
            while chunk := self._raw.read(MIB):
                yield chunk
            return
        place = 0
        for chunk in self._all_chunks():
            if place + len(chunk) > start:
                yield chunk[max(0, start - place) :]
            place += len(chunk)

    def _all_chunks(self) -> Iterator[bytes]:
        yield self.head
        if self._beyond:
            yield self._beyond
        if self._damage is not None:
            raise self._damage
        yield from self._rest

    def _take_head(self) -> None:
        beginning = self._raw.read(BEGINNING)
        if beginning.startswith(PARQUET) and not (self.path and is_kept(self.path)):
            raise UnreadableFile(f"{self.shown} is Parquet, which can only be read from a file: name that")
        packed = codec_of(beginning)
        text = unpack(beginning, self._raw, MIB)
        first, damage = _at_least(text, HEAD)
        if packed and (inner := codec_of(first)):
            raise UnreadableFile(f"{self.shown} is compressed twice ({inner} within {packed}): unpack it once")
        encoding = encoding_of(first)
        if encoding is not None:
            text = _as_utf8(_put_back(first, damage, text), encoding)
            first, damage = _at_least(text, HEAD)
        self._as_it_lies = packed is None and encoding is None
        self._rest, self._damage = text, damage
        self.head, self._beyond = first[:HEAD], first[HEAD:]
        if damage is not None and not first:
            raise UnreadableFile(f"{self.shown} is damaged at its beginning: {damage}")
        self._refuse_foreign(self.head)
        self.look = look(self.head, whole=len(self.head) < HEAD)

    def _refuse_foreign(self, beginning: bytes) -> None:
        if (description := foreign(beginning)) is not None:
            raise UnreadableFile(f"{self.shown} is {description}")


def _place(path: Path) -> Path:
    """Where a file is, whatever leads there. A pipe's number is another each time."""
    return path.resolve() if is_kept(path) else path.absolute()


def _open(path: Path, shown: str) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{shown} cannot be read: {error.strerror}; correct the path or its rights") from error


def _at_least(pieces: Iterator[bytes], size: int) -> tuple[bytes, Damage | None]:
    """The first pieces, until they are of that size or there are no more; and the damage behind them, if there is."""
    gathered = bytearray()
    try:
        while len(gathered) < size and (piece := next(pieces, None)) is not None:
            gathered += piece
    except Damage as damage:
        return bytes(gathered), damage
    return bytes(gathered), None


def _put_back(first: bytes, damage: Damage | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    if damage is not None:
        raise damage
    yield from rest


def _as_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Text of another encoding in UTF-8; what is no text in it becomes what is none in UTF-8 either."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode(errors="surrogatepass")
        yield decoder.decode(b"", final=True).encode(errors="surrogatepass")
    except UnicodeDecodeError as error:
        raise Damage(f"it is no {encoding.upper()} there: {error.reason}") from error
