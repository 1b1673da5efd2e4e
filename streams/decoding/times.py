"""When a text is from: ISO 8601 or unix time in any of its usual units, or the reason why it is no time."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from streams.decoding.numbers import whole

SECONDS_BELOW: Final = 1e11
"""A unix time of less is in seconds, of up to a thousand times as much in milliseconds, then micro-, then nanoseconds:
each unit covers the years from 1973 to 5138, those that follow 2199 being none of a text."""
FIRST_YEAR, LAST_YEAR = 1000, 2199
EARLIEST: Final = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp()
LATEST: Final = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()
"""Unix seconds between which the times of texts lie: beyond are the zero times of other systems (year 1), their ends
of time (9999-12-31), and wrong units."""
FORMS: Final = "ISO 8601, or unix time in seconds, milliseconds, microseconds or nanoseconds"

_YEAR_1, _YEAR_10_000 = -62_135_596_800, 253_402_300_800
_YEAR_SECONDS = 365.2425 * 86_400
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_FEWEST_DIGITS = 9
_COMPACT = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
_MINUTES = "%Y%m%d%H%M"
_MINUTES_DIGITS = 12
_NO_TIME: Final = -(2**63)
"""What databases and data frames write where there is no time."""
_NONE_MEANT: Final = "stands for no time: leave the field out, or write null"
_CLOCK = re.compile(r"(?P<day>[0-9-]+)[Tt ](?P<clock>[0-9]{2}.*)", re.ASCII)
_ORDINAL = re.compile(r"([0-9]{4})-([0-9]{3})(?![0-9])(.*)", re.ASCII | re.DOTALL)
_NAMED_ZONE = re.compile(r"(?<=[0-9Zz])\[[A-Za-z0-9_+/-]+\]$", re.ASCII)
_UTC = re.compile(r" ?(?:UTC|GMT|Z)$", re.IGNORECASE)


class BadTime(ValueError):
    """What stands there is no time of a text; the message says why, without quoting it."""


def of_field(value: object) -> float:
    """The time that a field holds, as unix seconds. One without a zone is UTC.

    Raises:
        BadTime: it is none, or lies in a year that no text is from.
    """
    if isinstance(value, str):
        return _plausible(_of_text(value.strip()))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTime(f"is no time: {FORMS}")
    if math.isnan(value):
        raise BadTime(_NONE_MEANT)
    number = whole(value)
    compact = None if number is None else _compact(str(number))
    # A whole number may have thousands of digits: Python raises where it fits no float.
    return _plausible(_by_size(float(value) if abs(value) < 1e300 else math.inf) if compact is None else compact)


def of_record(timestamp: int) -> float | None:
    """A record's own timestamp as unix seconds, in any year; None where it has none.

    Kafka's are milliseconds, but some producers write other units.
    """
    if timestamp < 0:
        return None
    # Below it is more probably a test's first moments of 1970, in the unit that is meant, than seconds.
    return timestamp / 1000 if timestamp < SECONDS_BELOW / 1000 else _by_size(float(timestamp))


def _plausible(seconds: float) -> float:
    """The time itself.

    Raises:
        BadTime: it lies in a year that no text is from.
    """
    if EARLIEST <= seconds < LATEST:
        return seconds
    raise BadTime(why_implausible(seconds))


def why_implausible(seconds: float) -> str:
    """What is wrong with a time that lies in a year that no text is from."""
    return f"is a time {_in_year(seconds)}, outside of {FIRST_YEAR} to {LAST_YEAR}: another unit, or no time"


def _of_text(text: str) -> float:
    if _NUMBER.fullmatch(text):
        if (compact := _compact(text)) is not None:
            return compact
        number = float(text)
        if abs(number) < 10 ** (_FEWEST_DIGITS - 1):
            raise BadTime(f"has too few digits for a unix time (fewer than {_FEWEST_DIGITS}), and is no ISO 8601")
        return _by_size(number)
    try:
        return _of_iso(text)
    except (ValueError, OverflowError):
        raise BadTime(f"is no time: {FORMS}") from None


def _of_iso(text: str) -> float:
    """What `datetime` reads, and what else ISO 8601, RFC 3339 and RFC 9557 have.

    Leap seconds, 24:00, days of a year, small letters, a true minus, and the name of the zone behind it.
    """
    text = _UTC.sub("Z", _NAMED_ZONE.sub("", text)).replace("\u2212", "-")
    if ordinal := _ORDINAL.fullmatch(text):
        day = date(int(ordinal[1]), 1, 1) + timedelta(days=int(ordinal[2]) - 1)
        # Day 366 of a year that has 365.
        if day.year != int(ordinal[1]):
            raise ValueError(text)
        text = f"{day.isoformat()}{ordinal[3]}"
    shift = timedelta()
    if clocked := _CLOCK.fullmatch(text):
        clock = clocked["clock"]
        # Python's datetime takes no hour 24, which ISO 8601 has for the end of a day.
        if clock[:2] == "24" and re.fullmatch(r"24(:?00){0,2}([.,]0+)?([Z+-].*)?", clock):
            clock, shift = f"00{clock[2:]}", timedelta(days=1)
        # `datetime` has no second 60: it is the one after 59, as in unix time.
        elif leap := re.fullmatch(r"([0-9]{2}:?59:?)60(.*)", clock):
            clock, shift = f"{leap[1]}59{leap[2]}", timedelta(seconds=1)
        text = f"{clocked['day']}T{clock}"
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) + shift).timestamp()


def _compact(digits: str) -> float | None:
    """A date, or date and time, without anything between: as unix time it would lie in 1970, or after 2286."""
    if not digits.isdigit() or not FIRST_YEAR <= int(digits[:4]) <= LAST_YEAR:
        return None
    form = _COMPACT.get(len(digits))
    if form is not None and (moment := _read(digits, form)) is not None:
        return moment.timestamp()
    # Eight digits are either a date or a unix time of 1970 to 1973: too much doubt to store it.
    if len(digits) == _FEWEST_DIGITS - 1:
        raise BadTime(f"has {len(digits)} digits, as a date has, and is none; {FORMS} has more")
    if len(digits) == _MINUTES_DIGITS and _read(digits, _MINUTES) is not None:
        raise BadTime(f"is a date with hour and minute or milliseconds of the 1970s: {FORMS} is sure")
    return None


def _read(digits: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(digits, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def _by_size(number: float) -> float:
    if number == _NO_TIME:
        raise BadTime(_NONE_MEANT)
    size, unit = abs(number), 1.0
    while size >= SECONDS_BELOW * unit and unit < 1e9:
        unit *= 1000
    return number / unit


def _in_year(seconds: float) -> str:
    if _YEAR_1 <= seconds < _YEAR_10_000:
        return f"in the year {datetime.fromtimestamp(seconds, UTC).year}"
    years = 1970 + seconds / _YEAR_SECONDS
    return f"in the year {math.floor(years)}" if abs(years) < 1e6 else "more than a million years from now"
