"""Text from outside that nothing may be trained on: prompts by which models are judged, with their answers.

A text is told by three things: it is the same, whatever its layout; it is a near-duplicate, as of held-out text; or it
quotes what is kept out, among whatever else it says. What is quoted is told by shingles, as n-grams tell it elsewhere
(Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C): those that many of the texts share, their
common frame, count for nothing. It lives in RAM alone: whoever opens the store says what it is.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from memory.identity.fingerprints import Bools, Hasher, Int64s, NormalisedTexts, UInt64s, normalise
from memory.identity.near_duplicates import SketchIndex
from memory.identity.sketches import LEAST_SHINGLES, counted_shingles, sketch

QUOTED: Final = 0.8
"""Of the shingles of a text that are its own, the share that a document has that quotes it."""
MOST_SHARED: Final = 16
"""Texts that may share a shingle which still counts: more than one prompt is with its answers."""
HASH_BITS: Final = np.uint64(32)


class KeptOut:
    """Texts that are kept out of training.

    Args:
        hasher: of the store.
        similarity: from which two texts are near-duplicates.
        texts: what is kept out.
    """

    def __init__(self, hasher: Hasher, similarity: float, texts: Sequence[str] = ()) -> None:
        self._hasher = hasher
        self._index = SketchIndex(similarity)
        normalised = normalise([text.encode("utf-8", "replace") for text in texts])
        self._index.add(sketch(normalised))
        self._contents = np.sort(hasher.contents(normalised)[:, 1])
        self._quotes = _Quotes(normalised)

    def near(self, texts: Sequence[str]) -> Bools:
        """Which of some texts are one of those that are kept out, or nearly, or quote one."""
        if not len(self._contents):
            return np.zeros(len(texts), bool)
        normalised = normalise([text.encode() for text in texts])
        same: Bools = np.isin(self._hasher.contents(normalised)[:, 1], self._contents)
        return same | self._index.near(sketch(normalised)) | self._quotes.within(normalised)


class _Quotes:
    """The shingles of some texts that are their own, to find which of others quote one."""

    def __init__(self, texts: NormalisedTexts) -> None:
        hashes, owners = _shingles(texts)
        _, places, shared_by = np.unique(hashes, return_inverse=True, return_counts=True)
        own = shared_by[places] <= MOST_SHARED
        self._hashes, self._owners = hashes[own], owners[own]
        self._texts = len(texts.starts)
        counts = np.bincount(self._owners, minlength=self._texts)
        # What has too few of its own is told by nothing.
        self._needed = np.where(counts >= LEAST_SHINGLES, np.ceil(QUOTED * counts), math.inf)

    def within(self, texts: NormalisedTexts) -> Bools:
        """Which of these quote one of the texts."""
        hashes, documents = _shingles(texts)
        first, last = (np.searchsorted(self._hashes, hashes, side=side) for side in ("left", "right"))
        hits = last - first
        # Each shingle of a document, once for every text that has it too.
        owners = self._owners[_ranges(first, hits)]
        pairs, agreeing = np.unique(np.repeat(documents, hits) * max(self._texts, 1) + owners, return_counts=True)
        document, owner = np.divmod(pairs, max(self._texts, 1))
        quoting = np.zeros(len(texts.starts), bool)
        quoting[document[agreeing >= self._needed[owner]]] = True
        return quoting


def _shingles(texts: NormalisedTexts) -> tuple[UInt64s, Int64s]:
    """Each text's different shingles that count, and the text that each is of; ascending by shingle."""
    hashes, firsts, lasts = counted_shingles(texts)
    counts = lasts - firsts
    owners = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    codes = np.unique((hashes[_ranges(firsts, counts)].astype(np.uint64) << HASH_BITS) | owners)
    return codes >> HASH_BITS, (codes & np.uint64(2**32 - 1)).astype(np.int64)


def _ranges(starts: Int64s, counts: Int64s) -> Int64s:
    """The numbers from each start on, so many of each, one range after the other."""
    before = np.cumsum(counts) - counts
    numbers: Int64s = np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(starts - before, counts)
    return numbers
