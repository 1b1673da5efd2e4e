"""Compressed bytes to plain ones, by what they begin with: whatever is whole is handed over before damage is told."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import lz4.frame
import zstandard

PIECE: Final = 1024
"""Bytes given to a decompressor at once. Of a damaged archive no more than this is lost before the damage, and one
piece never becomes more than 32 MiB, however well it is compressed."""
GATHERED: Final = 64 * 1024


class Damage(Exception):
    """The bytes cannot be read on from here; says why."""


class _Decompressor(Protocol):
    """What the decompressors of all libraries have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end that the format itself marks has come."""
        ...

    @property
    def unused_data(self) -> bytes | None:
        """What came after that end, if anything."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """What a piece becomes."""
        ...


@dataclass(frozen=True, slots=True)
class _Codec:
    name: str
    beginnings: tuple[bytes, ...]
    new: Callable[[], _Decompressor]


def _gzip() -> _Decompressor:
    # 31: a window of 15 bits, and 16 for gzip's header around it.
    return zlib.decompressobj(wbits=31)


def _zstandard() -> _Decompressor:
    # The largest window that zstd writes (--long=31), where the library's default would refuse it.
    return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()


_CODECS: Final = (
    _Codec("gzip", (b"\x1f\x8b",), _gzip),
    _Codec("bzip2", tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)), bz2.BZ2Decompressor),
    _Codec("xz", (b"\xfd7zXZ\x00",), lzma.LZMADecompressor),
    _Codec("LZMA", (b"\x5d\x00\x00",), lzma.LZMADecompressor),
    _Codec("Zstandard", (b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % low for low in range(0x50, 0x60))), _zstandard),
    _Codec("LZ4", (b"\x04\x22\x4d\x18",), lz4.frame.LZ4FrameDecompressor),
)
_ERRORS: Final = (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
LONGEST_BEGINNING: Final = max(len(beginning) for codec in _CODECS for beginning in codec.beginnings)


def codec_of(beginning: bytes) -> str | None:
    """The name of the compression that bytes begin with; None for bytes that are not compressed."""
    codec = _codec(beginning)
    return None if codec is None else codec.name


def is_packed(path: Path) -> bool:
    """Whether a file is compressed. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return _codec(file.read(LONGEST_BEGINNING)) is not None


def unpack(beginning: bytes, raw: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a stream, decompressed where they are compressed, in pieces of about `size`.

    Several archives of one kind behind each other are one text, as `cat a.gz b.gz` makes them.

    Args:
        beginning: what was read of it already: all of it, or at least `LONGEST_BEGINNING` bytes.
        raw: the rest.
        size: of a piece.

    Raises:
        Damage: the rest cannot be read: it is cut off, altered, or something else. All before has been handed over.
        OSError: the file cannot be read.
    """
    codec = _codec(beginning)
    if codec is not None:
        yield from _in_large_pieces(_members(beginning, raw, codec), size)
        return
    yield beginning
    while piece := raw.read(size):
        yield piece


def _codec(beginning: bytes) -> _Codec | None:
    return next((codec for codec in _CODECS if beginning.startswith(codec.beginnings)), None)


def _in_large_pieces(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    gathered = bytearray()
    try:
        for piece in pieces:
            gathered += piece
            if len(gathered) >= size:
                yield bytes(gathered)
                gathered.clear()
    except Damage:
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)


def _members(rest: bytes, raw: BinaryIO, codec: _Codec) -> Iterator[bytes]:
    """What the archives in a stream hold, one after the other."""
    while rest := _next_beginning(rest, raw):
        if not rest.startswith(codec.beginnings):
            raise Damage(f"behind the end of the {codec.name} data something else follows")
        rest = yield from _member(raw, codec, rest)


def _next_beginning(rest: bytes, raw: BinaryIO) -> bytes:
    """What follows, past the zeros that tapes are padded with: enough to tell what it is; empty at the end."""
    while len(rest := rest.lstrip(b"\0")) < LONGEST_BEGINNING and (more := raw.read(PIECE)):
        rest += more
    return rest


def _member(raw: BinaryIO, codec: _Codec, piece: bytes) -> Generator[bytes, None, bytes]:
    """What one archive holds; returns what was read beyond its end."""
    decompressor = codec.new()
    while piece:
        snapshot = _copy(decompressor)
        try:
            plain = decompressor.decompress(piece)
        except _ERRORS as error:
            yield _salvage(snapshot, piece)
            raise Damage(f"the {codec.name} data are altered: {error}") from error
        if plain:
            yield plain
        if decompressor.eof:
            return decompressor.unused_data or b""
        piece = raw.read(PIECE)
    raise Damage(f"the {codec.name} data are cut off")


def _copy(decompressor: _Decompressor) -> _Decompressor | None:
    # Only zlib's have it: of the other formats a damaged piece is lost as a whole.
    copy = getattr(decompressor, "copy", None)
    return None if copy is None else copy()


def _salvage(decompressor: _Decompressor | None, piece: bytes) -> bytes:
    """What a damaged piece holds before the damage, where the decompressor can be asked again."""
    plain = bytearray()
    if decompressor is not None:
        try:
            # Byte by byte: what lies before the damage is handed out before the damage is met.
            for place in range(len(piece)):
                plain += decompressor.decompress(piece[place : place + 1])
        except _ERRORS:
            pass
    return bytes(plain)
