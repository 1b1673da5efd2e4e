"""When a text is from: ISO 8601 or unix time in any of its usual units, or the reason why it is no time."""

import math
import re
from datetime import UTC, datetime
from typing import Final

SECONDS_BELOW: Final = 1e11
"""A unix time of less is in seconds, of up to a thousand times as much in milliseconds, then micro-, then nanoseconds:
each unit covers the years from 1973 to 5138, those that follow 2199 being none of a text."""
FIRST_YEAR, LAST_YEAR = 1000, 2199
EARLIEST: Final = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp()
LATEST: Final = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()
"""Unix seconds between which the times of texts lie: beyond are the zero times of other systems (year 1), their ends
of time (9999-12-31), and wrong units."""
FORMS: Final = "ISO 8601, or unix time in seconds, milliseconds, microseconds or nanoseconds"

_YEAR_SECONDS = 365.2425 * 86_400
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_FEWEST_DIGITS = 9
_COMPACT = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}


class BadTime(ValueError):
    """What stands there is no time of a text; the message says why, without quoting it."""


def of_field(found: object) -> float:
    """The time that a field holds, as unix seconds. One without a zone is UTC.

    Raises:
        BadTime: it is none, or lies in a year that no text is from.
    """
    if isinstance(found, str):
        return _plausible(_of_text(found.strip()))
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadTime(f"is no time: {FORMS}")
    compact = _compact(str(found)) if isinstance(found, int) else None
    return _plausible(_by_size(float(found) if abs(found) < 1e300 else math.inf) if compact is None else compact)


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
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadTime(f"is no time: {FORMS}") from None


def _compact(digits: str) -> float | None:
    """A date, or date and time, without anything between: as unix time it would lie in 1970, or after 2286."""
    form = _COMPACT.get(len(digits)) if digits.isdigit() else None
    if form is None or not FIRST_YEAR <= int(digits[:4]) <= LAST_YEAR:
        return None
    try:
        return datetime.strptime(digits, form).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _by_size(number: float) -> float:
    size, unit = abs(number), 1.0
    while size >= SECONDS_BELOW * unit and unit < 1e9:
        unit *= 1000
    return number / unit


def _in_year(seconds: float) -> str:
    years = 1970 + seconds / _YEAR_SECONDS
    return f"in the year {math.floor(years)}" if abs(years) < 1e6 else "more than a million years from now"
