"""What asks for rounds."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from daemon.rounds.asks_and_schedule import PENDING_MAX, Asks, Schedule, first_time
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.elapsed import Past
from daemon.settings.triggers import TriggerSettings
from tests.harness import wait_until

times = st.floats(0, 1e10)


@given(times, st.none() | times, st.floats(1, 1e6))
def test_the_interval_counts_from_the_last_round(now: float, last: float | None, interval: float) -> None:
    """It comes at the latest one interval from now, never in the past, and at once when it is overdue."""
    first = first_time(now, last, interval)
    assert now <= first <= now + interval
    if last is not None and last + interval <= now:
        assert first == now


def test_an_interval_that_is_overdue_asks_at_once() -> None:
    """A service that was down while its time came asks as soon as it runs."""
    asks = Asks()
    settings = TriggerSettings(interval_seconds=3_600)
    with Schedule(settings, asks, last_began=lambda: time.time() - 7_200, clock=time.time):
        pending = wait_until(asks.pending, timeout_s=10)
    assert pending == (Ask(Trigger.INTERVAL, by="interval"),)


def test_a_round_by_other_means_moves_the_interval() -> None:
    """When the time comes and a round by volume or by hand began meanwhile, it asks an interval after that one."""
    asks = Asks()
    began = [time.time() - 7_200]
    with Schedule(TriggerSettings(interval_seconds=3_600), asks, last_began=lambda: began[0], clock=time.time) as every:
        wait_until(asks.pending, timeout_s=10)
        asks.answered(asks.pending())
        began[0] = by_hand = time.time() - 60
        every._interval_passed(3_600)
        assert every.next_times() == {"interval": pytest.approx(by_hand + 3_600)}
    assert asks.pending() == ()


@pytest.mark.parametrize(
    "began",
    [
        pytest.param(None, id="no round ever"),
        pytest.param(-3_601, id="too little was fresh an interval ago"),
        pytest.param(+7_200, id="the clock was set back"),
    ],
)
def test_an_interval_that_no_round_moved_asks(began: float | None) -> None:
    """Each time it comes, also when what it asked for before was not begun."""
    asks = Asks()
    settings = TriggerSettings(interval_seconds=3_600)
    last_began = None if began is None else time.time() + began
    with Schedule(settings, asks, last_began=lambda: last_began, clock=time.time) as schedule:
        wait_until(lambda: asks.pending() or schedule.next_times(), timeout_s=10)
        asks.answered(asks.pending())
        schedule._interval_passed(3_600)
    assert asks.pending() == (Ask(Trigger.INTERVAL, by="interval"),)


def test_an_interval_that_is_moved_while_it_fires_stays_moved() -> None:
    """The scheduler's own next time, which it sets when a job has been handed over, does not win."""
    asks = Asks()
    by_hand = time.time() - 60
    began = iter([by_hand - 7_200])
    settings = TriggerSettings(interval_seconds=3_600)
    with Schedule(settings, asks, last_began=lambda: next(began, by_hand), clock=time.time) as schedule:
        moved = {"interval": pytest.approx(by_hand + 3_600, abs=1e-3)}
        wait_until(lambda: schedule.next_times() == moved, timeout_s=10)
        with schedule._scheduler._jobstores_lock:
            assert schedule.next_times() == moved
    assert asks.pending() == ()


def test_other_settings_replace_the_schedule() -> None:
    """After a reload the old times are gone."""
    asks = Asks()
    settings = TriggerSettings(interval_seconds=3_600)
    with Schedule(settings, asks, last_began=lambda: None, clock=time.time) as schedule:
        assert set(schedule.next_times()) == {"interval"}
        schedule.change(TriggerSettings(cron="30 4 * * 1"))
        (when,) = schedule.next_times().values()
    assert time.strftime("%a %H:%M", time.gmtime(when)) == "Mon 04:30"


def test_a_cron_is_read_in_its_time_zone() -> None:
    """Half past four in Tokyo is half past seven in the evening before in Greenwich; there is no summer time."""
    settings = TriggerSettings(cron="30 4 * * *", timezone="Asia/Tokyo")
    with Schedule(settings, Asks(), last_began=lambda: None, clock=time.time) as schedule:
        (when,) = schedule.next_times().values()
    assert time.gmtime(when)[3:5] == (19, 30)


def test_a_cron_asks_when_its_time_comes_and_again_the_next_time() -> None:
    """Each time an ask of its own, once the one before is answered; a time that was missed counts once."""
    asks = Asks()
    cron = Ask(Trigger.CRON, by="cron")
    with Schedule(TriggerSettings(cron="0 0 1 1 *"), asks, last_began=lambda: None, clock=time.time) as schedule:
        assert asks.pending() == ()
        for late in (timedelta(), timedelta(days=3 * 366)):
            schedule._scheduler.modify_job("cron", next_run_time=datetime.now(UTC) - late)
            wait_until(lambda: asks.pending() == (cron,))
            wait_until(lambda: schedule.next_times()["cron"] > time.time())
            asks.answered([cron])
        assert time.gmtime(schedule.next_times()["cron"])[1:5] == (1, 1, 0, 0)


def test_equal_asks_wait_once() -> None:
    """A schedule that comes again while its ask waits adds nothing."""
    asks = Asks()
    for _ in range(3):
        asks.add(Ask(Trigger.CRON, by="cron"))
    assert len(asks.pending()) == 1


def test_asks_are_bounded() -> None:
    """However many people ask, a bounded number waits."""
    asks = Asks()
    for number in range(100):
        asks.add(Ask(Trigger.BY_HAND, by=str(number)))
    assert len(asks.pending()) == PENDING_MAX


def test_an_answered_ask_is_gone_and_others_stay() -> None:
    """Only what was answered is taken out."""
    asks = Asks()
    first, second = Ask(Trigger.CRON, by="cron"), Ask(Trigger.BY_HAND, by="admin")
    asks.add(first)
    asks.add(second)
    asks.answered([first])
    assert asks.pending() == (second,)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"cron": "every day"}, "minute hour day month weekday"),
        ({"cron": "99 * * * *"}, "99"),
        ({"timezone": "Mars/Base"}, "no such time zone"),
        ({"fresh_samples": 5, "minimum_fresh_samples": 6}, "minimum_fresh_samples"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object], says: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValidationError, match=says):
        TriggerSettings.model_validate(values)


@pytest.mark.parametrize(
    ("volumes", "share"),
    [
        ({"fresh_samples": 400}, 0.5),
        ({"fresh_samples": 400, "fresh_tokens": 1_000}, 3.0),
        ({"fresh_samples": None, "fresh_tokens": 6_000}, 0.5),
        ({"fresh_samples": None}, None),
    ],
)
def test_the_share_of_the_volume_is_that_of_the_nearer_trigger(
    volumes: dict[str, int | None], share: float | None
) -> None:
    """Beyond one it is due; without a volume there is none to be due."""
    assert TriggerSettings.model_validate(volumes).share_of_volume(200, 3_000) == share


@pytest.mark.parametrize("step", [-3_600.0, +3_600.0], ids=["set back an hour", "set forward an hour"])
def test_an_interval_is_as_long_as_before_when_the_clock_is_set(step: float) -> None:
    """It goes with the clock, by however much, and what comes by the clock's own time stays with that."""
    wall, steady = [time.time()], [100.0]
    settings = TriggerSettings(interval_seconds=3_600, cron="30 4 * * *")
    with Schedule(
        settings, Asks(), last_began=lambda: None, clock=lambda: wall[0], steady=lambda: steady[0]
    ) as schedule:
        before = schedule.next_times()
        wall[0] += step + 60.0
        steady[0] += 60.0
        schedule.heed_clock()
        after = schedule.next_times()
    assert after["interval"] - before["interval"] == pytest.approx(step)
    assert after["cron"] == before["cron"]


def test_a_cron_comes_by_the_right_time_once_a_clock_that_was_years_ahead_is_set() -> None:
    """A machine that started without the time would wait for years otherwise."""
    wall, now = [time.time()], time.time()
    settings = TriggerSettings(cron="30 4 * * *")
    with Schedule(settings, Asks(), last_began=lambda: None, clock=lambda: wall[0], steady=lambda: 0.0) as schedule:
        ahead = datetime.fromtimestamp(now + 10 * 365 * 86_400, UTC)
        schedule._scheduler.modify_job("cron", next_run_time=ahead)
        wall[0] -= 6 * 3_600
        schedule.heed_clock()
        assert wall[0] <= schedule.next_times()["cron"] <= wall[0] + 86_400


def test_a_moment_of_the_past_goes_on_by_the_clock_that_nobody_sets() -> None:
    """However the wall clock is set after it was heard of; one of the future counts from now."""
    past = Past()
    assert past.seconds_since(100.0, wall=130.0, monotonic=5.0) == 30.0
    assert past.seconds_since(100.0, wall=-3_000.0, monotonic=15.0) == 40.0
    assert past.seconds_since(100.0, wall=+9_000.0, monotonic=16.0) == 41.0
    assert past.seconds_since(500.0, wall=130.0, monotonic=16.0) == 0.0
    assert past.seconds_since(500.0, wall=130.0, monotonic=26.0) == 10.0


def test_an_ask_is_withdrawn_when_all_did_that_asked() -> None:
    """Of two who want the same round one may go; what was answered cannot be taken back."""
    asks, by_hand, dry = Asks(), Ask(Trigger.BY_HAND, by="a person"), Ask(Trigger.BY_HAND, by="a person", dry_run=True)
    asks.add(by_hand)
    asks.add(by_hand)
    asks.add(dry)
    assert asks.withdraw(by_hand)
    assert asks.pending() == (dry, by_hand)
    assert asks.withdraw(by_hand)
    assert asks.pending() == (dry,)
    assert not asks.withdraw(by_hand)
    assert asks.withdraw_all() == (dry,)
    assert asks.pending() == ()
