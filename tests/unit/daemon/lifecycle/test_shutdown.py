"""One deadline for the whole end."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.lifecycle.shutdown import Shutdown

seconds = st.floats(0, 1e4)


@given(seconds, seconds, st.lists(st.floats(0, 100), max_size=20))
def test_time_only_runs_out(grace: float, round_grace: float, passing: list[float]) -> None:
    """The time left never grows, and a round never has more of it than the service."""
    now = [0.0]
    shutdown = Shutdown(grace_seconds=grace, round_grace_seconds=round_grace, clock=lambda: now[0])
    shutdown.begin()
    before = shutdown.seconds_left()
    for pause in passing:
        now[0] += pause
        assert shutdown.seconds_left() <= before
        before = shutdown.seconds_left()
        assert before > 0 or shutdown.round_must_end()


def test_before_the_end_nothing_must_end() -> None:
    """While the service runs there is no deadline."""
    shutdown = Shutdown(grace_seconds=5, round_grace_seconds=0)
    assert not shutdown.begun
    assert not shutdown.round_must_end()
    assert shutdown.seconds_left() == 5


def test_a_second_signal_hurries() -> None:
    """Who asks twice does not wait; what comes within a second of the first is the same word again."""
    now = [0.0]
    shutdown = Shutdown(grace_seconds=500, round_grace_seconds=400, clock=lambda: now[0])
    shutdown.begin()
    now[0] = 0.05
    shutdown.begin()
    assert not shutdown.round_must_end()
    assert (shutdown.hurried, shutdown.seconds_left()) == (False, 499.95)
    now[0] = 1.5
    shutdown.begin()
    assert shutdown.round_must_end()
    assert shutdown.hurried
    assert shutdown.seconds_left() == 0
