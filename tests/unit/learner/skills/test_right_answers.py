"""When an answer is right."""

import math
from dataclasses import replace

import pytest

from learner.skills.prompts import AnswerKind, Asking, Prompt
from learner.skills.right_answers import cut_at_stop, is_right, likeliest

ASKING = Asking(32, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True)
CHOICES = Prompt(1, "a", "choices", ("no", "certainly"), 1)


@pytest.mark.parametrize(
    ("kind", "answer", "right"),
    [
        ("exact", " 4\n", True),
        ("exact", "four", True),
        ("exact", "4.", False),
        ("exact", "Four", False),
        ("contains", "It is 4.", True),
        ("contains", "It is for you", False),
    ],
)
def test_exact_is_the_whole_answer_and_contains_a_part(kind: AnswerKind, answer: str, *, right: bool) -> None:
    """But for white space."""
    assert is_right(Prompt(1, "2 + 2 =", kind, ("4", "four")), answer, ASKING) is right


def test_case_and_composition_of_letters() -> None:
    """Case counts unless it is told not to; how a letter is put together never does."""
    prompt = Prompt(1, "a", "exact", ("Café du Nord",))
    assert is_right(prompt, "Cafe\u0301  du\nNord", ASKING)
    assert not is_right(prompt, "café du nord", ASKING)
    assert is_right(prompt, "CAFÉ DU NORD", replace(ASKING, ignore_case=True))


def test_the_likeliest_choice_by_sum_and_by_length() -> None:
    """As `acc` and `acc_norm` of lm-evaluation-harness: a longer choice is less likely for its length alone."""
    assert likeliest(CHOICES, [-2.0, -6.0], ASKING) == 0
    assert likeliest(CHOICES, [-2.0, -6.0], replace(ASKING, choice_by="length")) == 1


@pytest.mark.parametrize("likely", [[-2.0, -2.0], [-2.0, math.nan], [math.nan, -2.0], [-math.inf, -1.0]])
def test_what_cannot_be_told_apart_is_no_answer(likely: list[float]) -> None:
    """A model that finds everything alike, or nothing at all, knows nothing."""
    assert likeliest(CHOICES, likely, ASKING) is None


def test_an_answer_ends_at_the_first_stop() -> None:
    """White space before it is no answer yet."""
    assert cut_at_stop("\n 12\n13 + 4", ("\n",)) == "12"
    assert cut_at_stop("twelve. Q: ", ("Q:", ".")) == "twelve"
    assert cut_at_stop("12\n13", ()) == "12\n13"
