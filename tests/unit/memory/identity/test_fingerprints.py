"""Normalised text, keyed hashes, the split, and random priorities."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.identity.fingerprints import Hasher, normalise, priorities
from memory.identity.known_sides import below as held_out

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8)


def plain_normalise(text: str) -> bytes:
    """The same, one text at a time."""
    lower = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in text.encode())
    return re.sub(rb"[ \t\n\v\f\r]+", b" ", lower).strip(b" ")


@given(TEXTS)
def test_a_batch_is_normalised_like_each_text_alone(texts: list[str]) -> None:
    """Neighbours in a batch, empty texts and white space at the ends make no difference."""
    found = normalise([text.encode() for text in texts])
    pieces = [found.data[start:end].tobytes() for start, end in zip(found.starts, found.ends, strict=True)]
    assert pieces == [plain_normalise(text) for text in texts]


def test_contents_hash_alike_whatever_their_layout() -> None:
    """Case and white space are no difference; a word is."""
    hasher = Hasher(b"s" * 32)
    texts = [b"Some  Text\n", b"some text", b"some texts"]
    hashes = hasher.contents(normalise(texts))
    assert (hashes[0] == hashes[1]).all()
    assert (hashes[1] != hashes[2]).all()


def test_another_secret_hashes_otherwise() -> None:
    """Without the secret nobody can tell on which side of the split a text or key falls."""
    one, other = Hasher(b"1" * 32), Hasher(b"2" * 32)
    texts = normalise([b"text"])
    assert (one.contents(texts) != other.contents(texts)).all()
    assert one.key("k") != other.key("k")
    assert one.salt != other.salt


def test_the_split_holds_out_its_share() -> None:
    """Of 20,000 keys about a twentieth is held out (five standard deviations)."""
    hasher = Hasher(b"s" * 32)
    groups = np.array([hasher.key(f"key {n}")[1] for n in range(20_000)], np.uint64)
    expected, spread = 1_000, (20_000 * 0.05 * 0.95) ** 0.5
    assert abs(int(held_out(groups, 0.05).sum()) - expected) < 5 * spread


@given(st.floats(0.001, 0.25), st.floats(0.25, 0.5))
def test_a_larger_share_holds_out_all_that_a_smaller_one_does(small: float, large: float) -> None:
    """So that a changed setting moves no held-out text into training."""
    groups = np.random.Generator(np.random.PCG64(1)).integers(0, 2**64, 1_000, dtype=np.uint64)
    assert not (held_out(groups, small) & ~held_out(groups, large)).any()


def test_priorities_are_uniform_and_fixed() -> None:
    """Ids in order spread evenly over 64 parts (chi-square with 63 degrees of freedom, p = 0.9999), and stay there."""
    found = priorities(np.arange(100_000), salt=7)
    assert found.min() >= 0
    assert (found == priorities(np.arange(100_000), salt=7)).all()
    counts = np.bincount(found >> 57, minlength=64)
    expected = 100_000 / 64
    assert ((counts - expected) ** 2 / expected).sum() < 114


def test_another_salt_orders_otherwise() -> None:
    """The order is of this store alone."""
    ids = np.arange(1_000)
    assert (np.argsort(priorities(ids, 1)) != np.argsort(priorities(ids, 2))).mean() > 0.9
