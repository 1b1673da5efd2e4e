"""Who asks, and whether they may: each request's key, held to its limits from its beginning to its end."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import structlog

from serving.errors import LimitReached, RequestError
from serving.keys.entries import KeyEntry
from serving.keys.limits import KeyLimits
from serving.keys.meter import KeyMeter, Refusal
from serving.keys.metrics import KeyMetrics
from serving.keys.usage import KeyUsage

_log = structlog.get_logger(__name__)

SAVE_EVERY_S: Final = 1.0


class Asked(Protocol):
    """An answer that is asked for.

    Attributes:
        owner: the name of the key that asks, which is set here.
    """

    owner: str

    @property
    def charged(self) -> int:
        """Tokens that count as written of it, also where it was given up."""

    @property
    def read(self) -> Sequence[Sequence[int]]:
        """The token ids that it reads."""

    @property
    def most(self) -> int:
        """Most tokens that may be written of it."""


class Asker:
    """One request's: what it has taken is given back at its end, wherever that comes.

    Args:
        name: of the key; empty where nobody needs one.
        meter: what that key has taken; None: nothing is counted.
        metrics: where to count.
    """

    def __init__(self, name: str = "", meter: KeyMeter | None = None, metrics: KeyMetrics | None = None) -> None:
        self.name = name
        self._meter, self._metrics = meter, metrics
        self._jobs: Sequence[Asked] = ()
        self._read = self._reserved = 0
        self._counted = False

    def knock(self, *, for_answer: bool) -> None:
        """Take a request, before anything is done for it.

        Args:
            for_answer: whether it is to have one: what is left of tokens and of answers at once then counts too.

        Raises:
            LimitReached: the key may take none now.
        """
        if self._meter is not None:
            # The request last: one that is refused for another reason is none.
            self._refuse((self._meter.refusal() if for_answer else None) or self._meter.count_request())
            self._counted = True

    def give_back(self) -> None:
        """The request was none after all: the server could not do what it was for."""
        if self._meter is not None and self._counted:
            self._meter.return_request()
        self._counted = False

    @contextmanager
    def admitted(self, jobs: Sequence[Asked]) -> Iterator[None]:
        """Take the answers of a request, while its block hands them over; what fails there takes nothing.

        Raises:
            LimitReached: the key may not take so much now.
            RequestError: it may never have so many answers at once.
        """
        meter = self._meter
        if meter is None:
            yield
            return
        # Of a generation that failed, in whose place another answers now.
        self._end(used=None)
        for job in jobs:
            job.owner = self.name
        most = meter.limits.at_once
        if most is not None and len(jobs) > most:
            raise RequestError(f"at most {most} answers may be asked for with this key", code="too_many_answers")
        try:
            self._refuse(meter.refusal(len(jobs)))
            # A prompt that is to have several answers is read once, and counted so.
            texts = {id(text): len(text) for job in jobs for text in job.read}
            self._read = sum(texts.values())
            self._reserved = self._read + sum(job.most for job in jobs)
            meter.hold(len(jobs), self._reserved)
            self._jobs = jobs
            yield
        except RequestError:
            self._end(used=None)
            self.give_back()
            raise

    def leave(self, status: int, *, counted: bool) -> None:
        """End the request.

        Args:
            status: with which it was answered.
            counted: whether it was one that takes of a key's limits.
        """
        if self._meter is None or self._metrics is None:
            return
        if counted:
            self._metrics.requested(self.name, status)
        if self._jobs:
            written = sum(job.charged for job in self._jobs)
            self._end(used=self._read + written)
            self._metrics.used(self.name, read=self._read, written=written)

    def _end(self, *, used: int | None) -> None:
        if self._jobs and self._meter is not None:
            self._meter.release(len(self._jobs), self._reserved, used)
        self._jobs = ()

    def headers(self) -> dict[str, str]:
        """What is left to the key, for the answer's head."""
        return {} if self._meter is None else self._meter.headers()

    def _refuse(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            assert self._metrics is not None
            self._metrics.refused(self.name, refusal.limit)
            raise LimitReached(self.name, refusal.limit, refusal.most, refusal.retry_after_s)


class Askers:
    """The keys' meters.

    Args:
        defaults: limits of keys that name none.
        at_once: answers at once of a key that is not the only one, where nothing else is said.
        metrics: where to count.
        usage: where a day's tokens are kept; None: in memory alone.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        defaults: KeyLimits,
        *,
        at_once: int,
        metrics: KeyMetrics,
        usage: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._defaults, self._at_once = defaults, at_once
        self._metrics = metrics
        self._usage = None if usage is None else KeyUsage(usage)
        self._told = False
        self._clock, self._wall = clock, wall
        self._meters: dict[str, KeyMeter] = {}

    def know(self, entries: Sequence[KeyEntry]) -> None:
        """Have a meter for each of these keys, with its limits; of others nothing is kept."""
        meters = {}
        for entry in entries:
            limits = self._limits(entry, alone=len(entries) == 1)
            meter = meters[entry.name] = self._meters.get(entry.name) or KeyMeter(limits, self._clock, self._wall)
            meter.change(limits)
        self._meters = meters
        self._metrics.show(meters)

    def _limits(self, entry: KeyEntry, *, alone: bool) -> KeyLimits:
        at_once = self._defaults.at_once or (None if alone else self._at_once)
        return self._defaults.model_copy(update={"at_once": at_once, **entry.limits})

    def asker(self, entry: KeyEntry | None) -> Asker:
        """Who asks with a key, or without any."""
        meter = None if entry is None else self._meters.get(entry.name)
        return Asker() if entry is None or meter is None else Asker(entry.name, meter, self._metrics)

    async def keep(self, ending: asyncio.Event) -> None:
        """Bring the day's tokens to the disk again and again; first what is there is taken up.

        Args:
            ending: set when it is to do so a last time, and return.
        """
        ended = False
        while self._usage is not None and not ended:
            ended = ending.is_set()
            if limited := self._limited():
                await self._bring(self._usage, limited)
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_EVERY_S):
                    await ending.wait()

    async def _bring(self, usage: KeyUsage, meters: Mapping[str, KeyMeter]) -> None:
        """Add to the file what is not there yet, and note what it has then, of others that count there too."""
        day = datetime.fromtimestamp(self._wall(), UTC).date()
        counts = {name: count for name, meter in meters.items() if (count := meter.day.unsaved)}
        try:
            # Beside the event loop: a disk may not answer.
            kept = (
                await asyncio.to_thread(usage.add, day, counts) if counts else await asyncio.to_thread(usage.read, day)
            )
        except Exception as error:  # noqa: BLE001 - were its loop to end, a restart would give a second day's worth
            self._complain(usage, error)
            return
        self._told = False
        for name, meter in meters.items():
            if meter.day.day == day:
                meter.day.unsaved -= counts.get(name, 0)
                meter.day.kept = kept.get(name, 0)

    def _complain(self, usage: KeyUsage, error: Exception) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "key_usage_not_kept",
                file=str(usage.path),
                error=f"{type(error).__name__}: {error}",
                effect="tokens_per_day is counted in memory, and from zero after a restart",
            )

    def _limited(self) -> dict[str, KeyMeter]:
        return {name: each for name, each in self._meters.items() if each.limits.tokens_per_day is not None}
