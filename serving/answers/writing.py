"""The answers to one request, from the queue to the wire, and what stops them."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from serving.answers.openai import AnswerShape, ChoicePart, usage
from serving.engine.completion import Completion, Delta, Event, Finished
from serving.engine.grammar_state import AnswerFormat
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.engine.traces import NO_REQUEST, RequestTrace
from serving.errors import Failed, RequestError, TimedOut, error_body
from serving.listener import Listener
from serving.metrics import ServingMetrics
from serving.traffic.tally import Ticket

T = TypeVar("T")

# More of them are put into their shape beside the event loop.
MANY_SCORES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be written after one prompt.

    Attributes:
        prompt: token ids.
        max_tokens: most tokens of the answer.
        sampling: how tokens are drawn.
        stop: texts before which it ends.
        stop_ids: tokens before which it ends.
        scored: with how many alternatives each token's log-probability is told; None: it is not.
        echo: the prompt's text, where it is given back.
        held_to: what the answer has to be; None: anything.
    """

    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling
    stop: Sequence[str]
    stop_ids: frozenset[int]
    scored: int | None = None
    echo: str | None = None
    held_to: AnswerFormat | None = None


@dataclass(slots=True)
class AnswerPace:
    """How fast one answer comes, as its client sees it.

    Attributes:
        asked: when it was asked for, on the monotonic clock.
    """

    asked: float
    _first: float | None = None

    def hear(self, event: Delta | Finished, ticket: Ticket | None) -> None:
        """Note a piece, or count the answer that has ended."""
        if ticket is None:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
        if isinstance(event, Finished):
            further = event.tokens - 1
            ticket.answered(self._first - self.asked, (now - self._first) / further if further > 0 else None)


@dataclass(eq=False, slots=True)
class Writing:
    """The answers to one request on their way. Made on the event loop; the caller submits `jobs`.

    Attributes:
        generation: what all of them come from.
        wishes: one for each choice; those of one prompt beside each other.
        timeout_s: how long all of them together may take.
        metrics: where to count.
        spent_s: how much of that time is gone.
        ticket: by which they are counted while a generation is watched; None where they are not.
        watched: the generation is a canary.
        shadow: nobody gets the answers, which must cost the others nothing.
        choices: how many of the wishes are of one prompt.
        trace: of the request.
        in_pieces: they are looked at before their end.
        on_whole: told the texts once all are whole; None: nobody wants them.
        jobs: the answers, in the order of the wishes.
    """

    generation: LoadedGeneration
    wishes: Sequence[Wish]
    timeout_s: float
    metrics: ServingMetrics
    spent_s: float = 0.0
    ticket: Ticket | None = None
    watched: bool = False
    shadow: bool = False
    choices: int = 1
    trace: RequestTrace = NO_REQUEST
    in_pieces: bool = True
    on_whole: Callable[[Sequence[str]], None] | None = None
    jobs: list[Completion] = field(init=False)
    _listener: Listener[tuple[int, Event]] = field(init=False, default_factory=Listener)
    _deadline: float = field(init=False)
    # Of those that have ended, by the answer's number.
    _tokens: dict[int, int] = field(init=False, default_factory=dict)
    _paces: list[AnswerPace] = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self.timeout_s - self.spent_s
        self.jobs = [self._job(index, wish) for index, wish in enumerate(self.wishes)]
        self._paces = [AnswerPace(job.submitted) for job in self.jobs]

    def _job(self, index: int, wish: Wish) -> Completion:
        put = self._listener.put
        return Completion(
            self.generation,
            wish.prompt,
            wish.max_tokens,
            wish.sampling,
            wish.stop,
            lambda event: put((index, event)),
            stop_ids=wish.stop_ids,
            watched=self.watched,
            # While a generation is watched, first tokens are compared.
            whole=not self.in_pieces and self.ticket is None,
            trial=self.shadow,
            scored=wish.scored,
            echo=wish.echo,
            held_to=wish.held_to,
            trace=self.trace,
        )

    async def whole(self, shape: AnswerShape) -> dict[str, Any]:
        """Wait for all answers.

        Raises:
            RequestError: one failed, or the time is up.
        """
        parts = [ChoicePart() for _ in self.jobs]
        async with aclosing(self._events()) as events:
            async for index, event in events:
                if isinstance(event, Delta):
                    parts[index].text += event.text
                    parts[index].scores += event.scores
                else:
                    parts[index].finish, parts[index].end = event.reason, event.score

        def shaped() -> dict[str, Any]:
            choices = [shape.choice(index, part) for index, part in enumerate(parts)]
            return shape.answer(choices, self._usage())

        many = sum(len(part.scores) for part in parts) > MANY_SCORES
        return await run_in_threadpool(shaped) if many else shaped()

    async def streamed(self, shape: AnswerShape, *, wants_usage: bool) -> AsyncIterator[bytes]:
        """Server-sent events as the answers come; an error is the last of them.

        The field `usage` is in all of them where it is asked for, and null until the last; else in none.
        """
        unknown = {"usage": None} if wants_usage else {}
        if opening := shape.opening(len(self.jobs)):
            yield _sse(shape.chunk(opening) | unknown)
        try:
            async with aclosing(self._events()) as events:
                async for index, event in events:
                    yield _sse(shape.chunk([shape.delta(index, _part(event))]) | unknown)
        # The status went out with the first piece; that `[DONE]` is missing tells clients that the answer is not whole.
        except RequestError as error:
            yield _sse(error_body(error))
            return
        if wants_usage:
            yield _sse(shape.chunk([]) | {"usage": self._usage()})
        yield b"data: [DONE]\n\n"

    async def _events(self) -> AsyncGenerator[tuple[int, Delta | Finished], None]:
        """What happens to the answers until all have ended; those that have not are given up on the way out."""
        number, texts = str(self.generation.number), [""] * len(self.jobs)
        try:
            while len(self._tokens) < len(self.jobs):
                # Around the waiting alone: at the yield the consumer runs, which a timeout would cancel in its midst.
                async with asyncio.timeout_at(self._deadline):
                    index, event = await self._listener.get()
                if isinstance(event, Exception):
                    raise self._failed(as_request_error(event))
                self._paces[index].hear(event, self.ticket)
                if isinstance(event, Finished):
                    self._tokens[index] = event.tokens
                    self._time(self.jobs[index], event.tokens)
                elif self.on_whole is not None:
                    texts[index] += event.text
                yield index, event
            if self.on_whole is not None:
                self.on_whole(texts)
        except TimeoutError:
            self.give_up("timeout")
            # The `finally` below then finds nothing left to count as a client's leaving.
            raise self._failed(TimedOut(self.timeout_s)) from None
        finally:
            self.give_up("client_gone")
            # Also of what failed or was given up: the passes were run.
            self.metrics.tokens.labels("read", number).inc(sum(len(wish.prompt) for wish in self.wishes))
            self.metrics.tokens.labels("written", number).inc(sum(self._tokens.values()))
            for wish in self.wishes:
                self.metrics.prompt_tokens.labels(number).observe(len(wish.prompt))

    def _time(self, job: Completion, tokens: int) -> None:
        if (seconds := job.seconds_per_token(tokens)) is not None:
            self.metrics.output_token_seconds.labels(str(self.generation.number)).observe(seconds)

    def _failed(self, error: RequestError) -> RequestError:
        if self.ticket is not None:
            self.ticket.failed(error)
        return error

    def give_up(self, reason: str) -> None:
        """Stop what has not ended; each is counted once."""
        left = [job for job in self.jobs if not (job.ended or job.cancelled)]
        for job in left:
            job.cancelled = True
        if left and not self.shadow:
            self.metrics.cancelled.labels(reason).inc(len(left))

    def _usage(self) -> dict[str, int]:
        # A prompt is one, however many answers it gets.
        asked = sum(len(wish.prompt) for wish in self.wishes[:: self.choices])
        return usage(asked, sum(self._tokens.values()))


def _part(event: Delta | Finished) -> ChoicePart:
    """What an event adds to its choice."""
    if isinstance(event, Delta):
        return ChoicePart(event.text, list(event.scores))
    return ChoicePart(finish=event.reason, end=event.score)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result; None when the client goes away first, which stops the work."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        # Cancelled is not ended: what the work undoes on its way out is done before the response is.
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def as_request_error(error: Exception) -> RequestError:
    """What the client is told of a worker's error."""
    return error if isinstance(error, RequestError) else Failed(str(error))


def _sse(values: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(values) + b"\n\n"
