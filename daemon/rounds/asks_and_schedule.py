"""What asks for rounds: the schedule, and people. The cycle sees the volume by itself."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import structlog
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.settings.crontab import Crontab, crontab
from daemon.settings.triggers import TriggerSettings

# Every approved round has an ask of its own. What finds no room here is asked for again from the ledger.
PENDING_MAX = 16
CLOCK_EVERY_SECONDS = 5.0
STEP_SECONDS = 1.0
"""So far the clock may go from the one that nobody sets before that counts as its having been set."""
CORRECTION_SECONDS = 3 * 3600.0
"""A clock set back so far was wrong: times that came by it are to come by the right one. As cron has it."""

log = structlog.get_logger(__name__)


class Asks:
    """Asks that wait for an answer, at most one of each kind, and an event that wakes whoever answers them.

    Safe between threads. An ask equal to one that waits already adds nothing, so a schedule that comes ten
    times during a long round begins one more round, not ten. Who asks may withdraw it: it goes when all did that asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[Ask, int] = {}
        self._came = threading.Event()

    def add(self, ask: Ask) -> None:
        """Put an ask in; never blocks."""
        with self._lock:
            if ask in self._pending or len(self._pending) < PENDING_MAX:
                self._pending[ask] = self._pending.get(ask, 0) + 1
        self._came.set()

    def withdraw(self, ask: Ask) -> bool:
        """Take back what one asked; False where it has been answered already."""
        with self._lock:
            times = self._pending.pop(ask, 0)
            if times > 1:
                self._pending[ask] = times - 1
        self._came.set()
        return times > 0

    def withdraw_all(self) -> tuple[Ask, ...]:
        """Take back everything that waits, and return it."""
        with self._lock:
            withdrawn = tuple(self._pending)
            self._pending.clear()
        self._came.set()
        return withdrawn

    def pending(self) -> tuple[Ask, ...]:
        """What waits, oldest first."""
        with self._lock:
            return tuple(self._pending)

    def answered(self, asks: Iterable[Ask]) -> None:
        """Take asks out."""
        answered_asks = set(asks)
        with self._lock:
            self._pending = {ask: times for ask, times in self._pending.items() if ask not in answered_asks}

    def wait(self, timeout: float) -> None:
        """Wait until an ask comes, at most `timeout` seconds."""
        # Cleared before the caller reads the asks, never after: one that comes between is then seen by that reading.
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
        steady: seconds of a clock that nobody sets, and that goes on while the machine sleeps.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        asks: Asks,
        *,
        last_began: Callable[[], float | None],
        clock: Callable[[], float],
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._asks = asks
        self._last_began = last_began
        self._clock = clock
        self._steady = steady = steady or since_boot
        # How far the two clocks are apart changes only when somebody sets the one.
        self._ahead = clock() - steady()
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look_at_the_clock, name="clock", daemon=True)
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._add_jobs(settings)

    def __enter__(self) -> Self:
        self._scheduler.start()
        self._looker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The looker first: it moves jobs of the scheduler.
        self._ended.set()
        self._looker.join()
        # What its threads may still do is to add an ask.
        self._scheduler.shutdown(wait=False)

    def change(self, settings: TriggerSettings) -> None:
        """Take other settings, from now on."""
        self._scheduler.remove_all_jobs()
        self._add_jobs(settings)

    def heed_clock(self) -> None:
        """Move what is to come after a period with the clock, where that was set: the period is as long as before.

        A time of day comes by the new time; where it has come by the old one, only after that was wrong by hours.
        """
        ahead = self._clock() - self._steady()
        step = ahead - self._ahead
        if abs(step) < STEP_SECONDS:
            return
        self._ahead = ahead
        log.warning("clock_was_set", seconds=round(step, 1))
        # A reload may take the job away between the look at it and its move.
        with suppress(JobLookupError):
            self._move(Trigger.INTERVAL, lambda job: job.next_run_time + timedelta(seconds=step))
        if step <= -CORRECTION_SECONDS:
            now = datetime.fromtimestamp(self._clock(), UTC)
            with suppress(JobLookupError):
                self._move(Trigger.CRON, lambda job: job.trigger.get_next_fire_time(None, now))
        # It waits until the time that was next by the old clock.
        self._scheduler.wakeup()

    def _move(self, trigger: Trigger, when: Callable[[Job], datetime | None]) -> None:
        job = self._scheduler.get_job(trigger.value)
        if job is not None and job.next_run_time is not None:
            self._scheduler.modify_job(trigger.value, next_run_time=when(job))

    def _look_at_the_clock(self) -> None:
        while not self._ended.wait(CLOCK_EVERY_SECONDS):
            self.heed_clock()

    def next_times(self) -> dict[str, float]:
        """When each schedule comes next, in unix seconds."""
        return {
            job.id: job.next_run_time.timestamp()
            for job in self._scheduler.get_jobs()
            # APScheduler's jobs lack the attribute altogether until the scheduler has started.
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
            cron = CronTimes(crontab(settings.cron, ZoneInfo(settings.timezone)))
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


class CronTimes(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A crontab's line as the scheduler asks for it."""

    def __init__(self, line: Crontab) -> None:
        self._line = line

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The first time from `now` on, after `previous` where that is given; None: never again."""
        # Within one zone Python compares what clocks show, which goes back once a year.
        start = now.astimezone(UTC)
        if previous is not None:
            start = max(start, previous.astimezone(UTC) + timedelta(microseconds=1))
        return self._line.first(start)


def since_boot() -> float:
    """Seconds since the machine started, its sleep included; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def first_time(now: float, last_began: float | None, interval: float) -> float:
    """When an interval comes first: one after the latest round began, now if that is past."""
    if last_began is None:
        return now + interval
    # Capped: a begin that a wrong clock recorded in the future must not put the next round off for longer.
    return min(max(now, last_began + interval), now + interval)
