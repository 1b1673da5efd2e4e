"""Whether a document is text at all: its words stand in an order that others share, and its letters are whole.

A model reads badly what is new to it, and so it reads words that were thrown together: its loss cannot tell them apart.
Neighbours can, and need no model. In any language and domain, two words that stand side by side do so in other
documents too, more often than by chance. With counts n over all documents but the one that is looked at,

    g = Σ over neighbours (a, b) of  log [ (n(a, b) + κ p(b)) / (n(a) + κ) ] - log p(b)

is how much the order says (κ = 5 draws rare words to what chance expects), and the document's own g is compared with
that of the same words in random order: so many standard deviations above their mean. Torch-free.
"""

import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

MOST_WORDS: Final = 400
"""Of a document; the rest of a longer one says nothing else."""
MOST_DOCUMENTS: Final = 2_000
"""New ones whose neighbours are counted."""
LEAST_WORDS: Final = 30
LEAST_PAIRS: Final = 20
"""With fewer, or fewer whose words others have too, nothing is missed where no order shows."""
ORDERED: Final = 2.0
"""Standard deviations above random order; 2 % of what has no order lie there by chance, and a fat tail."""
SHUFFLES: Final = 16
DRAWN_TO_CHANCE: Final = 5.0
LONGEST_MEAN_WORD: Final = 20
"""Where words are longer in the mean, no spaces part them: then each letter counts as one."""
BROKEN_SHARE: Final = 0.005
LEAST_BROKEN: Final = 2

_PART: Final = re.compile(r"\w+|[^\w\s]")
_BROKEN: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ue000-\uf8ff\ufff0-\uffff]")

Word = tuple[str, str]
"""With which letters or sign it begins and ends: where neighbours touch. A full stop is no part of a word."""


def words_of(text: str) -> list[Word]:
    """The first words of a text, parted by spaces; its letters where there are hardly any spaces."""
    parts = text.split(maxsplit=MOST_WORDS)[:MOST_WORDS]
    if sum(map(len, parts)) > LONGEST_MEAN_WORD * len(parts):
        parts = [letter for part in parts for letter in part[:MOST_WORDS]][:MOST_WORDS]
    words = (_PART.findall(part) for part in parts)
    return [(pieces[0], pieces[-1]) for pieces in words if pieces]


def is_broken(text: str) -> bool:
    """Tell whether a text holds what no text should: replaced letters, controls, private or unassigned characters.

    A single one is a slip; more than one in 200 characters comes of bytes or tokens that were decoded as what they are
    not.
    """
    count = len(_BROKEN.findall(text))
    return count >= max(LEAST_BROKEN, BROKEN_SHARE * len(text))


@dataclass(slots=True)
class Neighbours:
    """How often words stand beside each other.

    Attributes:
        pairs: by what the left one ends with and the right one begins with.
        lefts: ends, however they go on.
        rights: beginnings.
    """

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    lefts: Counter[str] = field(default_factory=Counter)
    rights: Counter[str] = field(default_factory=Counter)

    def add(self, words: Sequence[Word]) -> None:
        """Count a document's."""
        self.pairs.update(_pairs(words))
        self.lefts.update(end for _, end in words)
        self.rights.update(beginning for beginning, _ in words)

    def is_ordered(self, words: Sequence[Word], chance: random.Random) -> bool | None:
        """Tell whether a counted document's words stand in an order that others share; None where it is too short.

        Args:
            words: of a document that was counted: what it says itself is left out.
            chance: puts them in random order.
        """
        own = Neighbours()
        own.add(words)
        gains = _Gains(self, own)
        shuffled, drawn = list(words), []
        for _ in range(SHUFFLES):
            chance.shuffle(shuffled)
            drawn.append(gains.of(shuffled))
        spread = statistics.pstdev(drawn)
        if spread and gains.of(words) >= statistics.fmean(drawn) + ORDERED * spread:
            return True
        told = sum(gains.knows(*pair) for pair in _pairs(words))
        return False if len(words) >= LEAST_WORDS and told >= LEAST_PAIRS else None


class _Gains:
    """What neighbours say in one document, by what stands in all others."""

    def __init__(self, everything: Neighbours, own: Neighbours) -> None:
        self._all, self._own = everything, own
        self._rights = max(everything.rights.total() - own.rights.total(), 1)
        self._known: dict[tuple[str, str], float] = {}

    def of(self, words: Sequence[Word]) -> float:
        return math.fsum(map(self._gain, _pairs(words)))

    def knows(self, left: str, right: str) -> bool:
        """Whether other documents have both: only then can their order say anything."""
        return self._all.lefts[left] > self._own.lefts[left] and self._all.rights[right] > self._own.rights[right]

    def _gain(self, pair: tuple[str, str]) -> float:
        if pair not in self._known:
            self._known[pair] = self._compute(pair)
        return self._known[pair]

    def _compute(self, pair: tuple[str, str]) -> float:
        if not self.knows(*pair):
            return 0.0
        left, right = pair
        by_chance = (self._all.rights[right] - self._own.rights[right]) / self._rights
        together = self._all.pairs[pair] - self._own.pairs[pair] + DRAWN_TO_CHANCE * by_chance
        return math.log(together / (self._all.lefts[left] - self._own.lefts[left] + DRAWN_TO_CHANCE) / by_chance)


def _pairs(words: Sequence[Word]) -> Iterable[tuple[str, str]]:
    return ((end, beginning) for (_, end), (beginning, _) in pairwise(words))


def coherence(
    texts: Sequence[str], chosen: Sequence[int], remembered: Iterable[str], *, seed: int
) -> list[bool | None]:
    """For each chosen text whether it is coherent: True where that shows, False where it shows that it is not.

    Args:
        texts: all new ones, whose neighbours are counted (of many, the chosen and the first).
        chosen: which are asked about, by their index.
        remembered: of the memory, whose neighbours count as well.
        seed: of the random orders.
    """
    words = {at: words_of(texts[at]) for at in sorted({*chosen, *range(min(len(texts), MOST_DOCUMENTS))})}
    neighbours = Neighbours()
    for document in (*words.values(), *map(words_of, remembered)):
        neighbours.add(document)
    chance = random.Random(seed)  # noqa: S311 -- an experiment, no secret
    return [False if is_broken(texts[at]) else neighbours.is_ordered(words[at], chance) for at in chosen]
