"""When a round saves itself."""

from hypothesis import given
from hypothesis import strategies as st

from learner.training.save_times import MOST_SHARE, SaveTimes

SECONDS = st.floats(0, 1e6)


@given(SECONDS, st.floats(0.1, 1e4), SECONDS)
def test_saving_takes_no_more_than_its_share(every: float, took: float, waited: float) -> None:
    """After a save the next waits as long as was asked for, and so long that the last one was a hundredth of it."""
    times = SaveTimes(every or 1.0, since=0.0).saved(began=10.0, now=10.0 + took)
    if times.due(times.since + waited):
        assert waited >= (every or 1.0)
        assert times.took <= waited * MOST_SHARE * (1 + 1e-9)


def test_nothing_is_saved_before_the_time_has_come() -> None:
    """Nor where nobody asked; after each step where that was asked for."""
    assert not SaveTimes(300.0, since=50.0).due(349.0)
    assert SaveTimes(300.0, since=50.0).due(350.0)
    assert SaveTimes.begun(300.0, 50.0, size=1e6).due(350.0)
    assert not SaveTimes.begun(300.0, 50.0, size=1e12).due(350.0)
    assert not SaveTimes(None, since=0.0).due(1e9)
    assert SaveTimes(0.0, since=0.0, took=1e9).due(0.0)
