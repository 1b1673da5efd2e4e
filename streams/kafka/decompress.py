"""Decompression with a bound: kafka-python's own codecs have none, and 32 KB of zstd become 1 GiB."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame
import snappy
import zstandard

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Kafka's numbers of codecs, as in a batch's attributes."""
NAMES = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
"""As Kafka's producers call them."""

CHUNK = 1024 * 1024
# Java's Snappy puts blocks behind a header: 8 bytes of magic, then two versions of 4 bytes.
XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER = 16


class CannotDecompress(Exception):
    """The bytes are damaged, of an unknown codec, or become more than is allowed."""


class TooMuch(CannotDecompress):
    """The bytes decompress to more than is allowed."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def decompress(codec: int, data: bytes, limit: int) -> bytes:
    """The decompressed bytes, at most `limit` of them.

    Memory stays within about three times the limit, whatever the bytes claim.

    Raises:
        CannotDecompress: they are damaged or of an unknown codec.
        TooMuch: they become more than `limit` bytes.
    """
    if codec not in _CODECS:
        raise CannotDecompress(f"codec {codec} is unknown")
    try:
        return _CODECS[codec](data, limit)
    # Of gzip an OSError or EOFError, of LZ4 a RuntimeError: each library has its own.
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise CannotDecompress(f"damaged: {error}") from error
    except (zstandard.ZstdError, snappy.UncompressError) as error:
        # So zstd says that a frame asks for a larger window than `max_window_size`.
        if "too much memory" in str(error):
            raise TooMuch(f"becomes more than {limit} bytes") from error
        raise CannotDecompress(f"damaged: {error or error.__cause__}") from error


def _at_most(stream: _Readable, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := stream.read(CHUNK):
        size += len(part)
        if size > limit:
            raise TooMuch(f"becomes more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _gzip(data: bytes, limit: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        return _at_most(stream, limit)


def _zstd(data: bytes, limit: int) -> bytes:
    # A frame may also ask for a window of gigabytes; Kafka's producers stay far below the limit.
    decompressor = zstandard.ZstdDecompressor(max_window_size=max(CHUNK, limit))
    # Else reading would end with the first of several frames, and the records behind it would seem cut off.
    with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as stream:
        return _at_most(stream, limit)


def _lz4(data: bytes, limit: int) -> bytes:
    with lz4.frame.LZ4FrameFile(io.BytesIO(data)) as stream:
        return _at_most(stream, limit)


def _snappy(data: bytes, limit: int) -> bytes:
    if not data.startswith(XERIAL_MAGIC):
        # Other clients write one bare block.
        if _snappy_length(data) > limit:
            raise TooMuch(f"becomes more than {limit} bytes")
        return bytes(snappy.decompress(data))
    parts: list[bytes] = []
    position, total = XERIAL_HEADER, 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        block = data[position + 4 : position + 4 + size]
        if not size or len(block) < size:
            raise CannotDecompress("damaged: a block of snappy is cut off")
        total += _snappy_length(block)
        if total > limit:
            raise TooMuch(f"becomes more than {limit} bytes")
        parts.append(bytes(snappy.decompress(block)))
        position += 4 + size
    return b"".join(parts)


def _snappy_length(block: bytes) -> int:
    # A block begins with its decompressed length, and the library allocates that much.
    length = 0
    for place, byte in enumerate(block[:5]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return length


_CODECS: dict[int, Callable[[bytes, int], bytes]] = {GZIP: _gzip, SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}
