"""Who waits for an answer, and whose turn it is: owners take turns, so that nobody waits for all of another's flood."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from serving.pace import Pace


class Waiting(Protocol):
    """What can wait.

    Attributes:
        cancelled: nobody waits for it any more.
        owner: whose it is.
    """

    cancelled: bool
    owner: str


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """Each owner's jobs go in order; of the owners each has a turn before one has another.

    Not guarded: who uses it from several threads has a lock.

    Args:
        at_once: jobs that are worked at together.
        clock: monotonic seconds.
    """

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        # The first owner is the next to have a turn; none is here without a job.
        self._jobs: OrderedDict[str, deque[W]] = OrderedDict()
        self._count = 0
        self._pace = Pace(clock)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[W]:
        return (job for jobs in self._jobs.values() for job in jobs)

    def put(self, jobs: Iterable[W]) -> None:
        """Let jobs wait, behind those of their owners."""
        if not self._count:
            self._pace.begin()
        for job in jobs:
            self._jobs.setdefault(job.owner, deque()).append(job)
            self._count += 1

    def take(self) -> W | None:
        """The next job that somebody still wants; None where there is none."""
        while self._jobs:
            owner, jobs = self._jobs.popitem(last=False)
            while jobs:
                job = jobs.popleft()
                self._count -= 1
                if not job.cancelled:
                    if jobs:
                        self._jobs[owner] = jobs
                    self._pace.step()
                    return job
        return None

    def drop_cancelled(self) -> None:
        """Let those go that nobody wants; takes time in proportion to all."""
        kept = {owner: deque(job for job in jobs if not job.cancelled) for owner, jobs in self._jobs.items()}
        self._jobs = OrderedDict((owner, jobs) for owner, jobs in kept.items() if jobs)
        self._count = sum(map(len, self._jobs.values()))

    def clear(self) -> list[W]:
        """Empty it; returns what waited."""
        left = list(self)
        self._jobs.clear()
        self._count = 0
        return left

    def retry_after_s(self) -> int:
        """In how many seconds those that wait now will have begun, as fast as they began of late; at least 1."""
        # Until one has: about a second for each lot that goes first.
        return self._pace.seconds_for(self._count, 1 + self._count // self._at_once)
