"""Answers and labels: by hand, by law, and by chance."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.evaluation.label_agreement import LEAST_DOCUMENTS, UNRELATED, association, contrary_share

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=80)


def test_by_hand() -> None:
    """Of 20 labelled a 15 are answered a, of 30 others 6: 0.75 against 0.2."""
    answered = [("a", "a")] * 15 + [("b", "a")] * 5 + [("a", "b")] * 6 + [("b", "b")] * 24
    assert contrary_share(answered) == pytest.approx(-0.55)
    # Chi-square is 50 (15 x 24 - 5 x 6)^2 / (20 x 30 x 21 x 29), without bias a little less.
    share = (15 * 24 - 5 * 6) ** 2 / (20 * 30 * 21 * 29) - 1 / 49
    assert association(answered) == pytest.approx(math.sqrt(share / (2 - 1 / 49 - 1)))


def test_two_labels_turned_round_show_beside_one_that_is_right() -> None:
    """On average the answers go with the labels; of each label by itself they do not."""
    answered = [("a", "b")] * 20 + [("b", "a")] * 20 + [("c", "c")] * 80
    assert contrary_share(answered) == pytest.approx(0.2)
    assert contrary_share([("a", "b")] * 20 + [("b", "a")] * 20) == 1


def test_one_label_alone_says_nothing() -> None:
    """Nor do a few documents of another; where all is answered alike, nothing depends on anything."""
    assert math.isnan(contrary_share([("b", "a")] * 50))
    assert math.isnan(association([("b", "a")] * 50 + [("b", "c")] * (LEAST_DOCUMENTS - 1)))
    alike = [("b", "a")] * 50 + [("b", "c")] * 50
    assert (contrary_share(alike), association(alike)) == (0, 0)


@given(PAIRS, st.permutations("abc"))
def test_names_do_not_matter(answered: list[tuple[str, str]], names: list[str]) -> None:
    """Other names for the same labels change nothing; both figures stay within their ranges."""
    named = dict(zip("abc", names, strict=True))
    renamed = [(named[answer], named[label]) for answer, label in answered]
    assert contrary_share(renamed) == pytest.approx(contrary_share(answered), nan_ok=True)
    assert association(renamed) == pytest.approx(association(answered), nan_ok=True, abs=1e-9)
    assert not abs(contrary_share(answered)) > 1
    assert not association(answered) > 1 + 1e-9


def test_answers_by_chance_are_unrelated() -> None:
    """In 98 of 100 texts of 100 documents, whatever is answered most."""
    chance = random.Random(1)
    texts = [[(chance.choices("abc", (6, 3, 1))[0], chance.choice("ab")) for _ in range(100)] for _ in range(1_000)]
    assert sum(association(answered) < UNRELATED for answered in texts) >= 980
