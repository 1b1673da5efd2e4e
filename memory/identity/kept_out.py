"""Text from outside that nothing may be trained on: prompts by which models are judged, with their answers.

It is compared as held-out text is, by sketches; of texts too short for one only the same text is told, whatever its
layout. It lives in RAM alone: whoever opens the store says what it is.
"""

from collections.abc import Sequence

import numpy as np

from memory.identity.fingerprints import Bools, Hasher, UInt64s, normalise
from memory.identity.near_duplicates import SketchIndex
from memory.identity.sketches import Sketches, sketch


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

    def near(self, sketches: Sketches, contents: UInt64s) -> Bools:
        """Which of some texts are one of those that are kept out, or nearly.

        Args:
            sketches: of the texts.
            contents: hashes of their content alone, as `Looked.content_groups` has them.
        """
        same: Bools = np.isin(contents, self._contents)
        return same | self._index.near(sketches)

    def near_texts(self, texts: Sequence[str]) -> Bools:
        """The same of texts that were not looked at."""
        if not len(self._contents):
            return np.zeros(len(texts), bool)
        normalised = normalise([text.encode() for text in texts])
        return self.near(sketch(normalised), self._hasher.contents(normalised)[:, 1])
