"""Times as crontab tells them, across every change of clocks: each date once, and every hour that there really is."""

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count, islice
from typing import Self

from apscheduler.triggers.base import BaseTrigger

FIELDS = 5
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
HOURS = 24
MONTHS_LOOKED_AT = 12 * 100
"""The rarest line, for a leap day on one weekday, comes within forty years."""
_LEAP_YEAR = 2024
_SPAN = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/0*([1-9]\d*))?")


def crontab(expression: str, timezone: tzinfo) -> "Crontab":
    """A trigger that comes whenever cron would run a line that begins with these five fields.

    Sunday is weekday 0 and 7. Where day and weekday are both limited, it comes on the days that either names.

    Raises:
        ValueError: it cannot be read so, or never comes.
    """
    return Crontab(Line.read(expression), timezone)


@dataclass(frozen=True, slots=True)
class Line:
    """The five fields, as the numbers that each of them names.

    Attributes:
        weekdays: 0 is Sunday.
        either: a date is meant that has the day or the weekday; else it must have both.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    @classmethod
    def read(cls, expression: str) -> Self:
        """The line that the five fields make; see `crontab`."""
        fields = expression.split()
        if len(fields) != FIELDS:
            raise ValueError(f"there are {len(fields)} fields")
        minute, hour, day, month, weekday = fields
        line = cls(
            minutes=tuple(sorted(_numbers(minute, 0, 59, _number("minute")))),
            hours=tuple(sorted(_numbers(hour, 0, HOURS - 1, _number("hour")))),
            days=_numbers(day, 1, 31, _number("day of a month")),
            months=_numbers(month, 1, 12, _number("month", MONTHS, first=1)),
            weekdays=frozenset(one % 7 for one in _numbers(weekday, 0, 6, _weekday, around=7)),
            either=not day.startswith("*") and not weekday.startswith("*"),
        )
        if not line.either and not any(min(line.days) <= _longest(month) for month in line.months):
            raise ValueError(f"it never comes: no such month has a day {min(line.days)}")
        return line

    def has(self, day: date) -> bool:
        """Whether it comes on that date."""
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (of_month or of_week if self.either else of_month and of_week)

    def dates(self, first: date) -> Iterator[date]:
        """The dates on which it comes, from `first` on."""
        year, month = first.year, first.month
        for back in islice(count(month - 1), MONTHS_LOOKED_AT):
            in_year, in_month = year + back // 12, back % 12 + 1
            if in_month in self.months and in_year < date.max.year:
                days = range(1, calendar.monthrange(in_year, in_month)[1] + 1)
                yield from (
                    one for one in (date(in_year, in_month, day) for day in days) if one >= first and self.has(one)
                )


class Crontab(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """When a line comes in a time zone.

    A line that names hours comes once for each time that it names on a date: at the first of two, and where clocks go
    forward over it when they have gone (or just before, where that is on another date). A date that is skipped whole
    has none. A line of every hour comes whenever a clock really shows one of its minutes.
    """

    def __init__(self, line: Line, timezone: tzinfo) -> None:
        self._line = line
        self._zone = timezone

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The first time from `now` on, after `previous` where that is given; None: none within a century."""
        # Within one zone Python compares what clocks show, which goes back once a year.
        start = now.astimezone(UTC)
        if previous is not None:
            start = max(start, previous.astimezone(UTC) + timedelta(microseconds=1))
        # What a date names comes on the neighbouring one where a zone's clocks are changed at midnight.
        first = start.astimezone(self._zone).date() - timedelta(days=1)
        for day in self._line.dates(first):
            found = [when for when in self._times(day) if when >= start]
            if found:
                return min(found).astimezone(self._zone)
        return None

    def _times(self, day: date) -> Iterator[datetime]:
        every_hour = len(self._line.hours) == HOURS
        for hour in self._line.hours:
            for minute in self._line.minutes:
                shown = datetime.combine(day, time(hour, minute))
                real = self._real(shown)
                if every_hour:
                    yield from real
                elif real:
                    yield real[0]
                elif (instead := self._instead(shown)) is not None:
                    yield instead

    def _real(self, shown: datetime) -> list[datetime]:
        """When the zone's clocks show this: once, twice where they are set back, never where they skip it."""
        found = {shown.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(one for one in found if one.astimezone(self._zone).replace(tzinfo=None, fold=0) == shown)

    def _instead(self, shown: datetime) -> datetime | None:
        """When a time comes that clocks skip: as soon as they have, or else just before, if that is on its date."""
        change = self._change(shown)
        for when in (change, change - timedelta(minutes=1)):
            if when.astimezone(self._zone).date() == shown.date():
                return when
        return None

    def _change(self, skipped: datetime) -> datetime:
        """When clocks go forward over a time that they skip, to the second."""
        # Read with the offset from before the change it lies after it, and the other way round.
        low, high = sorted(skipped.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (1, 0))
        before = low.astimezone(self._zone).utcoffset()
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) // 2
            if middle.astimezone(self._zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)


def _longest(month: int) -> int:
    return calendar.monthrange(_LEAP_YEAR, month)[1]


def _numbers(field: str, lowest: int, highest: int, number: Callable[[str], int], *, around: int = 0) -> frozenset[int]:
    """What a field names: numbers, names, spans and steps, between commas.

    Args:
        around: so much later it is the same again, so that a span may go beyond the highest; 0: none may.
    """
    return frozenset(
        one for part in field.lower().split(",") for one in _span(part, lowest, highest, number, around=around)
    )


def _span(part: str, lowest: int, highest: int, number: Callable[[str], int], *, around: int) -> range:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} cannot be read")
    first_name, last_name, step = found.groups()
    if first_name is None:
        return range(lowest, highest + 1, int(step or 1))
    first = number(first_name)
    last = number(last_name) if last_name else highest if step else first
    if not lowest <= first <= highest + bool(around) or last > highest + bool(around):
        raise ValueError(f"{part!r} is not between {lowest} and {highest}")
    if last < first and not around:
        raise ValueError(f"{part!r} ends before it begins")
    # From Friday to Sunday, whichever of its numbers Sunday has.
    return range(first, last + 1 if last >= first else last + around + 1, int(step or 1))


def _number(what: str, names: tuple[str, ...] = (), *, first: int = 0) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text in names:
            return names.index(text) + first
        if text.isascii() and text.isdecimal():
            return int(text.lstrip("0")[:9] or 0)
        raise ValueError(f"{text!r} is no {what}")

    return read


_weekday = _number("weekday", WEEKDAYS)
