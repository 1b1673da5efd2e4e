"""How long answers took over time, and how many failed: read off what the serving process counts, minute by minute.

What is kept is kept in RAM and within bounds: it begins anew with the daemon, and says since when. A serving process
that is replaced takes with it what it counted after it was asked last, some seconds' worth.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from daemon.lifecycle.supervised_threads import Part, State
from serving.addresses import ANSWER_ROUTES

LOOK_EVERY_SECONDS: Final = 10.0
SOON_SECONDS: Final = 1.0
"""Who asks within this gets what was read last."""
SLOT_SECONDS: Final = 60
MOST_SLOTS: Final = 24 * 60
"""A day; the oldest makes room."""
PREFIX: Final = "riverkeep_serving_"
SECONDS: Final = f"{PREFIX}request_seconds_bucket"
REQUESTS: Final = f"{PREFIX}requests_total"
STARTED: Final = "process_start_time_seconds"
REFUSED: Final = "429"

K = TypeVar("K")


@dataclass(slots=True)
class TimesSlot:
    """What was answered within one slot of time, of the routes that ask the model.

    Attributes:
        at: its beginning, unix seconds.
        heard: how often the serving process told what it counts.
        within: how many requests ended within each bound of its histogram, and beyond the one before.
        failed: that were answered with 5xx.
        refused: that were answered with 429.
    """

    at: int
    heard: int = 0
    within: Counter[float] = field(default_factory=Counter)
    failed: int = 0
    refused: int = 0

    @property
    def measured(self) -> int:
        """Requests that came to an end."""
        return self.within.total()


@dataclass(frozen=True, slots=True)
class QuantileFound:
    """Within how long a share of the requests ended.

    Attributes:
        seconds: by a straight line between the bounds, as Prometheus reads a histogram.
        low, high: the bounds between which it lies for certain; `high` is infinite beyond the last.
    """

    seconds: float
    low: float
    high: float


def quantile(within: Mapping[float, int], share: float) -> QuantileFound | None:
    """Within how long a share of what was measured ended; None where nothing was.

    Args:
        within: counts by the bound that they lie below, and above the one before; of all bounds.
        share: above 0, at most 1.
    """
    total, bounds = sum(within.values()), sorted(within)
    if not total:
        return None
    rank, below, low = share * total, 0, 0.0
    for bound in bounds:
        number = within[bound]
        if number and below + number >= rank:
            inside = low if math.isinf(bound) else low + (bound - low) * (rank - below) / number
            return QuantileFound(inside, low, bound)
        below += number
        low = bound
    return None


@dataclass(frozen=True, slots=True)
class _Read:
    """What the serving process has counted since it began."""

    started: float
    within: Mapping[float, int]
    codes: Mapping[str, int]


class ServingTimes:
    """Keeps slots of a minute for a day. `run` is the target of a part; the rest may be called from any thread.

    Args:
        ask: what the serving process counts, in Prometheus's text; empty where it does not answer.
        clock: unix seconds.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(
        self,
        ask: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._monotonic = monotonic
        self.since = clock()
        self._asking, self._lock = threading.Lock(), threading.Lock()
        self._slots: dict[int, TimesSlot] = {}
        self._before: _Read | None = None
        self._looked_at = -math.inf

    def run(self, part: Part) -> None:
        """Ask again and again until `part.stop`."""
        while not part.stop.is_set():
            part.beat()
            self.look()
            part.says(State.RUNNING)
            part.stop.wait(LOOK_EVERY_SECONDS)

    def look(self) -> None:
        """Ask the serving process now, unless that was done a moment ago."""
        # Not waited for: who asks already may have to wait for a process that hangs.
        if not self._asking.acquire(blocking=False):
            return
        try:
            if self._monotonic() - self._looked_at < SOON_SECONDS:
                return
            self._looked_at = self._monotonic()
            found = _read(self._ask())
        finally:
            self._asking.release()
        if found is not None:
            with self._lock:
                self._add(found, self._slot(int(self._clock() // SLOT_SECONDS) * SLOT_SECONDS))

    def told(self, since: float) -> list[TimesSlot]:
        """The slots that begin then or later, oldest first; of those in which nobody was heard there are none."""
        with self._lock:
            chosen = [slot for at, slot in sorted(self._slots.items()) if at >= since]
            return [TimesSlot(each.at, each.heard, Counter(each.within), each.failed, each.refused) for each in chosen]

    def _slot(self, at: int) -> TimesSlot:
        if at not in self._slots:
            self._slots[at] = TimesSlot(at)
            while len(self._slots) > MOST_SLOTS:
                del self._slots[min(self._slots)]
        return self._slots[at]

    def _add(self, found: _Read, slot: TimesSlot) -> None:
        """Add what was counted since the last look; all of it, where another process counts now."""
        before = self._before
        if before is None or before.started != found.started or _fell(before, found):
            before = _Read(found.started, {}, {})
        self._before = found
        slot.heard += 1
        slot.within.update(_risen(found.within, before.within))
        codes = _risen(found.codes, before.codes)
        slot.failed += sum(number for code, number in codes.items() if code.startswith("5"))
        slot.refused += codes.get(REFUSED, 0)


def merged(slots: Iterable[TimesSlot], seconds: int) -> list[TimesSlot]:
    """Slots of so many seconds, each of those that begin within it; oldest first."""
    found: dict[int, TimesSlot] = {}
    for slot in slots:
        at = slot.at // seconds * seconds
        into = found.setdefault(at, TimesSlot(at))
        into.heard += slot.heard
        into.within.update(slot.within)
        into.failed += slot.failed
        into.refused += slot.refused
    return [found[at] for at in sorted(found)]


def _fell(before: _Read, now: _Read) -> bool:
    """Whether something is counted from the beginning, where no time of that is told."""
    return any(now.codes.get(code, 0) < number for code, number in before.codes.items())


def _risen(now: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    # With those that did not rise: a share lies above every bound within which nothing was measured.
    return {name: max(0, number - before.get(name, 0)) for name, number in now.items()}


def _read(exposition: str) -> _Read | None:
    """What a serving process counts of requests that ask the model; None of what is no exposition of one."""
    wanted = (SECONDS, REQUESTS, STARTED)
    lines = [line for line in exposition.splitlines() if line.startswith(wanted)]
    started, codes = 0.0, Counter[str]()
    up_to: dict[str, dict[float, float]] = {}
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                route = sample.labels.get("route")
                if sample.name == STARTED:
                    started = sample.value
                elif route in ANSWER_ROUTES and sample.name == SECONDS:
                    up_to.setdefault(route, {})[float(sample.labels["le"])] = sample.value
                elif route in ANSWER_ROUTES and sample.name == REQUESTS:
                    codes[sample.labels["code"]] += int(sample.value)
    except (ValueError, KeyError):
        # Something else answers there, or it was cut off.
        return None
    if not up_to:
        return None
    within = Counter[float]()
    for bounds in up_to.values():
        below = 0.0
        for bound in sorted(bounds):
            within[bound] += int(bounds[bound] - below)
            below = bounds[bound]
    return _Read(started, within, codes)
