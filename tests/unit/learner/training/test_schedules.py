"""Laws of the learning rate's schedule."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.training.schedules import MOST_WARMUP, rate_factor, share_done, warmup_share

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


def rates(steps: int, *, seconds: float | None = None, least_steps: int = 10, warmup: float = 0.03) -> list[float]:
    """The rates of a round, as shares of the peak.

    Args:
        steps: how many are planned.
        seconds: how many it may take, a step taking one; None for no limit.
    """
    found: list[float] = []
    for step in range(steps):
        if seconds is not None and step and step >= seconds:
            break
        done = share_done(step, steps, seconds=float(step), max_seconds=seconds)
        share = warmup_share(step, done, share=warmup, least_steps=least_steps)
        found.append(rate_factor(done, warmup=share, floor=0.1))
    return found


def test_short_round_warms_up_over_half_of_its_steps_at_most() -> None:
    """Of sixteen steps three percent is none: the rate would begin at its peak."""
    assert rates(16)[:8] == pytest.approx([step / 8 for step in range(1, 9)])
    assert rates(16, least_steps=0)[0] > 0.99


def test_long_round_warms_up_as_asked() -> None:
    """Where a share of it is more steps than the least."""
    assert rates(1000) == pytest.approx(rates(1000, least_steps=0))
    assert rates(100)[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates(20, warmup=0.8)[15] == pytest.approx(1.0)


def test_warm_up_is_as_long_where_time_ends_a_round() -> None:
    """Of a thousand steps planned there is time for forty: ten of them, and for sixteen half of them."""
    # Of the first nobody knows yet how long a step takes: it has no more than its share.
    assert 0 < rates(1000, seconds=40.0)[0] <= 0.1
    assert rates(1000, seconds=40.0)[1:10] == pytest.approx([step / 10 for step in range(2, 11)], rel=0.15)
    short = rates(1000, seconds=16.0)
    assert short.index(max(short)) in {7, 8}


@given(steps=st.integers(1, 80), least=st.integers(0, 60), warmup=warmups, seconds=st.none() | st.floats(1, 200))
def test_rate_rises_to_one_peak_and_falls(steps: int, least: int, warmup: float, seconds: float | None) -> None:
    """Whatever ends a round, and no later than in its middle where no more is asked for."""
    found = rates(steps, seconds=seconds, least_steps=least, warmup=warmup)
    peak = found.index(max(found))
    assert all(before <= after + 1e-9 for before, after in pairwise(found[: peak + 1]))
    assert all(before >= after - 1e-9 for before, after in pairwise(found[peak:]))
    assert peak <= len(found) * max(MOST_WARMUP, warmup) + 1
