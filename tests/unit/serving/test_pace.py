"""How fast something moves, told from its latest steps."""

import pytest

from serving.pace import LONGEST_S, Pace
from tests.unit.serving.watch import Watch


@pytest.fixture
def watch() -> Watch:
    """A clock that stands still."""
    return Watch()


def test_it_goes_on_as_it_went(watch: Watch) -> None:
    """Ten steps of two seconds each: five more take ten."""
    pace = Pace(watch)
    pace.begin()
    for _ in range(10):
        watch.now += 2
        pace.step()
    assert pace.seconds_for(5, guess=1) == 10


def test_before_the_first_step_it_is_a_guess_that_time_corrects(watch: Watch) -> None:
    """What has taken longer than the guess already is not said to take less."""
    pace = Pace(watch)
    pace.begin()
    assert pace.seconds_for(64, guess=9) == 9
    watch.now += 30.5
    assert pace.seconds_for(64, guess=9) == 31


def test_what_has_stopped_takes_longer_and_longer(watch: Watch) -> None:
    """To now, not to the last step; up to what anybody can foretell."""
    pace = Pace(watch)
    pace.begin()
    watch.now += 1
    pace.step()
    assert pace.seconds_for(1, guess=1) == 1
    watch.now += 9
    assert pace.seconds_for(1, guess=1) == 10
    watch.now += 100_000
    assert pace.seconds_for(1, guess=1) == LONGEST_S


def test_rest_says_nothing_of_the_pace(watch: Watch) -> None:
    """An hour without work is not an hour for one step."""
    pace = Pace(watch)
    pace.begin()
    watch.now += 3_600
    pace.begin()
    watch.now += 0.5
    pace.step()
    assert pace.seconds_for(4, guess=1) == 2


def test_only_the_latest_steps_count(watch: Watch) -> None:
    """A slow model that was swapped out is forgotten."""
    pace = Pace(watch)
    pace.begin()
    for seconds in (60, *[1] * 64):
        watch.now += seconds
        pace.step()
    assert pace.seconds_for(3, guess=1) == 3
