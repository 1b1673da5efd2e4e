"""Which generations may go."""

from hypothesis import given
from hypothesis import strategies as st

from checkpoints.retention import removable

numbers = st.sets(st.integers(0, 200))


@given(numbers, st.integers(0, 10), st.data())
def test_what_must_stay_stays(kept: set[int], keep_last: int, data: st.DataObject) -> None:
    """Serving, previous, base, the newest and the pinned are never removed; all others are, oldest first."""
    some = st.none() | st.sampled_from(sorted(kept)) if kept else st.none()
    serving, previous = data.draw(some), data.draw(some)
    pinned = data.draw(st.sets(st.sampled_from(sorted(kept))) if kept else st.just(set()))
    gone = removable(kept, serving=serving, previous=previous, keep_last=keep_last, pinned=pinned)
    newest = set(sorted(kept)[len(kept) - min(keep_last, len(kept)) :])
    assert set(gone) == kept - {0, serving, previous} - pinned - newest
    assert list(gone) == sorted(gone)


@given(numbers, st.integers(0, 10))
def test_removing_twice_changes_nothing(kept: set[int], keep_last: int) -> None:
    """What retention leaves it leaves again."""
    gone = removable(kept, serving=None, previous=None, keep_last=keep_last)
    assert removable(kept - set(gone), serving=None, previous=None, keep_last=keep_last) == ()


def test_an_example() -> None:
    """Base, the last two, the serving one and the one before it stay."""
    assert removable(range(10), serving=6, previous=4, keep_last=2) == (1, 2, 3, 5, 7)
