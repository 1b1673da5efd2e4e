"""What is not worth keeping, and what is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.document import Reason
from streams.filters import find_rejection, repetition
from streams.settings import FilterSettings

PROSE = (
    "In meeting you again I feel much satisfaction in being able to repeat my congratulations on the favorable "
    "prospects which continue to distinguish our public affairs. The abundant fruits of another year have blessed "
    "our country with plenty and with the means of a flourishing commerce."
)


@pytest.mark.parametrize(
    "text",
    [
        "buy " * 50,
        "a" * 100,
        "ab" * 40,
        "買" * 100,
        "buy now! " * 500 + "the end",
        "x " + "buy cheap pills " * 60,
        ("spam " * 30 + "\n") * 40,
    ],
)
def test_one_token_repeated_is_not_kept(text: str) -> None:
    """Near-constant text is told by its repetition, in any script and with some noise."""
    found = find_rejection(text, FilterSettings())
    assert found is not None
    assert found[0] is Reason.REPETITIVE


@pytest.mark.parametrize("text", [PROSE, "ha ha ha ha", "No.", PROSE * 2, "- yes\n- no\n- yes\n- no, never again\n"])
def test_prose_is_kept(text: str) -> None:
    """Ordinary text, short exclamations and a text quoted once are kept."""
    assert find_rejection(text, FilterSettings()) is None


def test_a_long_document_is_not_taken_for_repetition() -> None:
    """In half a million characters every word has come before; that is no repetition."""
    rng = random.Random(1)
    words = [f"{rng.choice('bcdfgh')}{rng.choice('aeiou')}{n}" for n in range(500)]
    assert find_rejection(" ".join(rng.choices(words, k=100_000)), FilterSettings()) is None


def test_short_text_is_kept_unless_told_otherwise() -> None:
    """The least length counts without the blanks around."""
    assert find_rejection("ok", FilterSettings()) is None
    found = find_rejection("  ok  ", FilterSettings(min_characters=3))
    assert found is not None
    assert found[0] is Reason.TOO_SHORT
    assert find_rejection(" okay ", FilterSettings(min_characters=3)) is None


def test_the_filter_can_be_turned_off() -> None:
    """At 1 everything is kept."""
    assert find_rejection("buy " * 50, FilterSettings(max_repetition=1)) is None


@given(st.text())
def test_repetition_is_a_share(text: str) -> None:
    """It lies between 0 and 1 for every text."""
    assert 0 <= repetition(text) <= 1


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.integers(30, 60))
def test_every_repeated_token_is_seen(token: str, times: int) -> None:
    """The quick search in front never clears a text that only repeats."""
    text = token * times
    if len(text) >= 64 and not text.isspace():
        assert repetition(text) > 0.8 or len(token) * 6 > len(text)
        assert (find_rejection(text, FilterSettings()) is not None) == (repetition(text) > 0.8)
