"""Coherence: ordinary text of any language shows it, words in random order and decoding of the wrong tokens do not."""

import codecs
import random
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.demo.text import eras
from learner.evaluation.coherence import LEAST_WORDS, coherence, is_broken, words_of


@cache
def addresses(count: int = 120, length: int = 350) -> tuple[str, ...]:
    """Real text, cut into pieces of whole words."""
    words = " ".join(paragraph.text for paragraph in eras(characters=count * length)[2].paragraphs).split()
    size = len(words) // count
    return tuple(" ".join(words[at * size : (at + 1) * size]) for at in range(count))


def shuffled(texts: Sequence[str], seed: int = 3) -> list[str]:
    """The same words in random order."""
    chance = random.Random(seed)
    return [" ".join(chance.sample(words := text.split(), len(words))) for text in texts]


def shares(texts: Sequence[str], *, remembered: Sequence[str] = ()) -> tuple[float, float]:
    """Shares of the texts that are shown to be coherent, and not to be."""
    marks = coherence(texts, range(len(texts)), remembered, seed=1)
    return marks.count(True) / len(texts), marks.count(False) / len(texts)


def test_ordinary_text_is_coherent() -> None:
    """Nearly every piece of an address, with no memory to compare with."""
    coherent, _ = shares(addresses())
    assert coherent >= 0.97


def test_a_language_that_nobody_knows_is_as_coherent() -> None:
    """Letters stand for other letters: no model reads it, and its neighbours say the same as before."""
    cipher = [codecs.encode(text, "rot13") for text in addresses()]
    assert coherence(cipher, range(120), (), seed=1) == coherence(addresses(), range(120), (), seed=1)


def test_words_in_random_order_are_not() -> None:
    """Whatever is remembered."""
    _, incoherent = shares(shuffled(addresses()))
    assert incoherent >= 0.85
    _, beside_memory = shares(shuffled(addresses()[:60]), remembered=addresses()[60:])
    assert beside_memory >= 0.85


def test_a_quarter_of_poison_shows_among_ordinary_text() -> None:
    """In those documents, and in no others."""
    mixed = [*shuffled(addresses()[:30]), *addresses()[30:]]
    marks = coherence(mixed, range(120), (), seed=1)
    assert marks[:30].count(False) >= 24
    assert marks[30:].count(False) <= 4


def test_text_without_spaces_is_read_by_its_letters() -> None:
    """As Chinese and Japanese are written."""
    joined = [text.replace(" ", "") for text in addresses()]
    mixed = ["".join(random.Random(at).sample(text, len(text))) for at, text in enumerate(joined)]
    assert shares(joined)[0] >= 0.97
    assert shares(mixed)[1] >= 0.85


def test_of_a_short_text_nothing_is_said() -> None:
    """Nor of one whose words no other has."""
    assert coherence(["one two three"] * 3, [0], (), seed=1) == [None]
    alone = " ".join(f"word{at}" for at in range(2 * LEAST_WORDS))
    assert coherence([alone, *addresses()], [0], (), seed=1) == [None]


@pytest.mark.parametrize("broken", ["\ufffd", "\x13", "\ue000"])
def test_what_was_decoded_wrongly_is_incoherent(broken: str) -> None:
    """Replaced letters, controls, private characters: a few of them; a single one is a slip."""
    text = addresses()[0]
    assert coherence([text.replace(" the ", broken), *addresses()], [0], (), seed=1) == [False]
    assert not is_broken(text + broken)
    assert not is_broken("tabs\tand\r\nlines are no controls " * 3)


@given(st.lists(st.text(max_size=80), min_size=1, max_size=5), st.integers(0, 9))
def test_any_text_is_looked_at(texts: list[str], seed: int) -> None:
    """Empty, of signs alone, of one word: each gets a word, the same each time."""
    marks = coherence(texts, range(len(texts)), texts, seed=seed)
    assert set(marks) <= {True, False, None}
    assert marks == coherence(texts, range(len(texts)), texts, seed=seed)
    assert all(len(words_of(text)) <= len(text) for text in texts)
