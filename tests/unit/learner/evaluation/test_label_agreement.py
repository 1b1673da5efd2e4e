"""Answers and labels: by hand, by law, and by chance."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.plausible_new_text import CONTRARY
from learner.evaluation.label_agreement import LEAST_DOCUMENTS, Agreement, agreement, contrary_share

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=80)
TURNED = dict(zip("abc", "bca", strict=True))
OTHERS: Mapping[str, list[str]] = {each: sorted(set("abc") - {each}) for each in "abc"}


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
    texts = [[_read(chance, right, chance.random() < wrong) for _ in range(256)] for _ in range(100)]
    assert least_held <= sum(agreed(text).contrary_share > CONTRARY for text in texts) <= most_held
    assert least_held <= sum(contrary_share(text) > CONTRARY for text in texts) <= most_held


def _read(chance: random.Random, right: float, is_turned: bool) -> tuple[str, str]:
    """A document of a classifier that reads so many rightly: its answer, and the label that the document has."""
    true = chance.choice("abc")
    answer = true if chance.random() < right else chance.choice(OTHERS[true])
    return answer, TURNED[true] if is_turned else true


@pytest.mark.parametrize("right", [0.65, 0.85])
@pytest.mark.parametrize(("turned", "of_whole"), [(0.4, 0), (0.5, 12)])
def test_labels_turned_round_show_beside_rightly_labelled_text_that_was_left(
    turned: float, of_whole: int, right: float
) -> None:
    """So many documents in a row, wherever they lie among 256; of all of the text they hardly ever show."""
    chance = random.Random(4)

    def text() -> list[tuple[str, str]]:
        count = round(turned * 256)
        begin = chance.randint(0, 256 - count)
        return [_read(chance, right, begin <= at < begin + count) for at in range(256)]

    texts = [text() for _ in range(100)]
    assert sum(contrary_share(each) > CONTRARY for each in texts) >= (97 if right > 0.8 else 65)
    assert sum(agreed(each).contrary_share > CONTRARY for each in texts) <= of_whole


def test_the_share_is_that_of_the_worst_stretch() -> None:
    """A quarter all of whose labels were exchanged, behind three that are right; in another order nothing is sure."""
    right = [("a", "a"), ("b", "b")] * 96
    exchanged = [("a", "b"), ("b", "a")] * 32
    assert contrary_share([*right, *exchanged]) == 1
    mixed = [document for at in range(64) for document in (*right[3 * at : 3 * at + 3], exchanged[at])]
    assert contrary_share(mixed) == agreed(mixed).contrary_share == pytest.approx(0, abs=0.01)
    assert math.isnan(contrary_share([]))
    assert math.isnan(contrary_share(right[:10]))


def test_text_in_bursts_of_a_label_each_is_not_contrary() -> None:
    """Labels come as unequal as they like, and of one nearly all are taken for another; chance alone holds nothing."""
    chance = random.Random(5)

    def burst() -> list[tuple[str, str]]:
        weights = [chance.random() ** 3 + 0.02 for _ in "abc"]
        trues = chance.choices("abc", weights, k=chance.randint(16, 64))
        return [
            ("b" if chance.random() < 0.8 else "a", "a")
            if true == "a"
            else (true if chance.random() < 0.8 else chance.choice("abc"), true)
            for true in trues
        ]

    in_bursts = [[each for _ in range(16) for each in burst()][:256] for _ in range(200)]
    assert sum(contrary_share(text) > CONTRARY for text in in_bursts) <= 2
    by_chance = [[(chance.choice("ab"), chance.choice("ab")) for _ in range(256)] for _ in range(500)]
    assert sum(contrary_share(text) > CONTRARY for text in by_chance) <= 10
