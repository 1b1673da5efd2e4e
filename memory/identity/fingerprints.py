"""What a text is, whatever its layout: keyed digests for the split and for duplicates, over a whole batch at once.

Text is compared normalised: ASCII letters in lower case, each run of ASCII white space as one space, none at the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_SPACE = 0x20
# On bytes, before decoding: in UTF-8 no byte of a character beyond ASCII is an ASCII one.
_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\t\n\v\f\r", b"abcdefghijklmnopqrstuvwxyz     ")

UInt64s = NDArray[np.uint64]
Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NormalisedTexts:
    """Texts of a batch in one array of bytes; text i is `data[starts[i]:ends[i]]`."""

    data: Bytes
    starts: Int64s
    ends: Int64s


def normalise(encoded: Sequence[bytes]) -> NormalisedTexts:
    """Normalise UTF-8 texts.

    Every text is set between two spaces, so collapsing runs of spaces also trims it.
    """
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    separators = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(lengths + 1, out=separators[1:])
    data = np.frombuffer((b" " + b" ".join(encoded) + b" ").translate(_LOWER), np.uint8)
    space = data == _SPACE
    surplus = np.flatnonzero(space[1:] & space[:-1]) + 1
    # Where the run of spaces that a separator belongs to ends up.
    places = separators - np.searchsorted(surplus, separators, side="right")
    starts = places[:-1] + 1
    return NormalisedTexts(np.delete(data, surplus), starts, np.maximum(places[1:], starts))


class Hasher:
    """Digests under a secret, so that nobody outside can choose text for a side of the split, or collide with it.

    The secret is made once and kept in the store: a group stays on its side for ever.
    """

    def __init__(self, secret: bytes) -> None:
        self._content = blake2b(key=secret, digest_size=16, person=b"content")
        self._key = blake2b(key=secret, digest_size=16, person=b"key")
        self._label = blake2b(key=secret, digest_size=8, person=b"label")
        self.salt = int.from_bytes(blake2b(key=secret, digest_size=8, person=b"priority").digest(), "little")

    def contents(self, texts: NormalisedTexts) -> UInt64s:
        """Two independent 64-bit hashes of each text, shape (n, 2): its identity, and its group where it has no key."""
        data, base = texts.data.tobytes(), self._content
        digests = []
        for start, end in zip(texts.starts.tolist(), texts.ends.tolist(), strict=True):
            # The state that has taken the key in already: to begin anew costs a block for each text.
            content = base.copy()
            content.update(data[start:end])
            digests.append(content.digest())
        return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)

    def key(self, key: str) -> tuple[int, int]:
        """Two independent hashes of a key: its identity (signed 64-bit, as SQLite stores it), its group (unsigned)."""
        digest = self._key_digest(key.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest[:8], "little", signed=True), int.from_bytes(digest[8:], "little")

    def _key_digest(self, key: bytes) -> bytes:
        content = self._key.copy()
        content.update(key)
        return content.digest()

    def label(self, label: str) -> int:
        """A 64-bit hash by which the same text under another label is another content."""
        content = self._label.copy()
        content.update(label.encode("utf-8", "surrogatepass"))
        return int.from_bytes(content.digest(), "little")


def priorities(ids: Int64s, salt: int) -> Int64s:
    """A random-looking, fixed order of samples: non-negative 63-bit integers (SplitMix64 of id and salt).

    Being a function of the id, it is the random state of every reservoir: a restart draws what it would have drawn.
    Steele et al., Fast splittable pseudorandom number generators, 2014.
    """
    # Unsigned, so that it wraps around as SplitMix64 wants it, and at the end without the sign that SQLite would see.
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
