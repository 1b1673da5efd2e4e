"""Completions from engines that are programs of their own: queued as the builtin engine's are, and asked over HTTP."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog

from serving.engine.completion import Completion, Delta, Finished, Unheard
from serving.engine.fair_queue import FairQueue
from serving.engine.running import RunningEngine
from serving.errors import EngineLost, Failed, NotReady, QueueFull, RequestError, frames
from serving.metrics import ServingMetrics
from serving.processes.answer_text import AnswerText
from serving.processes.asking import answer, body_of, let_end
from serving.processes.engine_clients import EngineClients
from serving.processes.engine_progress import EngineProgress
from serving.processes.prompt_scores import prompt_scores

_log = structlog.get_logger(__name__)

SWEEP_S: Final = 0.2
"""How often those are looked for that nobody wants any more."""
TELL_A_PACE: Final = 16
"""Tokens of an answer that tells how fast an engine writes; of shorter ones the prompt takes most of the time."""
ENDING: Final = "the server is shutting down; ask another replica"


class EngineWriter:
    """Asks each job's own engine, from an event loop of its own; a few jobs at once, and no more than may wait.

    Args:
        at_once: answers that are written together.
        queue: requests that may wait beyond those.
        metrics: where to count.
    """

    def __init__(self, *, at_once: int, queue: int, metrics: ServingMetrics) -> None:
        self._at_once = at_once
        self._limit = at_once + queue
        self._metrics = metrics
        # Guards what waits and who is being answered: requests are taken in on other threads than they are asked on.
        self._lock = threading.Lock()
        self._waiting: FairQueue[Completion] = FairQueue(at_once)
        self._writing: dict[Completion, asyncio.Task[None]] = {}
        self._ending = False
        self._progress = EngineProgress()
        self._token_s: WeakKeyDictionary[RunningEngine, float] = WeakKeyDictionary()
        self._tasks = set[asyncio.Task[None]]()
        self._clients = EngineClients()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="engine-writer", daemon=True)

    @property
    def trouble(self) -> str:
        """Why it is time for a new process; else empty. An engine that fails is replaced without one."""
        if self._thread.ident is not None and not self._ending and not self._thread.is_alive():
            return "the thread that asks the engine is gone"
        return ""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Fail what is left and end the thread."""
        with self._lock:
            self._ending = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        elif self._thread.ident is None:
            self._loop.close()

    @property
    def waiting(self) -> int:
        """How many jobs wait for those that are worked at. From any thread."""
        return len(self._waiting)

    def submit(self, *jobs: Completion, unlimited: bool = False) -> None:
        """Take in jobs, all or none. From any thread; never blocks for long.

        Raises:
            QueueFull: they do not fit, unless `unlimited`: those are asked at once.
            NotReady: it has ended.
        """
        with self._lock:
            if self._ending:
                raise NotReady(ENDING)
            if not (unlimited or self._fits(len(jobs))):
                raise QueueFull(self._waiting.retry_after_s())
            if not unlimited:
                self._waiting.put(jobs)
        self._loop.call_soon_threadsafe(self._begin, jobs if unlimited else ())

    def _fits(self, jobs: int) -> bool:
        room = self._limit - self._places_taken() - jobs
        # Who went away keeps no place from those who come.
        if len(self._waiting) > room:
            self._waiting.drop_cancelled()
        return len(self._waiting) <= room

    def _places_taken(self) -> int:
        """What is being answered, but for those that try a generation: they take no place of others."""
        return sum(not job.trial for job in self._writing)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._sweep)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._let_go())
            self._loop.close()

    async def _let_go(self) -> None:
        with self._lock:
            left, tasks = [*self._waiting.clear(), *self._writing], list(self._writing.values())
        for job in left:
            job.fail(NotReady(ENDING))
        tasks += self._tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._clients.close()

    def _sweep(self) -> None:
        """Stop what nobody wants any more, and look after engines that owe whole answers: neither shows by itself."""
        for job, task in list(self._writing.items()):
            engine = job.generation.engine
            if job.cancelled:
                task.cancel()
            elif job.whole and engine is not None and self._progress.is_due(engine):
                self._beside(self._progress.look(engine))
        if self._clients.any_ended:
            self._beside(self._clients.close_ended())
        self._loop.call_later(SWEEP_S, self._sweep)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        # An event loop holds its tasks weakly.
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, at_once: tuple[Completion, ...] = ()) -> None:
        """Ask for those that come at once, and for as many of those that wait as there is room for."""
        with self._lock:
            chosen = list(at_once)
            while self._places_taken() + len(chosen) < self._at_once and (job := self._waiting.take()) is not None:
                self._metrics.left_queue(job)
                chosen.append(job)
            for job in chosen:
                task = self._writing[job] = self._loop.create_task(self._write(job))
                # Not a `finally` of the task's: one that is cancelled before its first step has none.
                task.add_done_callback(partial(self._leave, job))
        self._count()

    def _leave(self, job: Completion, _: "asyncio.Task[None]") -> None:
        """Give a job's place to the next one."""
        with self._lock:
            self._writing.pop(job, None)
        if not self._ending:
            self._begin()

    async def _write(self, job: Completion) -> None:
        try:
            await self._ask(job)
        except RequestError as error:
            if isinstance(error, EngineLost):
                _log.error(
                    "engine_lost_in_an_answer",
                    generation=job.generation.number,
                    request=job.trace.id,
                    error=str(error),
                )
            job.fail(error)
        except Exception as error:  # noqa: BLE001 - what one answer breaks must not end the others
            self._metrics.failures.inc()
            _log.error(
                "engine_answer_failed",
                generation=job.generation.number,
                request=job.trace.id,
                error=type(error).__name__,
                at=frames(error),
            )
            job.fail(Failed("the engine failed on this request; the server's log says why"))

    async def _ask(self, job: Completion) -> None:
        engine = job.generation.engine
        assert engine is not None
        with engine.answering(), self._clients.client(engine) as client:
            text = AnswerText(job)
            _tell(job, text.begin(await prompt_scores(client, job, engine) if job.scores_prompt else ()))
            if not job.max_tokens:
                _tell(job, [Finished("length", 0)])
                return
            body, began = body_of(job, engine), time.monotonic()
            if not body["stream"]:
                job.unheard = Unheard(began, self._token_s.get(engine))
            pieces = answer(client, body, job.trace)
            async with aclosing(pieces):
                async for piece in pieces:
                    engine.heard()
                    if job.first_token_at is None and body["stream"]:
                        job.first_token_at = time.monotonic()
                        self._metrics.first_token(job)
                    _tell(job, _in_one_piece(text.take(piece)) if job.whole else text.take(piece))
                    # Its end may have come here first: where it does not end there as well, leaving ends it.
                    if job.ended or job.cancelled:
                        break
                if job.ended:
                    self._note_pace(job, engine, began)
                    await let_end(pieces)

    def _note_pace(self, job: Completion, engine: RunningEngine, began: float) -> None:
        if job.written >= TELL_A_PACE:
            token_s = (time.monotonic() - began) / job.written
            self._token_s[engine] = min(token_s, self._token_s.get(engine, token_s))

    def _count(self) -> None:
        self._metrics.waiting.set(len(self._waiting))
        self._metrics.active.set(len(self._writing))


def _in_one_piece(events: Iterable[Delta | Finished]) -> Iterator[Delta | Finished]:
    """The same with all text in one piece: each piece that is told wakes the thread which waits for it."""
    told = list(events)
    pieces = [event for event in told if isinstance(event, Delta)]
    if pieces:
        yield Delta("".join(each.text for each in pieces), tuple(score for each in pieces for score in each.scores))
    yield from (event for event in told if isinstance(event, Finished))


def _tell(job: Completion, events: Iterable[Delta | Finished]) -> None:
    for event in events:
        job.emit(event)
