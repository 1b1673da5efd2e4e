"""Which generations may go."""

from hypothesis import given
from hypothesis import strategies as st

from checkpoints.retention import removable

numbers = st.sets(st.integers(0, 200))


@given(numbers, st.integers(0, 10), st.data())
def test_what_must_stay_stays(kept: set[int], keep_last: int, data: st.DataObject) -> None:
    """Serving, previous, base, the line's newest and the pinned are never removed; all others are, oldest first."""
    some = st.none() | st.sampled_from(sorted(kept)) if kept else st.none()
    serving, previous = data.draw(some), data.draw(some)
    pinned = data.draw(st.sets(st.sampled_from(sorted(kept))) if kept else st.just(set()))
    line = data.draw(numbers)
    gone = removable(kept, line=line, serving=serving, previous=previous, keep_last=keep_last, pinned=pinned)
    newest = set(sorted(kept & line, reverse=True)[:keep_last])
    assert set(gone) == kept - {0, serving, previous} - pinned - newest
    assert list(gone) == sorted(gone)


@given(numbers, st.integers(0, 10))
def test_removing_twice_changes_nothing(kept: set[int], keep_last: int) -> None:
    """What retention leaves it leaves again."""
    line = range(0, 200, 2)
    gone = removable(kept, line=line, serving=None, previous=None, keep_last=keep_last)
    assert removable(kept - set(gone), line=line, serving=None, previous=None, keep_last=keep_last) == ()


def test_an_example() -> None:
    """Base, the last two, the serving one and the one before it stay."""
    assert removable(range(10), line=range(7), serving=6, previous=5, keep_last=3) == (1, 2, 3, 7, 8, 9)


def test_what_was_gone_back_from_pushes_nothing_good_out() -> None:
    """Generations 3 to 6 were bad, each made from 2 and left again; 7 serves, and 1 is still the way further back."""
    assert removable(range(8), line=(0, 1, 2, 7), serving=7, previous=2, keep_last=5) == (3, 4, 5, 6)
