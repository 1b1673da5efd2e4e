"""Sorted runs behave like a set of numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.identity.sorted_runs import SortedRuns

NUMBERS = st.lists(st.integers(0, 50), max_size=20)


@given(st.lists(NUMBERS, max_size=12), NUMBERS)
def test_runs_contain_what_was_added(added: list[list[int]], asked: list[int]) -> None:
    """And nothing else, however the batches fell."""
    runs = SortedRuns()
    for batch in added:
        runs.add(np.array(batch, np.uint64))
    members = {number for batch in added for number in batch}
    assert runs.contains(np.array(asked, np.uint64)).tolist() == [number in members for number in asked]
    assert len(runs) == sum(map(len, added))


@given(st.lists(NUMBERS, max_size=12), NUMBERS)
def test_owners_are_found(added: list[list[int]], asked: list[int]) -> None:
    """With no limit below the number of equal ones, every owner of an asked number comes back."""
    runs = SortedRuns()
    owners: list[int] = []
    for batch in added:
        ids = np.arange(len(owners), len(owners) + len(batch), dtype=np.int32)
        runs.add(np.array(batch, np.uint64), ids)
        owners += batch
    indexes, found = runs.owners_of(np.array(asked, np.uint64), most=1_000)
    pairs = {(int(index), int(owner)) for index, owner in zip(indexes, found, strict=True)}
    assert pairs == {(i, n) for i, number in enumerate(asked) for n, owned in enumerate(owners) if owned == number}


def test_few_runs_are_kept() -> None:
    """A thousand small batches leave a handful of arrays: looking up stays cheap."""
    runs = SortedRuns()
    for n in range(1_000):
        runs.add(np.array([n], np.uint64))
    assert len(runs._runs) <= 11
