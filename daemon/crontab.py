"""Times as crontab tells them: APScheduler counts weekdays from Monday, and wants day and weekday both to hold."""

import re
from datetime import tzinfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

FIELDS = 5
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SPAN = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/0*([1-9]\d*))?")


def crontab(expression: str, timezone: tzinfo) -> BaseTrigger:
    """A trigger that comes whenever cron would run a line that begins with these five fields.

    Sunday is weekday 0 and 7. Where day and weekday are both limited, it comes on the days that either names.

    Raises:
        ValueError: it cannot be read so.
    """
    fields = expression.split()
    if len(fields) != FIELDS:
        raise ValueError(f"there are {len(fields)} fields")
    minute, hour, day, month, weekday = fields
    names = _weekdays(weekday)

    def on(day: str, names: str) -> CronTrigger:
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=names, timezone=timezone)

    if day.startswith("*") or weekday.startswith("*"):
        return on(day, names)
    return OrTrigger([on(day, "*"), on("*", names)])


def _weekdays(field: str) -> str:
    if field == "*":
        return field
    days = {day % 7 for part in field.lower().split(",") for day in _span(part)}
    return ",".join(WEEKDAYS[day] for day in sorted(days))


def _span(part: str) -> range:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} names no weekday")
    name, last_name, step = found.groups()
    if name is None:
        return range(0, 7, int(step or 1))
    first = _weekday(name)
    last = _weekday(last_name) if last_name else 6 if step else first
    # From Friday to Sunday, whichever of its numbers Sunday has.
    return range(first, last + 1 if last >= first else last + 8, int(step or 1))


def _weekday(name: str) -> int:
    if name in WEEKDAYS:
        return WEEKDAYS.index(name)
    if name.isdecimal() and int(name) <= 7:
        return int(name)
    raise ValueError(f"{name!r} is no weekday")
