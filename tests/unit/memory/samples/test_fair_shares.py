"""Budgets are shared evenly, and keys keep to their quota."""

from hypothesis import given
from hypothesis import strategies as st

from memory.samples.fair_shares import over_quota, share

WANTS = st.dictionaries(st.integers(0, 20), st.integers(0, 100), max_size=12)


@given(st.integers(0, 500), WANTS)
def test_a_budget_is_shared_whole_and_never_exceeded(budget: int, wanted: dict[int, int]) -> None:
    """All of it where enough is wanted, and nobody gets more than it wants."""
    shares = share(budget, wanted)
    assert shares.keys() == wanted.keys()
    assert sum(shares.values()) == min(budget, sum(wanted.values()))
    assert all(0 <= shares[key] <= want for key, want in wanted.items())


@given(st.integers(0, 500), WANTS)
def test_shares_are_fair(budget: int, wanted: dict[int, int]) -> None:
    """Who gets less than it wants has at least as much, but for one that does not divide, as anyone else."""
    shares = share(budget, wanted)
    largest = max(shares.values(), default=0)
    assert all(shares[key] >= largest - 1 for key, want in wanted.items() if shares[key] < want)


@given(st.lists(st.tuples(st.none() | st.integers(0, 4), st.integers(0, 10**6)), max_size=40), st.integers(1, 5))
def test_no_key_exceeds_its_quota(samples: list[tuple[int | None, int]], quota: int) -> None:
    """Those of the highest priorities go; text without a key is not concerned."""
    keyed = [(n, key, priority) for n, (key, priority) in enumerate(samples)]
    gone = set(over_quota(keyed, quota))
    for key in {key for key, _ in samples}:
        own = sorted((priority, n) for n, its_key, priority in keyed if its_key == key)
        expected = set() if key is None else {n for _, n in own[quota:]}
        assert gone & {n for _, n in own} == expected
