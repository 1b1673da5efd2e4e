"""Near-duplicates by MinHash, for whole batches at once and in any language.

A text's shingles are the 12-byte windows of its normalised form; a fixed quarter of all shingles counts. Its
signature is the least value of each of 24 permutations over its shingles; two texts agree in a place with the
probability of their shingles' Jaccard similarity. Texts that agree in one of 8 bands of 3 are looked at, and are
near-duplicates when enough of their places agree (8 bits of each are kept).

Broder, On the resemblance and containment of documents, 1997; Leskovec et al., Mining of Massive Datasets, ch. 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.identity.fingerprints import Bools, Bytes, Int64s, NormalisedTexts, UInt64s

UInt32s = NDArray[np.uint32]

BANDS = 8
BAND_PLACES = 3
PLACES = BANDS * BAND_PLACES
SHINGLE_BYTES = 12
PIECE_BYTES = 16_384
"""Hashed at a time: small enough to stay in the processor's cache and off the system's page tables."""
LEAST_SHINGLES = 6
"""Texts with fewer counted shingles (about 36 bytes) have no sketch: so little text agrees by chance."""

_BASES = [np.uint32(pow(0x01000193, size, 2**32)) for size in (1, 2, 4)]
_FINISH = np.uint32(0x846CA68B)
# A quarter of the 32-bit hashes. Chosen by value, so that equal shingles count in every text or in none.
_COUNTED_BELOW = np.uint32(2**30)
# A fixed seed: sketches in the store are compared with those of every later process.
_random = np.random.Generator(np.random.PCG64(0x5249564552))
_XOR = _random.integers(0, 2**32, PLACES, dtype=np.uint32)
# Odd, so that multiplying modulo 2**32 is a permutation.
_MULTIPLY = _random.integers(0, 2**31, PLACES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_BAND_MIX = _random.integers(0, 2**63, (BANDS, BAND_PLACES), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of n texts.

    Attributes:
        bands: shape (n, BANDS): a 64-bit hash for each band.
        places: shape (n, PLACES): the low byte of each least value.
        known: shape (n,): whether the text is long enough to have a sketch; rows without one are meaningless.
    """

    bands: UInt64s
    places: Bytes
    known: Bools

    def __len__(self) -> int:
        return len(self.known)

    def take(self, chosen: Int64s | Bools) -> "Sketches":
        """The sketches of some of the texts."""
        return Sketches(self.bands[chosen], self.places[chosen], self.known[chosen])


def join(parts: Sequence[Sketches]) -> Sketches:
    """The sketches of several batches, one after the other."""
    return Sketches(
        np.concatenate([part.bands for part in parts]),
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.known for part in parts]),
    )


def _window_hashes(data: Bytes) -> UInt32s:
    """A 32-bit hash of each window of SHINGLE_BYTES bytes, by doubling: 1, 2, 4, 8 bytes, then 8 and 4."""
    single = data.astype(np.uint32)
    single += np.uint32(1)
    two = single[:-1] * _BASES[0]
    two += single[1:]
    four = two[:-2] * _BASES[1]
    four += two[2:]
    eight = four[:-4] * _BASES[2]
    eight += four[4:]
    twelve = eight[:-4] * _BASES[2]
    twelve += four[8:]
    twelve ^= twelve >> np.uint32(15)
    twelve *= _FINISH
    return twelve


def counted_shingles(texts: NormalisedTexts) -> tuple[UInt32s, Int64s, Int64s]:
    """Hashes of the shingles that count, and for each text where its own start and end among them."""
    overlap = SHINGLE_BYTES - 1
    places, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
    for start in range(0, len(texts.data) - overlap, PIECE_BYTES):
        piece = _window_hashes(texts.data[start : start + PIECE_BYTES + overlap])
        counted = np.flatnonzero(piece < _COUNTED_BELOW)
        hashes.append(piece[counted])
        places.append(counted + start)
    ordered = np.concatenate(places)
    firsts = np.searchsorted(ordered, texts.starts)
    # A window that reaches into the next text belongs to neither.
    lasts = np.searchsorted(ordered, texts.ends - overlap)
    return np.concatenate(hashes), firsts, np.maximum(firsts, lasts)


def sketch(texts: NormalisedTexts) -> Sketches:
    """The sketches of normalised texts."""
    shingles, firsts, lasts = counted_shingles(texts)
    known = lasts - firsts >= LEAST_SHINGLES
    least = np.zeros((len(known), PLACES), np.uint32)
    if known.any():
        # reduceat takes [first, last), [last, next first), ...: every other result is of the shingles between texts.
        cuts = np.stack([firsts[known], lasts[known]], axis=1).ravel()
        # reduceat takes no cut behind the last element, and the last text may end there.
        padded = np.append(shingles, np.uint32(0))
        permuted = np.empty_like(padded)
        minima = np.empty((PLACES, len(cuts)), np.uint32)
        for place in range(PLACES):
            np.bitwise_xor(padded, _XOR[place], out=permuted)
            np.multiply(permuted, _MULTIPLY[place], out=permuted)
            np.minimum.reduceat(permuted, cuts, out=minima[place])
        least[known] = minima[:, ::2].T
    triples = least.reshape(-1, BANDS, BAND_PLACES).astype(np.uint64)
    bands = (triples * _BAND_MIX).sum(axis=2, dtype=np.uint64)
    bands ^= bands >> np.uint64(32)
    bands *= _BAND_MIX[:, 0]
    return Sketches(bands, least.astype(np.uint8), known)
