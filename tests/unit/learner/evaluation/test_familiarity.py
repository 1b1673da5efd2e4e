"""Familiarity: text of the kind that memory holds is told from text of another, whatever a model makes of it."""

from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from learner.evaluation.familiarity import FAMILIAR, LEAST_DOCUMENTS, MOST_STRANGE, RememberedWords
from tests.unit.learner.evaluation.test_coherence import addresses
from tests.unit.learner.tiny import NEW_NOUNS, texts


def strangeness(new: list[str], remembered: list[str]) -> float:
    """Of all of it together."""
    known = RememberedWords(remembered)
    return fmean(each for text in new if (each := known.strangeness(text)) is not None)


def test_more_of_the_same_kind_is_familiar() -> None:
    """Every other piece of an address, under the pieces between."""
    assert abs(strangeness(list(addresses()[::2]), list(addresses()[1::2]))) < FAMILIAR


def test_text_of_another_kind_is_not() -> None:
    """Sentences about engines where rivers are remembered; addresses where sentences are."""
    rivers = texts(60, seed=1)
    assert strangeness(texts(60, seed=2), rivers) < FAMILIAR
    assert strangeness(texts(60, seed=3, nouns=NEW_NOUNS), rivers) > FAMILIAR
    assert strangeness(list(addresses()), rivers) == MOST_STRANGE


def test_too_little_remembered_tells_nothing() -> None:
    """The first round of a stream, with no text from before it."""
    assert RememberedWords(addresses()[: LEAST_DOCUMENTS - 1]).strangeness("any words") is None
    assert RememberedWords([]).strangeness("any words") is None
    assert RememberedWords(addresses()).strangeness(" ") is None


@given(st.text(max_size=200))
def test_strangeness_is_bounded(text: str) -> None:
    """One document of numbers alone makes no round strange."""
    found = RememberedWords(addresses()).strangeness(text)
    assert found is None or -MOST_STRANGE <= found <= MOST_STRANGE
