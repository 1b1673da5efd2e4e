"""Laws of the learning rate's schedule."""

from hypothesis import given
from hypothesis import strategies as st

from learner.training.schedules import rate_factor, share_done

shares = st.floats(1e-6, 1)
warmups = st.floats(0, 0.9)
floors = st.floats(0, 1)


@given(done=shares, warmup=warmups, floor=floors)
def test_rate_stays_between_zero_and_its_peak(done: float, warmup: float, floor: float) -> None:
    """No step has a rate of zero or above the peak."""
    assert 0 < rate_factor(done, warmup=warmup, floor=max(floor, 1e-3)) <= 1


@given(warmup=warmups, floor=floors)
def test_rate_ends_at_the_floor(warmup: float, floor: float) -> None:
    """The last step has the floor's rate, never less."""
    assert abs(rate_factor(1.0, warmup=warmup, floor=floor) - floor) < 1e-12


@given(first=shares, second=shares, warmup=warmups, floor=floors)
def test_rate_rises_through_the_warm_up_and_never_after(
    first: float, second: float, warmup: float, floor: float
) -> None:
    """Within the warm-up a later step has the larger rate, after it the smaller."""
    first, second = sorted((first, second))
    before, after = (rate_factor(at, warmup=warmup, floor=floor) for at in (first, second))
    if second < warmup:
        assert before <= after
    if first >= warmup:
        assert before >= after


def test_rate_is_at_its_peak_where_the_warm_up_ends() -> None:
    """Warm-up and cosine meet at the peak."""
    assert rate_factor(0.03, warmup=0.03, floor=0.1) == 1.0


@given(step=st.integers(0, 99), seconds=st.floats(0, 1000))
def test_time_only_hastens_the_schedule(step: int, seconds: float) -> None:
    """A time limit moves the schedule on, never back, and never past its end."""
    free = share_done(step, 100, seconds=seconds, max_seconds=None)
    limited = share_done(step, 100, seconds=seconds, max_seconds=500.0)
    assert free == (step + 1) / 100
    assert free <= limited <= 1
    assert seconds < 500 or limited == 1
