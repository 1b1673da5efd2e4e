"""What asks for rounds: the schedule, and people. The cycle sees the volume by itself."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from daemon.crontab import crontab
from daemon.cycle import Ask, Trigger
from daemon.trigger_settings import TriggerSettings

PENDING_MAX = 16


class Asks:
    """Asks that wait for an answer, at most one of each kind, and an event that wakes whoever answers them.

    Safe between threads. An ask equal to one that waits already adds nothing, so a schedule that comes ten
    times during a long round begins one more round, not ten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Ask] = []
        self._came = threading.Event()

    def add(self, ask: Ask) -> None:
        """Put an ask in; never blocks."""
        with self._lock:
            if ask not in self._pending and len(self._pending) < PENDING_MAX:
                self._pending.append(ask)
        self._came.set()

    def pending(self) -> tuple[Ask, ...]:
        """What waits, oldest first."""
        with self._lock:
            return tuple(self._pending)

    def answered(self, asks: Iterable[Ask]) -> None:
        """Take asks out."""
        done = set(asks)
        with self._lock:
            self._pending = [ask for ask in self._pending if ask not in done]

    def wait(self, timeout: float) -> None:
        """Wait until an ask comes, at most `timeout` seconds."""
        self._came.wait(timeout)
        self._came.clear()

    def wake(self) -> None:
        """End a `wait` without an ask."""
        self._came.set()


class Schedule:
    """Interval and cron as a context manager; each puts its ask into `asks` when its time comes.

    Args:
        last_began: when the latest round began (unix seconds), whatever began it; None before the first. The
            interval counts from there, so that a round by volume or by hand moves it, and a service that is
            restarted more often than the interval still gets its rounds.
        clock: unix seconds.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        asks: Asks,
        *,
        last_began: Callable[[], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._asks = asks
        self._last_began = last_began
        self._clock = clock
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._add_jobs(settings)

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown(wait=False)

    def change(self, settings: TriggerSettings) -> None:
        """Take other settings, from now on."""
        self._scheduler.remove_all_jobs()
        self._add_jobs(settings)

    def next_times(self) -> dict[str, float]:
        """When each schedule comes next, in unix seconds."""
        return {
            job.id: job.next_run_time.timestamp()
            for job in self._scheduler.get_jobs()
            if getattr(job, "next_run_time", None) is not None
        }

    def _add_jobs(self, settings: TriggerSettings) -> None:
        # A time that was missed (the machine slept) still counts, once.
        options = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        if settings.interval_seconds is not None:
            first = first_time(self._clock(), self._last_began(), settings.interval_seconds)
            self._scheduler.add_job(
                self._interval_passed,
                IntervalTrigger(seconds=max(1, round(settings.interval_seconds)), timezone=UTC),
                args=(settings.interval_seconds,),
                id=Trigger.INTERVAL.value,
                next_run_time=datetime.fromtimestamp(first, UTC),
                **options,
            )
        if settings.cron is not None:
            cron = crontab(settings.cron, ZoneInfo(settings.timezone))
            self._scheduler.add_job(self._ask, cron, args=(Trigger.CRON,), id=Trigger.CRON.value, **options)

    def _interval_passed(self, interval: float) -> None:
        """Ask for a round, unless one began meanwhile: then an interval after that one."""
        now, began = self._clock(), self._last_began()
        # A round that began in the future was begun by a clock that has been set back: it says nothing.
        if began is None or not began <= now < began + interval:
            self._ask(Trigger.INTERVAL)
            return
        with suppress(JobLookupError):  # a reload took it away
            due = datetime.fromtimestamp(began + interval, UTC)
            self._scheduler.modify_job(Trigger.INTERVAL.value, next_run_time=due)

    def _ask(self, trigger: Trigger) -> None:
        self._asks.add(Ask(trigger, by=trigger.value))


def first_time(now: float, last_began: float | None, interval: float) -> float:
    """When an interval comes first: one after the latest round began, now if that is past."""
    if last_began is None:
        return now + interval
    return min(max(now, last_began + interval), now + interval)
