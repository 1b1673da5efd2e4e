"""What a key has taken of what it may take, by a clock that the test moves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.keys.limits import KeyLimits
from serving.keys.meter import DAY_S, Bucket, KeyMeter
from tests.unit.serving.watch import Watch

NOON = 20_000 * DAY_S + DAY_S // 2


@pytest.fixture
def watch() -> Watch:
    """A clock that stands still."""
    return Watch()


@pytest.fixture
def wall() -> Watch:
    """Noon of some day."""
    made = Watch()
    made.now = NOON
    return made


def meter(watch: Watch, wall: Watch, **limits: int) -> KeyMeter:
    """A meter by these clocks."""
    return KeyMeter(KeyLimits(**limits), watch, wall)


def test_a_minutes_requests_may_come_at_once_and_then_evenly(watch: Watch, wall: Watch) -> None:
    """After what is refused is waited for, the next is let in: Retry-After is true."""
    key = meter(watch, wall, requests_per_minute=6)
    assert [key.count_request() for _ in range(6)] == [None] * 6
    refused = key.count_request()
    assert refused is not None
    assert (refused.limit, refused.most, refused.retry_after_s) == ("requests_per_minute", 6, 10)
    watch.now += 9.9
    assert key.count_request() is not None
    watch.now += 0.1
    assert key.count_request() is None
    assert key.count_request() is not None


def test_tokens_are_counted_at_once_and_given_back(watch: Watch, wall: Watch) -> None:
    """What an answer may write at most is taken at its beginning, and what it did not write is back at its end."""
    key = meter(watch, wall, tokens_per_minute=600)
    key.hold(1, 600)
    refused = key.refusal()
    assert refused is not None
    assert refused.retry_after_s == 1
    key.release(1, 600, 100)
    assert key.refusal() is None
    assert key.headers()["x-ratelimit-remaining-tokens"] == "500"


def test_what_is_larger_than_a_minutes_worth_is_let_in_and_waited_for(watch: Watch, wall: Watch) -> None:
    """To refuse it would be to refuse it for ever; the next one waits until it is paid off."""
    key = meter(watch, wall, tokens_per_minute=60)
    assert key.refusal() is None
    key.hold(1, 300)
    key.release(1, 300, 300)
    refused = key.refusal()
    assert refused is not None
    assert refused.retry_after_s == 241
    watch.now += 241
    assert key.refusal() is None


def test_answers_at_once_are_those_that_have_not_ended(watch: Watch, wall: Watch) -> None:
    """When another may come is told from how fast its own ended of late."""
    key = meter(watch, wall, at_once=4)
    key.hold(4, 0)
    refused = key.refusal()
    assert refused is not None
    assert refused.retry_after_s == 1
    for _ in range(3):
        watch.now += 7
        key.release(1, 0, 0)
        key.hold(1, 0)
    refused = key.refusal(2)
    assert refused is not None
    assert (refused.limit, refused.retry_after_s) == ("at_once", 14)
    key.release(1, 0, 0)
    assert key.refusal() is None


def test_a_days_tokens_are_back_at_midnight(watch: Watch, wall: Watch) -> None:
    """In UTC; what answers under way may still write counts until then."""
    key = meter(watch, wall, tokens_per_day=1000)
    key.hold(1, 1000)
    refused = key.refusal()
    assert refused is not None
    assert refused.retry_after_s == 1
    key.release(1, 1000, 1000)
    refused = key.refusal()
    assert refused is not None
    assert (refused.limit, refused.retry_after_s) == ("tokens_per_day", DAY_S // 2)
    wall.now += refused.retry_after_s - 1
    assert key.refusal() is not None
    wall.now += 1
    assert key.refusal() is None
    assert key.day.unsaved == 0


def test_other_limits_leave_what_was_taken(watch: Watch, wall: Watch) -> None:
    """The same share of a minute's worth is left; one that is new is whole."""
    key = meter(watch, wall, requests_per_minute=10)
    for _ in range(5):
        key.count_request()
    key.change(KeyLimits(requests_per_minute=100, tokens_per_minute=7))
    left = key.headers()
    assert (left["x-ratelimit-remaining-requests"], left["x-ratelimit-remaining-tokens"]) == ("50", "7")
    key.change(KeyLimits())
    assert key.headers() == {}


@pytest.mark.parametrize(("taken", "reset"), [(1, "600ms"), (10, "6s"), (100, "1m0s"), (175, "1m45s")])
def test_the_time_until_it_is_full_is_written_as_openai_writes_it(
    watch: Watch, wall: Watch, taken: int, reset: str
) -> None:
    """For clients that wait by themselves."""
    key = meter(watch, wall, tokens_per_minute=100)
    key.hold(1, taken)
    assert key.headers()["x-ratelimit-reset-tokens"] == reset


@settings(max_examples=60)
@given(st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60))
def test_in_the_long_run_no_more_is_taken_than_flows_in(most: int, steps: list[tuple[float, int]]) -> None:
    """Whatever is asked for and when: a minute's worth, what came since, and one amount that went below."""
    now, taken, largest = 0.0, 0, 0
    bucket = Bucket(most, now)
    for seconds, amount in steps:
        now += seconds
        if bucket.wait_s(now) == 0:
            bucket.take(amount, now)
            taken, largest = taken + amount, max(largest, amount)
        # After that time there is one, by the same clock.
        later = now + bucket.wait_s(now)
        assert Bucket(most, now, bucket.level(now)).wait_s(later) == 0
    assert taken <= most + most / 60 * now + largest
