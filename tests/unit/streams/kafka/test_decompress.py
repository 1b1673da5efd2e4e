"""Decompression gives back what was compressed, within the limit, or says why not."""

import contextlib
import resource
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from streams.kafka.decompress import GZIP, LZ4, SNAPPY, ZSTD, CannotDecompress, TooMuch, decompress

MIB = 1 << 20
ENCODERS = {GZIP: gzip_encode, SNAPPY: snappy_encode, LZ4: lz4_encode, ZSTD: zstd_encode}
codecs = pytest.mark.parametrize("codec", ENCODERS, ids=["gzip", "snappy", "lz4", "zstd"])


@codecs
@given(data=st.binary(max_size=2000), times=st.integers(1, 100))
def test_what_was_compressed_comes_back(codec: int, data: bytes, times: int) -> None:
    """Every codec of Kafka's, at exactly the limit."""
    data *= times
    assert decompress(codec, bytes(ENCODERS[codec](data)), len(data)) == data


def test_snappy_comes_back_without_its_java_framing() -> None:
    """Librdkafka and Go write plain snappy, Java frames it."""
    data = b"text " * 1000
    assert decompress(SNAPPY, snappy_encode(data, xerial_compatible=False), len(data)) == data


@codecs
def test_one_byte_too_much_is_refused(codec: int) -> None:
    """The limit is exact."""
    with pytest.raises(TooMuch, match="more than 4999 bytes"):
        decompress(codec, bytes(ENCODERS[codec](b"x" * 5000)), 4999)


@codecs
def test_a_bomb_is_refused_without_its_memory(codec: int) -> None:
    """What would become 256 MiB costs a few times the limit at most."""
    bomb = bytes(ENCODERS[codec](bytes(256 * MIB)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(TooMuch):
            decompress(codec, bomb, 8 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert peak < 32 * MIB
    assert grown < 64 * MIB


def test_a_plain_snappy_bomb_is_refused_by_its_own_claim() -> None:
    """A block tells its length; one that claims gigabytes is not even tried."""
    with pytest.raises(TooMuch):
        decompress(SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\0" * 20, 8 * MIB)


@codecs
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(codec: int, data: bytes) -> None:
    """Damage is told as damage."""
    with contextlib.suppress(CannotDecompress):
        decompress(codec, data, 10_000)


def test_an_unknown_codec_is_refused() -> None:
    """Codecs 5 to 7 do not exist yet."""
    with pytest.raises(CannotDecompress, match="codec 5"):
        decompress(5, b"", 10)
