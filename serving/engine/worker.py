"""A thread that runs forward passes for a bounded number of requests."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import structlog
import torch

from serving.engine.fair_queue import FairQueue
from serving.engine.traces import RequestTrace
from serving.errors import Failed, NotReady, QueueFull, Unanswerable
from serving.metrics import ServingMetrics

_log = structlog.get_logger(__name__)

# So many failed passes in a row mean that the device or the process is broken, not a request.
FAILURES_UNTIL_BROKEN: Final = 3
# Time that trials may take from answers under way: a generation is warmed while another answers.
TRIAL_SHARE: Final = 0.1
PASS_TIMEOUT_S: Final = 60.0
ENDING: Final = "the server is shutting down; ask another replica"


class Job(Protocol):
    """A piece of work.

    Attributes:
        cancelled: nobody waits for it any more.
        trial: it tries a generation that does not serve yet, so its failure says nothing about those that do.
        trace: of the request that it is for.
        owner: whose it is; owners take turns.
        watched: a client's request that a watched generation answers, whose failure says nothing about the others too.
    """

    cancelled: bool
    trial: bool
    trace: RequestTrace
    owner: str
    watched: bool

    def fail(self, error: Exception) -> None:
        """Called from the worker's thread, at most once has an effect; must not block."""


J = TypeVar("J", bound=Job)
J_co = TypeVar("J_co", bound=Job, covariant=True)


class JobGroup(Protocol[J_co]):
    """Jobs that one forward pass serves: those of one generation."""

    def run(self) -> None:
        """Do one bounded piece of work. What it raises fails the jobs of this part alone."""

    def jobs(self) -> Sequence[J_co]:
        """Those that have not ended."""

    def suspects(self) -> Sequence[J_co]:
        """Those that the last pass served."""

    def separate(self) -> None:
        """Let each of the suspects go on in passes of its own."""

    def answers(self) -> bool:
        """Whether the generation still answers what is known to be answerable. Must not raise."""


class Worker(ABC, Generic[J]):
    """Takes jobs, of each owner in order, works at a few at once on its own thread, refuses those beyond its queue.

    Args:
        name: of the thread.
        at_once: jobs worked at together.
        queue: jobs that may wait beyond those.
        metrics: where to count.
        pass_timeout_s: a forward pass that takes longer hangs: the worker is in trouble.
        clock: monotonic seconds, for the share of trials and the length of passes. From any thread.
    """

    def __init__(
        self,
        name: str,
        *,
        at_once: int,
        queue: int,
        metrics: ServingMetrics,
        pass_timeout_s: float = PASS_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._at_once = at_once
        self._limit = at_once + queue
        self._metrics = metrics
        self._waiting: FairQueue[J] = FairQueue(at_once, clock)
        self._active = 0
        # Of those, jobs that try a generation: they take no place of others.
        self._trials = 0
        # Guards what is waiting and whether it ends; the rest belongs to the worker's thread.
        self._changed = threading.Condition()
        self._ending = False
        self._failures = 0
        self._pass_timeout_s = pass_timeout_s
        self._clock = clock
        self._pass_began: float | None = None
        self._trial_seconds_owed = 0.0
        # A daemon thread: a pass that hangs cannot be interrupted, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def trouble(self) -> str:
        """Why it is time for a new process: the thread is gone, passes fail in a row, or one hangs; else empty."""
        # A thread that was never started is not gone.
        if self._thread.ident is not None and not self._ending and not self._thread.is_alive():
            return "the thread that runs forward passes is gone"
        if self._failures >= FAILURES_UNTIL_BROKEN:
            return f"{self._failures} forward passes failed one after another; the log has their errors"
        # Read once: the worker's thread sets it to None when the pass ends.
        began = self._pass_began
        if began is not None and (took := self._clock() - began) > self._pass_timeout_s:
            return f"a forward pass has taken {took:.0f} s, more than serving.pass_timeout_s ({self._pass_timeout_s:g})"
        return ""

    @property
    def waiting(self) -> int:
        """How many jobs wait for those that are worked at. From any thread."""
        return len(self._waiting)

    def beat(self) -> None:
        """Say that a forward pass begins. Called by the worker's thread."""
        self._pass_began = self._clock()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Fail what is left and end the thread; returns when it is gone, or hangs."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(self._pass_timeout_s)

    def submit(self, *jobs: J, unlimited: bool = False) -> None:
        """Take in jobs, all or none. From any thread; never blocks for long.

        Raises:
            QueueFull: they do not fit, unless `unlimited`.
            NotReady: the worker has ended.
        """
        with self._changed:
            if self._ending:
                raise NotReady(ENDING)
            if not (unlimited or self._fits(len(jobs))):
                raise QueueFull(self._waiting.retry_after_s())
            self._waiting.put(jobs)
            self._changed.notify()

    def _fits(self, jobs: int) -> bool:
        """Whether so many more fit; who went away keeps no place from those who come."""
        room = self._limit - (self._active - self._trials) - jobs
        # Only where it decides something: going through a long queue at each request would take its square in time.
        if len(self._waiting) > room:
            self._waiting.drop_cancelled()
        return len(self._waiting) <= room

    @abstractmethod
    def _admit(self, jobs: list[J]) -> None:
        """Put jobs that came out of the queue into the parts."""

    @abstractmethod
    def _parts(self) -> list[JobGroup[J]]:
        """The parts that have jobs."""

    @abstractmethod
    def _drop(self, part: JobGroup[J]) -> None:
        """Let a part go whose pass failed."""

    def _run(self) -> None:
        while self._wait_for_work():
            self._advance_all()
        for part in self._parts():
            _fail(part.jobs(), NotReady(ENDING))
            self._drop(part)

    def _advance_all(self) -> None:
        # A method of its own, so that no name holds the last part, and its model, while the thread waits.
        parts = self._parts()
        # A generation that already has a request of its own is no trial any more.
        trials = [part for part in parts if all(job.trial for job in part.jobs())]
        serving = [part for part in parts if part not in trials]
        self._trial_seconds_owed += TRIAL_SHARE * self._advance_in_turn(serving)
        # May go below 0: a pass cannot be cut short, so what it took too much is waited off afterwards.
        if not serving or self._trial_seconds_owed > 0:
            self._trial_seconds_owed -= self._advance_in_turn(trials)
        # Nothing is saved up while only one of them wants the time: it would be spent in one go at the next swap.
        if not (serving and trials):
            self._trial_seconds_owed = 0.0

    def _advance_in_turn(self, parts: Sequence[JobGroup[J]]) -> float:
        """Advance parts; returns the seconds that it took."""
        started = self._clock()
        for part in parts:
            self.beat()
            self._advance(part)
        # Waiting for work is not a pass that hangs.
        self._pass_began = None
        return self._clock() - started

    def _advance(self, part: JobGroup[J]) -> None:
        try:
            with torch.inference_mode():
                part.run()
        except Exception as error:  # noqa: BLE001 - what one request breaks must not end the thread
            self._metrics.failures.inc()
            self._find_fault(part, error)
        else:
            self._failures = 0

    def _find_fault(self, part: JobGroup[J], error: Exception) -> None:
        """Tell a request that the model fails on from a model that fails.

        Those that shared the failed pass go on one by one, and whoever fails alone, while the generation answers
        another text, fails for a reason of its own: that says nothing about the process.
        """
        suspects = part.suspects()
        _log.error(
            "forward_pass_failed",
            error=f"{type(error).__name__}: {error}",
            answers=len(suspects),
            requests=sorted({job.trace.id for job in suspects}),
        )
        if len(suspects) > 1:
            part.separate()
        elif suspects and part.answers():
            _fail(suspects, Unanswerable(error))
        else:
            jobs = part.jobs()
            # A candidate that fails is not swapped in, and a canary goes back: neither must have a process replaced
            # that answers well.
            self._failures += any(not (job.trial or job.watched) for job in jobs)
            _fail(jobs, Failed("the model failed on this request; the server's log says why"))
            # Its cache may be half written; the generation's next request makes a new group.
            self._drop(part)

    def _wait_for_work(self) -> bool:
        """Block until there is work and admit what fits; False when it is time to end."""
        with self._changed:
            # Jobs ended during the last turn: without this the loop would not see that there is nothing left to do.
            self._count()
            while not (self._ending or self._active or self._waiting):
                self._changed.wait()
            if self._ending:
                _fail(self._waiting.clear(), NotReady(ENDING))
                return False
            self._admit(self._take())
            self._count()
        return True

    def _take(self) -> list[J]:
        jobs: list[J] = []
        while self._active - self._trials + len(jobs) < self._at_once and (job := self._waiting.take()) is not None:
            jobs.append(job)
        return jobs

    def _count(self) -> None:
        under_way = [job for part in self._parts() for job in part.jobs()]
        self._active, self._trials = len(under_way), sum(job.trial for job in under_way)
        self._metrics.waiting.set(len(self._waiting))
        self._metrics.active.set(self._active)


def answers(ask: Callable[[], object]) -> bool:
    """Whether a text that was answered before is answered again: the canary of a failed pass."""
    try:
        with torch.inference_mode():
            ask()
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not answer
        _log.error("generation_does_not_answer", error=f"{type(error).__name__}: {error}")
        return False
    return True


def _fail(jobs: Iterable[Job], error: Exception) -> None:
    for job in jobs:
        job.fail(error)
