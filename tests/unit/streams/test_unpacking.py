"""Archives of each kind are read by what they begin with, and damaged ones give what is whole."""

import bz2
import functools
import gzip
import io
import lzma
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streams.unpacking import Damage, codec_of, unpack

TEXT = b"".join(b"line %d %d\n" % (number, number * 7919 % 1009) for number in range(20_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "LZMA": functools.partial(lzma.compress, format=lzma.FORMAT_ALONE),
    "Zstandard": zstandard.ZstdCompressor().compress,
    "LZ4": lz4.frame.compress,
}
each_kind = pytest.mark.parametrize("kind", PACKERS)


def read(packed: bytes, size: int = 4096) -> tuple[bytes, str]:
    """What comes out, and the damage that ends it."""
    raw, found = io.BytesIO(packed), bytearray()
    try:
        for piece in unpack(raw.read(512), raw, size):
            found += piece
    except Damage as damage:
        return bytes(found), str(damage)
    return bytes(found), ""


@each_kind
def test_each_kind_is_told_and_read(kind: str) -> None:
    """Also several archives behind each other, and the padding of tapes between and behind them."""
    packed = PACKERS[kind](TEXT)
    assert codec_of(packed) == kind
    assert read(packed + bytes(700) + packed + bytes(5000)) == (TEXT + TEXT, "")


@each_kind
def test_something_else_behind_an_archive_costs_nothing_before_it(kind: str) -> None:
    """All is handed over, then the damage is told."""
    for rubbish in (b"rubbish", b"x", b"<html>" * 2000):
        found, damage = read(PACKERS[kind](TEXT) + rubbish)
        assert found == TEXT
        assert "something else follows" in damage


@each_kind
def test_an_archive_that_is_cut_off_gives_what_it_has(kind: str) -> None:
    """A small one too: cut anywhere, what can be decompressed is handed over."""
    packed = PACKERS[kind](TEXT)
    found, damage = read(packed[:-9])
    assert TEXT.startswith(found)
    assert "cut off" in damage
    if kind != "bzip2":  # whose blocks of 900 kB are told whole or not at all
        assert len(found) > len(TEXT) // 2


@each_kind
def test_an_altered_archive_is_never_taken_for_whole(kind: str) -> None:
    """A flipped bit is told of, wherever it is; what comes before is text."""
    packed = bytearray(PACKERS[kind](TEXT))
    packed[len(packed) // 2] ^= 4
    found, damage = read(bytes(packed))
    whole = kind in {"Zstandard", "LZ4"} and not damage  # written without a checksum of the content
    assert damage or whole
    if damage and kind in {"gzip", "xz"}:
        assert found


def test_a_small_gzip_with_a_wrong_checksum_gives_its_text() -> None:
    """Its only piece is damaged, at its very end."""
    packed = bytearray(gzip.compress(b"a small text\n"))
    packed[-6] ^= 1
    found, damage = read(bytes(packed))
    assert found == b"a small text\n"
    assert "altered" in damage


@given(st.binary(max_size=3000), st.integers(1, 100))
def test_what_is_not_compressed_comes_as_it_is(data: bytes, size: int) -> None:
    """In pieces of any size."""
    if codec_of(data) is None:
        assert read(data, size) == (data, "")
