"""Answers and labels: by hand, by law, and by chance."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.plausible_new_text import CONTRARY
from learner.evaluation.label_agreement import LEAST_DOCUMENTS, Agreement, agreement

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=80)
TURNED = dict(zip("abc", "bca", strict=True))


def agreed(answered: list[tuple[str, str]]) -> Agreement:
    """How they go together, where there is enough of them."""
    found = agreement(answered)
    assert found is not None
    return found


def test_by_hand() -> None:
    """Of 20 labelled a 15 are answered a, of 30 others 6."""
    found = agreed([("a", "a")] * 15 + [("b", "a")] * 5 + [("a", "b")] * 6 + [("b", "b")] * 24)
    by_chance = (21 * 20 + 29 * 30) / 50**2
    assert found.kappa == pytest.approx((39 / 50 - by_chance) / (1 - by_chance))
    # Chi-square is 50 (15 x 24 - 5 x 6)^2 / (20 x 30 x 21 x 29), without bias a little less.
    share = (15 * 24 - 5 * 6) ** 2 / (20 * 30 * 21 * 29) - 1 / 49
    assert found.association == pytest.approx(math.sqrt(share / (2 - 1 / 49 - 1)))
    assert (found.tells, found.contrary_share) == (True, 0)


def test_what_answers_say_is_for_labels_or_against_them() -> None:
    """Two labels that were exchanged are against all that is said; of a third that was left, half of it is for them."""
    exchanged = [("a", "b")] * 20 + [("b", "a")] * 20
    assert agreed(exchanged).contrary_share == 1
    assert agreed([(label, label) for _, label in exchanged]).contrary_share == 0
    assert agreed([*exchanged, *[("c", "c")] * 80]).contrary_share == pytest.approx(1 / 3, abs=0.01)


def test_one_label_alone_says_nothing() -> None:
    """Nor do a few documents of another; where all is answered alike, nothing depends on anything."""
    assert agreement([("b", "a")] * 50 + [("b", "c")] * (LEAST_DOCUMENTS - 1)) is None
    alike = agreed([("b", "a")] * 50 + [("b", "c")] * 50)
    assert (alike.kappa, alike.association, alike.tells) == (0, 0, False)
    assert math.isnan(alike.contrary_share)


@given(PAIRS, st.permutations("abc"))
def test_names_do_not_matter(answered: list[tuple[str, str]], names: list[str]) -> None:
    """Other names for the same labels change nothing; the figures stay within their ranges."""
    named = dict(zip("abc", names, strict=True))
    found, renamed = agreement(answered), agreement([(named[answer], named[label]) for answer, label in answered])
    assert (found is None) == (renamed is None)
    if found is None or renamed is None:
        return
    assert (renamed.kappa, renamed.association) == pytest.approx((found.kappa, found.association), abs=1e-7)
    assert -1 <= found.kappa <= 1
    assert 0 <= found.association <= 1 + 1e-9
    assert found.contrary_share <= 1 or not found.tells


def test_answers_by_chance_say_nothing() -> None:
    """In 99 of 100 texts, however few documents and whatever is answered most."""
    chance = random.Random(1)
    for documents in (20, 50, 100):
        texts = [
            [(chance.choices("abc", (6, 3, 1))[0], chance.choice("ab")) for _ in range(documents)] for _ in range(1_000)
        ]
        assert sum(agreement(text) is None or not agreed(text).tells for text in texts) >= 988


@pytest.mark.parametrize(
    ("wrong", "most_held", "least_held"), [(0.0, 0, 0), (0.25, 0, 0), (0.77, 100, 97), (1.0, 100, 100)]
)
@pytest.mark.parametrize("right", [0.65, 0.85])
def test_a_share_of_labels_turned_round_is_told_from_a_classifier_that_errs(
    wrong: float, most_held: int, least_held: int, right: float
) -> None:
    """256 documents of three labels, of which it reads so many rightly; the bound is that of the gate."""
    chance = random.Random(2)

    def document() -> tuple[str, str]:
        true = chance.choice("abc")
        others: Mapping[str, list[str]] = {each: sorted(set("abc") - {each}) for each in "abc"}
        answer = true if chance.random() < right else chance.choice(others[true])
        return answer, TURNED[true] if chance.random() < wrong else true

    held = sum(agreed([document() for _ in range(256)]).contrary_share > CONTRARY for _ in range(100))
    assert least_held <= held <= most_held
