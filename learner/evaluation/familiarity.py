"""How unlike remembered text a new document is in its words alone: what kind of text it is, not whether it is good.

A document's surprise is the mean of -log p(word), with p from the words of remembered text. Its strangeness is how far
that lies above what remembered documents have, each under all others, in their standard deviations: 0 in the mean for
text of the same kind (0.04 and 0.08 for reviews of films, and of goods, among their like), 0.4 to 1.8 for text of
another kind (films after goods, addresses of later decades). Torch-free.
"""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

FAMILIAR: Final = 0.25
"""Text whose mean strangeness is not above this is of a kind that memory knows."""
UNKNOWN: Final = 3.0
"""Text whose mean strangeness is above this has words that memory hardly knows; text of another kind has 0.4 to 1.8."""
MOST_WORDS: Final = 400
MOST_DOCUMENTS: Final = 1_024
COMPARED: Final = 256
LEAST_DOCUMENTS: Final = 20
MOST_STRANGE: Final = 5.0
"""One document of numbers alone must not make a round's text strange."""
LONGEST_MEAN_WORD: Final = 12

_WORD: Final = re.compile(r"\w+|[^\w\s]")


class RememberedWords:
    """The words of remembered text.

    Args:
        texts: random ones of the memory.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        documents = [_words(text) for text, _ in zip(texts, range(MOST_DOCUMENTS), strict=False)]
        self._counts = Counter[str]()
        for words in documents:
            self._counts.update(words)
        self._total = self._counts.total()
        spread = documents[:: max(1, len(documents) // COMPARED)]
        usual = [self._surprise(words, Counter(words)) for words in spread if words]
        self._mean = statistics.fmean(usual) if usual else math.nan
        self._spread = statistics.stdev(usual) if len(usual) >= LEAST_DOCUMENTS else 0.0

    def strangeness(self, text: str) -> float | None:
        """Of a document that is not among them; None where too little is remembered to tell, or it has no words."""
        words = _words(text)
        if not self._spread or not words:
            return None
        apart = (self._surprise(words, Counter()) - self._mean) / self._spread
        return max(-MOST_STRANGE, min(MOST_STRANGE, apart))

    def _surprise(self, words: Sequence[str], own: Counter[str]) -> float:
        """Mean nats a word, one added to each count, under all documents but the one whose counts are `own`."""
        total = math.log(self._total - own.total() + len(self._counts) + 1)
        return total - math.fsum(math.log(self._counts[word] - own[word] + 1) for word in words) / len(words)


def _words(text: str) -> list[str]:
    words = _WORD.findall(text[: MOST_WORDS * LONGEST_MEAN_WORD].lower())[:MOST_WORDS]
    if sum(map(len, words)) > LONGEST_MEAN_WORD * len(words):
        # Nothing parts its words.
        return [letter for word in words for letter in word][:MOST_WORDS]
    return words
