"""A crontab's five fields mean what cron means by them."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon.settings.crontab import crontab

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def days(expression: str, count: int) -> list[int]:
    """The days of January 2024, which began on a Monday, on which it comes: the first so many."""
    line, now, found = crontab(expression, UTC), MONDAY, []
    for _ in range(count):
        when = line.first(now)
        assert when is not None
        found.append((when - MONDAY).days + 1)
        now = when + timedelta(minutes=1)
    return found


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("1", [1, 8, 15]),
        ("0", [7, 14, 21]),
        ("7", [7, 14, 21]),
        ("sun", [7, 14, 21]),
        ("SAT", [6, 13, 20]),
        ("1-5", [1, 2, 3, 4, 5, 8]),
        ("0-2", [1, 2, 7, 8, 9]),
        ("5-7", [5, 6, 7, 12]),
        ("fri-sun", [5, 6, 7, 12]),
        ("mon,3,5", [1, 3, 5, 8]),
        ("*/2", [2, 4, 6, 7, 9]),
        ("1-5/2", [1, 3, 5, 8]),
        ("4/2", [4, 6, 11]),
        ("1/2", [1, 3, 5, 7, 8]),
        ("5#2", [12]),
        ("*", [1, 2, 3]),
    ],
)
def test_weekdays_count_from_sunday(weekday: str, expected: list[int]) -> None:
    """Zero and seven are Sunday, one is Monday; steps and ranges too, also up to the week's end, which is seven."""
    assert days(f"30 4 * * {weekday}", len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 13 * 5", [5, 12, 13, 19, 26]),
        ("0 0 */9 * 3", [10, 31 + 28]),
        ("0 0 13 * *", [13, 31 + 13]),
        ("0 0 L * *", [31, 31 + 29]),
    ],
    ids=["either", "both where one begins with a star", "the day alone", "the last day of a month"],
)
def test_day_and_weekday_together(expression: str, expected: list[int]) -> None:
    """As cron has it: each of them where both are limited."""
    assert days(expression, len(expected)) == expected


def test_minutes_and_hours_are_counted_in_the_zone() -> None:
    """Every quarter of an hour in two hours of the night."""
    line, now, found = crontab("*/15 2-3 * * *", UTC), MONDAY, []
    for _ in range(8):
        when = line.first(now)
        assert when is not None
        found.append((when.hour, when.minute))
        now = when + timedelta(seconds=1)
    assert found == [(hour, minute) for hour in (2, 3) for minute in (0, 15, 30, 45)]


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "* * * * * *", "@daily", "60 * * * *"),
        *("* * * * 8", "* * * * funday", "* * * * 1-", "* * * * *-3", "* * * * */0", "* * * * 1,,2"),
        *("* * * * 6-1", "* * * * sat-mon", "50-10 * * * *", f"{'9' * 5_000} * * * *"),
    ],
)
def test_what_cron_could_not_read_is_refused(expression: str) -> None:
    """With an error that settings can tell."""
    with pytest.raises(ValueError, match=r"."):
        crontab(expression, UTC)


def test_a_field_that_cannot_be_read_is_named() -> None:
    """With what it may hold, also where it is one that Riverkeep took before: a span around the end of a week."""
    with pytest.raises(ValueError, match=r"'sat-mon' is no weekday: 0 to 7, .* no span ends before it begins"):
        crontab("0 4 * * sat-mon", UTC)
