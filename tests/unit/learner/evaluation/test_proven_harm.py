"""What is scored of a candidate once a bound is broken: the rule, by hand and by law."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.harm_bounds import HarmBound
from learner.evaluation.proven_harm import in_order_of_proof, proven_harm
from memory.ledger.records import DocumentScore

ANCHOR = HarmBound(("anchor",), 0.1, None, 2.0)
RISES = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


def rows(losses: list[float], tokens: int = 10) -> list[DocumentScore]:
    """Documents of so many nats a token."""
    return [DocumentScore(at, tokens * loss, tokens) for at, loss in enumerate(losses)]


def on(rises: list[float], bound: HarmBound = ANCHOR, base: float = 0.0) -> str:
    """Where a candidate that rose so over a parent is proven to break a bound; the parent over the base by `base`."""
    flat = {"anchor": rows([3.0] * len(rises))}
    lower = {"anchor": rows([3.0 - base] * len(rises))}
    return proven_harm([bound], {"anchor": rows([3.0 + rise for rise in rises])}, parent=flat, base=lower)


def test_it_takes_more_than_an_estimate_beyond_the_bound() -> None:
    """As many standard errors as the round says."""
    assert on([0.2, 0.2, 0.2, 0.21]) == "anchor"
    assert on([0.5, -0.1, 0.5, -0.1]) == ""
    assert on([0.09] * 4) == ""


def test_the_anchor_is_held_to_the_base_too() -> None:
    """Small losses add up."""
    held = HarmBound(("anchor",), 0.1, 0.15, 2.0)
    assert on([0.09, 0.09, 0.09, 0.08], held) == ""
    assert on([0.09, 0.09, 0.09, 0.08], held, base=0.1) == "anchor"


def test_documents_of_one_key_are_one_piece_of_evidence() -> None:
    """Ten of an author prove no more than one."""
    rises = [0.4] * 8 + [0.05] * 3
    assert on(rises, HarmBound(("anchor",), 0.1, None, 3.0)) == "anchor"
    assert on(rises, HarmBound(("anchor",), 0.1, None, 3.0, dict.fromkeys(range(1, 8), 0))) == ""


def test_nothing_is_proven_of_what_is_not_scored_whole() -> None:
    """Slices that are judged as one are waited for; what is not finite, or one key alone, says nothing."""
    both = HarmBound(("anchor", "1"), 0.1, None, 2.0)
    assert on([0.5] * 4, both) == ""
    assert on([0.5, float("nan"), 0.5]) == ""
    assert on([0.5]) == ""
    assert proven_harm([], {"anchor": rows([9.0] * 4)}, parent={}, base={}) == ""


@given(RISES)
def test_what_is_proven_lies_beyond_the_bound(rises: list[float]) -> None:
    """Whatever the scores: the mean does, and by as many standard errors as numpy finds."""
    error = np.std(rises, ddof=1) / np.sqrt(len(rises))
    least = np.mean(rises) - 2 * error
    if abs(least - 0.1) > 1e-9:
        assert bool(on(rises)) is bool(least > 0.1)


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdefg"), unique=True))
def test_every_slice_is_scored_once_and_those_with_a_bound_first(bound: list[str], slices: list[str]) -> None:
    """In the order of the bounds, then in that of the round."""
    order = in_order_of_proof([HarmBound((name,), 0.1, None, 2.0) for name in bound], slices)
    assert sorted(order) == sorted(slices)
    first = [name for name in bound if name in slices]
    assert order[: len(first)] == first
