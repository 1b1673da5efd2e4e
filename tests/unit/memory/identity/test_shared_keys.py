"""Which held-out documents are one voice."""

from hypothesis import given
from hypothesis import strategies as st

from memory.identity.shared_keys import first_of_key, within

CATEGORY = 9
documents = st.lists(
    st.tuples(st.integers(1, 60), st.one_of(st.none(), st.integers(5, CATEGORY))), unique_by=lambda pair: pair[0]
)


@given(documents)
def test_documents_are_together_exactly_if_they_have_one_key(pairs: list[tuple[int, int | None]]) -> None:
    """Those without a key, and those whose key is a category, are each by themselves."""
    shared = first_of_key(pairs, {CATEGORY})
    for sample, key in pairs:
        for other, its_key in pairs:
            one_voice = sample == other or (key == its_key and key not in {None, CATEGORY})
            assert (shared.get(sample, sample) == shared.get(other, other)) is one_voice
    assert all(first < sample and first not in shared for sample, first in shared.items())


@given(documents, st.sets(st.integers(1, 60)))
def test_a_part_keeps_the_numbers_of_the_whole(pairs: list[tuple[int, int | None]], part: set[int]) -> None:
    """So that a key which is in two slices is known as one."""
    shared = first_of_key(pairs, ())
    kept = within(shared, part)
    assert set(kept) == set(shared) & part
    assert all(kept[sample] == shared[sample] for sample in kept)
