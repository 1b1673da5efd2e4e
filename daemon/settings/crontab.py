"""When a crontab's line comes, as cronsim has it; what stands here is only what it would leave out, or do twice."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of a month": "1 to 31, or L for the last",
    "month": "1 to 12, or jan to dec",
    "weekday": "0 to 7, or sun to sat, where 0 and 7 are Sunday",
}
EVERY_HOUR = set(range(24))
EPSILON = timedelta(microseconds=1)
_A_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_UP_TO_SUNDAY = re.compile(r"(?<!sun)(?<!0)-sun\b", re.IGNORECASE)


def crontab(expression: str, timezone: tzinfo) -> "Crontab":
    """The times at which cron would run a line that begins with these five fields.

    Sunday is weekday 0 and 7. Where day and weekday are both limited, it comes on the days that either names.

    Raises:
        ValueError: it cannot be read so, or never comes.
    """
    fields = expression.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"there are {len(fields)} fields")
    for position, (name, numbers) in enumerate(FIELDS.items()):
        if not _can_be_read(position, fields[position]):
            raise ValueError(
                f"{fields[position]!r} is no {name}: {numbers}; several with commas, spans as '1-5', each second one "
                "as '*/2', and no span ends before it begins"
            )
    line = " ".join(_as_cronsim_counts(fields))
    if not _ever_comes(line):
        raise ValueError("it never comes: no such month has such a day")
    return Crontab(line, timezone)


@dataclass(frozen=True, slots=True)
class Crontab:
    """A line in a time zone.

    One that names hours comes once for each time that it names on a date: at the first of two, and as soon as clocks
    have gone forward over it, be that on the next date. A line of every hour comes whenever a clock really shows one of
    its minutes.

    Attributes:
        line: as cronsim is to read it.
    """

    line: str
    zone: tzinfo

    def first(self, start: datetime) -> datetime | None:
        """The first time from `start` on; None: none within half a century."""
        before = start.astimezone(UTC) - EPSILON
        when = self._after(before)
        if when is None:
            return None
        # It looks for a minute by the hour, and passes over one where clocks go forward by less than that.
        when = self._after(max(before, when - timedelta(hours=1) - EPSILON))
        return None if when is None else when.astimezone(self.zone)

    def _after(self, before: datetime) -> datetime | None:
        # cronsim counts from the next second on, by what clocks show: where they have been set back, that is past.
        for local in CronSim(self.line, before.astimezone(self.zone)):
            # Through UTC, as it may be a midnight that clocks skip.
            when = local.astimezone(UTC)
            if when > before:
                return when
        return None


def _can_be_read(position: int, text: str) -> bool:
    fields = ["*"] * len(FIELDS)
    fields[position] = text
    try:
        CronSim(" ".join(_with_sunday_last(fields)), _A_DAY)
    except (CronSimError, ValueError):
        return False
    return True


def _as_cronsim_counts(fields: list[str]) -> list[str]:
    """The fields, written so that cronsim leaves no date out and none comes twice.

    As in Debian's cron, what it makes of a change of clocks hangs on a star: a line whose minute or hour begins with
    one goes by what clocks show, so that `*/30 2` does not come where they skip that hour, and twice as often where
    they show it twice. That is right for lines of every hour alone.
    """
    minute, hour, *days = _with_sunday_last(fields)
    if CronSim(f"0 {hour} * * *", _A_DAY).hours == EVERY_HOUR:
        return [minute, "*", *days]
    return [re.sub(r"^\*", "0-59", minute), re.sub(r"^\*", "0-23", hour), *days]


def _with_sunday_last(fields: list[str]) -> list[str]:
    """A week may end with Sunday (`fri-sun`), whose name cronsim takes for 0 alone."""
    return [*fields[:-1], _UP_TO_SUNDAY.sub("-7", fields[-1])]


def _ever_comes(line: str) -> bool:
    try:
        return next(CronSim(line, _A_DAY), None) is not None
    except CronSimError:
        return False
