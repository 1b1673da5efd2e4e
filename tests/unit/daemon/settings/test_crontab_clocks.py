"""What a crontab's lines do where clocks are changed: each date once, and every hour that there really is.

Where this differs from what Riverkeep did before cronsim: a time that clocks skip up to midnight comes at that midnight
(`ACROSS_MIDNIGHT`), also where they skip a whole date; `*/30` and the like in hours that are skipped come once, when
clocks have gone forward.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.rounds.asks_and_schedule import CronTimes
from daemon.settings.crontab import crontab

CHANGES = {
    "America/Los_Angeles": (2024, 2025),
    "Europe/Berlin": (2024, 2025),
    "Australia/Sydney": (2024, 2025),
    "Australia/Lord_Howe": (2024, 2025),
    "America/Sao_Paulo": (2017, 2018),
    "America/Havana": (2024, 2025),
    "America/Nuuk": (2023, 2024),
    "Africa/Cairo": (2010, 2014, 2023, 2024),
    "Africa/Casablanca": (2024, 2025),
    "Asia/Beirut": (2023, 2024),
    "Asia/Gaza": (2023, 2024),
    "Asia/Kathmandu": (1985, 1986),
    "Asia/Tehran": (2021, 2022),
    "Pacific/Apia": (2011, 2012),
    "Pacific/Kwajalein": (1993, 1994),
    "Antarctica/Troll": (2024,),
    "UTC": (2024,),
}
ZONES = sorted(CHANGES)
ACROSS_MIDNIGHT = {
    "America/Nuuk": [date(2024, 3, 30)],
    "Pacific/Apia": [date(2011, 12, 30)],
    "Pacific/Kwajalein": [date(1993, 8, 21)],
}
"""Dates of which clocks skip the last hours, or all: what was to come then comes when the next date begins."""


def times(expression: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """When a line comes from start to end, as the scheduler asks for it: after the latest, however late it asks."""
    trigger, previous = CronTimes(crontab(expression, ZoneInfo(zone))), None
    while (when := trigger.get_next_fire_time(previous, start)) is not None and when < end:
        assert previous is None or when.astimezone(UTC) > previous.astimezone(UTC)
        yield when
        previous = start = when


def of_year(expression: str, zone: str, year: int) -> list[datetime]:
    """When a line comes in a year of that zone."""
    start, end = (datetime(one, 1, 1, tzinfo=ZoneInfo(zone)) for one in (year, year + 1))
    return list(times(expression, zone, start, end))


@cache
def dates_of(zone: str, year: int) -> frozenset[date]:
    """The dates that a zone's clocks really show in a year."""
    hours = (datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(-24, 24 * 367))
    return frozenset(day for day in (hour.astimezone(ZoneInfo(zone)).date() for hour in hours) if day.year == year)


def dates_expected(zone: str, year: int, clock: time) -> Counter[date]:
    """The dates on which a line of one time is to come: each once, save what is skipped up to midnight."""
    expected = Counter(dates_of(zone, year))
    for day in ACROSS_MIDNIGHT.get(zone, []):
        if day.year == year and not shows(zone, datetime.combine(day, clock)):
            expected -= Counter([day])
            # What was to come at the next midnight itself comes there once.
            expected += Counter([day + timedelta(days=1)] if clock != time() else [])
    return expected


def shows(zone: str, shown: datetime) -> bool:
    """Whether a zone's clocks ever show this."""
    real = shown.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return real.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == shown


@settings(deadline=None, max_examples=25)
@given(zone=st.sampled_from(ZONES), hour=st.integers(0, 23), minute=st.integers(0, 59), data=st.data())
def test_a_line_of_one_time_comes_once_on_each_date(zone: str, hour: int, minute: int, data: st.DataObject) -> None:
    """Never twice, never not, and never on a date that there is not, whatever is done to the clocks."""
    year = data.draw(st.sampled_from(CHANGES[zone]))
    found = of_year(f"{minute} {hour} * * *", zone, year)
    assert Counter(when.date() for when in found) == dates_expected(zone, year, time(hour, minute))
    shown = sum((when.hour, when.minute) == (hour, minute) for when in found)
    assert len(found) - shown <= 4


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("clock", ["0 0", "30 0", "59 23", "30 1", "0 2", "30 2", "59 2", "0 3", "45 23"])
def test_times_at_which_clocks_are_changed_come_once_on_each_date(zone: str, clock: str) -> None:
    """The hours in which somewhere an hour, half an hour or a day is missing or comes twice."""
    for year in CHANGES[zone]:
        minute, hour = (int(number) for number in clock.split())
        found = of_year(f"{clock} * * *", zone, year)
        assert Counter(when.date() for when in found) == dates_expected(zone, year, time(hour, minute))


@cache
def changes_of(zone: str) -> tuple[datetime, ...]:
    """The hours in which a zone's clocks are changed, in its years here."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=one) for year in CHANGES[zone] for one in range(8_760)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    pairs = zip(hours, offsets, offsets[1:], strict=False)
    return tuple(hour for hour, before, after in pairs if before != after)


@pytest.mark.parametrize("zone", ZONES)
def test_a_line_of_every_hour_comes_in_every_hour_that_there_is(zone: str) -> None:
    """Both times in an hour that comes twice, and not in one that is skipped."""
    for change in changes_of(zone):
        start, end = change - timedelta(hours=20), change + timedelta(hours=20)
        minutes = [start + timedelta(minutes=one) for one in range(40 * 60)]
        for expression, minute in (("0 * * * *", 0), ("30 */1 * * *", 30), ("59 0-23 * * *", 59)):
            real = [when for when in minutes if when.astimezone(ZoneInfo(zone)).minute == minute]
            assert [when.astimezone(UTC) for when in times(expression, zone, start, end)] == real


@pytest.mark.parametrize(
    ("zone", "expression", "day", "expected"),
    [
        ("America/Los_Angeles", "0 0 * * *", date(2024, 3, 11), ["00:00"]),
        ("America/Los_Angeles", "30 2 * * *", date(2024, 3, 10), ["03:00"]),
        ("America/Los_Angeles", "*/15 2-3 * * *", date(2024, 3, 10), ["03:00", "03:15", "03:30", "03:45"]),
        ("America/Los_Angeles", "30 1 * * *", date(2024, 11, 3), ["01:30"]),
        ("America/Los_Angeles", "0 0-3 * * *", date(2024, 11, 3), ["00:00", "01:00", "02:00", "03:00"]),
        ("America/Sao_Paulo", "0 0 * * *", date(2017, 10, 15), ["01:00"]),
        ("Asia/Beirut", "0 0 * * *", date(2024, 3, 31), ["01:00"]),
        ("America/Nuuk", "30 23 * * *", date(2024, 3, 30), []),
        ("America/Nuuk", "30 23 * * *", date(2024, 3, 31), ["00:00", "23:30"]),
        ("Australia/Lord_Howe", "15 2 * * *", date(2024, 10, 6), ["02:30"]),
        ("Australia/Lord_Howe", "45 1 * * *", date(2024, 4, 7), ["01:45"]),
        ("Pacific/Apia", "0 12 * * *", date(2011, 12, 30), []),
        ("Pacific/Apia", "0 12 * * *", date(2011, 12, 31), ["00:00", "12:00"]),
        ("America/Los_Angeles", "*/30 2 * * *", date(2024, 3, 10), ["03:00"]),
        ("America/Los_Angeles", "*/30 1 * * *", date(2024, 11, 3), ["01:00", "01:30"]),
        ("America/Sao_Paulo", "0 */24 * * *", date(2017, 10, 15), ["01:00"]),
        ("America/Sao_Paulo", "0 * * * sun", date(2017, 10, 15), [f"{hour:02}:00" for hour in range(1, 24)]),
        ("America/Havana", "0 */24 * * *", date(2024, 11, 3), ["00:00"]),
        ("Australia/Lord_Howe", "0 */3 * * *", date(2024, 4, 7), [f"{hour:02}:00" for hour in range(0, 24, 3)]),
    ],
)
def test_what_a_change_of_clocks_makes_of_a_line(zone: str, expression: str, day: date, expected: list[str]) -> None:
    """The day on which they are changed, told by its clock."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    found = [when for when in times(expression, zone, start, start + timedelta(days=5)) if when.date() == day]
    assert [f"{when:%H:%M}" for when in found] == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["30 1 * * *", "*/20 0-3 * * *", "15 * * * *", "45 23 * * *", "0 0 * * sun"])
def test_whenever_it_is_asked_it_tells_the_same_times(zone: str, expression: str) -> None:
    """None is past, and none is left out or added by who asks in the middle of a change."""
    line = crontab(expression, ZoneInfo(zone))
    for change in changes_of(zone):
        start = change - timedelta(hours=3)
        real = [when.astimezone(UTC) for when in times(expression, zone, start, change + timedelta(days=9))]
        for minutes in range(0, 6 * 60, 13):
            now = start + timedelta(minutes=minutes, milliseconds=minutes % 2)
            first = line.first(now.astimezone(ZoneInfo(zone)))
            assert first is not None
            assert first.astimezone(UTC) == next(when for when in real if when >= now)


@pytest.mark.parametrize(
    "expression",
    ["0 0 31 6 *", "0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 apr-jun/2 *", "0 0 30 feb */2", "0 0 */31 * 1#5"],
)
def test_a_line_that_never_comes_is_refused(expression: str) -> None:
    """It would wait for ever, without a word."""
    with pytest.raises(ValueError, match="never comes"):
        crontab(expression, UTC)


def test_a_rare_line_comes() -> None:
    """A leap day, and one on a weekday of its own."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert crontab("0 0 29 2 *", UTC).first(now) == datetime(2028, 2, 29, tzinfo=UTC)
    assert crontab("0 0 29 2 */7", UTC).first(now) == datetime(2032, 2, 29, tzinfo=UTC)
