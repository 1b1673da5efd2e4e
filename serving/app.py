"""The endpoints."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import orjson
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from checkpoints.card import ModelKind
from serving.answers.body import LONG_BODY_BYTES, Bodies, parse, require_json
from serving.answers.openai import (
    AnswerShape,
    Asked,
    ChatRequest,
    ChatShape,
    ClassifyRequest,
    CompletionRequest,
    CompletionShape,
    usage,
)
from serving.answers.prompts import (
    CutText,
    RecentPrompts,
    chat_prompt,
    completion_prompt,
    cut,
    places,
    require_known,
    room,
)
from serving.answers.writing import Wish, Writing, as_request_error, unless_gone
from serving.engine.classify import Classification, Classifier, Probabilities
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.errors import NotReady, RequestError, TimedOut
from serving.exposition import expose
from serving.generations.swap import Switch
from serving.guard import GENERATION_HEADER, MODEL_ROUTE, OTHER_ROUTES, ROUTES, ApiKeys, Guard, error_response
from serving.listener import Listener
from serving.metrics import ServingMetrics
from serving.settings import ServingSettings

# What is more probable than not.
EVEN: Final = 0.5
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")

CLIENT_GONE: Final = 499
LONGEST_ECHO: Final = 200


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with.

    Attributes:
        settings: limits and names.
        kind: what the model is for.
        switch: which generation a request begins on.
        worker: what answers.
        recent: prompts to warm the next generation with.
        metrics: where to count.
        trouble: why the process cannot go on, which asks for a new one; empty while it can.
        ending: whether it is about to end.
        checkpoints: the store's directory, which is named before nobody without a key.
    """

    settings: ServingSettings
    kind: ModelKind
    switch: Switch
    worker: Engine | Classifier
    recent: RecentPrompts
    metrics: ServingMetrics
    trouble: Callable[[], str]
    ending: Callable[[], bool]
    checkpoints: Path = Path("/")


def build_app(parts: Parts, keys: ApiKeys) -> Starlette:
    """The application: every route, behind the guard."""
    endpoints = Endpoints(parts)
    parts.metrics.begin_requests((*sorted(ROUTES), OTHER_ROUTES))
    guard = Middleware(Guard, keys=keys, switch=parts.switch, metrics=parts.metrics)
    app = Starlette(
        routes=[
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            Route("/metrics", endpoints.metrics),
            Route("/v1/models", endpoints.models),
            Route(MODEL_ROUTE, endpoints.model),
            Route("/v1/riverkeep/generation", endpoints.generation),
            Route("/v1/completions", endpoints.completions, methods=["POST"]),
            Route("/v1/chat/completions", endpoints.chat, methods=["POST"]),
            Route("/v1/classify", endpoints.classify, methods=["POST"]),
        ],
        middleware=[guard],
        exception_handlers={HTTPException: _http_error},
        lifespan=_heeding_hangups(keys),
    )
    # A redirect would be followed without the body, or without the key.
    app.router.redirect_slashes = False
    return app


def _heeding_hangups(keys: ApiKeys) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """While the application runs, SIGHUP lets it read its keys again."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Python takes signals on its main thread only; a test may serve on another.
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keys.read_again)
        yield

    return lifespan


class Endpoints:
    """One method for each route."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._exposing = anyio.Lock()
        self._bodies = Bodies(limit=parts.settings.max_body_bytes, timeout_s=parts.settings.body_timeout_s)

    async def healthz(self, _: Request) -> Response:
        """Whether this process is worth keeping, and why not."""
        trouble = self._parts.trouble()
        return _json({"healthy": not trouble, "detail": trouble}, status=503 if trouble else 200)

    async def readyz(self, request: Request) -> Response:
        """Whether it answers; what stands in the way of a generation, which may name files, only with a key."""
        parts = self._parts
        current = parts.switch.current
        healthy = not parts.trouble()
        ready = current is not None and healthy and not parts.ending()
        detail = {
            "ready": ready,
            "generation": current and current.number,
            "healthy": healthy,
            "ending": parts.ending(),
            "pointed": parts.switch.status.pointed,
        }
        if request.scope["authorized"]:
            detail |= self._swaps(request)
        return _json(detail, status=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """What Prometheus scrapes, in the format that it asks for."""
        accept = request.headers.get("accept", "")
        # Off the event loop and one after the other: who asks without end keeps only others who ask for this waiting.
        async with self._exposing:
            content, kind = await run_in_threadpool(expose, self._parts.metrics.registry, accept)
        return Response(content, headers={"content-type": kind})

    async def generation(self, request: Request) -> Response:
        """Which generation serves and how the last swap went."""
        current = self._parts.switch.current
        facts = {
            "trouble": self._parts.trouble(),
            "generation": current and current.number,
            "digest": current and current.digest,
            "loaded_at": current and current.loaded_at,
            **self._swaps(request),
        }
        return _json(facts)

    def _swaps(self, request: Request) -> dict[str, Any]:
        """How swaps went, and what is in the way of one; the store's place only to who has shown a key."""
        status = self._parts.switch.status
        if not request.scope["has_key"]:
            failed = {number: self._without_place(why) for number, why in status.failed.items()}
            status = replace(status, failed=failed, problem=status.problem and self._without_place(status.problem))
        return asdict(status)

    def _without_place(self, text: str) -> str:
        place = str(self._parts.checkpoints)
        return text.replace(f"{place}/", "").replace(place, "the checkpoint store") if len(place) > 1 else text

    async def models(self, _: Request) -> Response:
        """The one model, in OpenAI's shape, with its generation."""
        current = self._current()
        return _json({"object": "list", "data": [self._described(current)]}, generation=current)

    async def model(self, request: Request) -> Response:
        """The one model by its name, which may hold slashes, written as such or encoded."""
        current = self._current()
        self._require_model(request.path_params["model"])
        return _json(self._described(current), generation=current)

    def _described(self, generation: LoadedGeneration) -> dict[str, Any]:
        return {
            "id": self._settings.model_name,
            "object": "model",
            "created": int(generation.loaded_at),
            "owned_by": "riverkeep",
            "generation": generation.number,
            "system_fingerprint": generation.fingerprint,
            "context_length": generation.context,
        }

    async def completions(self, request: Request) -> Response:
        """OpenAI's text completions."""
        asked, size = await self._asked(request, CompletionRequest)
        generation = self._current("causal-lm")
        self._require_model(asked.model)
        # More than can wait would be told to come back for ever.
        most = min(self._settings.max_inputs, self._settings.max_batch + self._settings.max_queue)
        if not 1 <= len(asked.prompt) <= most:
            raise RequestError(f"prompt: 1 to {most} prompts", param="prompt")
        named = places("prompt", len(asked.prompt))
        pairs = zip(asked.prompt, named, strict=True)
        prompts = await _encoding(size, lambda: [completion_prompt(generation, *pair) for pair in pairs])
        shape = CompletionShape(generation, self._settings.model_name, int(time.time()))
        writing = self._writing(generation, asked, prompts=prompts, stops=asked.stop, params=named)
        return await self._write(request, writing, shape, asked)

    async def chat(self, request: Request) -> Response:
        """OpenAI's chat completions."""
        asked, size = await self._asked(request, ChatRequest)
        generation = self._current("causal-lm")
        self._require_model(asked.model)
        prompt, stops = await _encoding(size, lambda: chat_prompt(generation, asked.messages))
        shape = ChatShape(generation, self._settings.model_name, int(time.time()))
        writing = self._writing(generation, asked, prompts=[prompt], stops=(*asked.stop, *stops), params=["messages"])
        return await self._write(request, writing, shape, asked)

    async def classify(self, request: Request) -> Response:
        """The labels of texts, with their probabilities; a text beyond the context is cut, and that is said."""
        asked, size = await self._asked(request, ClassifyRequest)
        generation = self._current("classifier")
        self._require_model(asked.model)
        if not 1 <= len(asked.input) <= self._settings.max_inputs:
            raise RequestError(f"input: 1 to {self._settings.max_inputs} texts", param="input")
        pairs = zip(asked.input, places("input", len(asked.input)), strict=True)
        texts = await _encoding(size, lambda: [cut(generation, *pair) for pair in pairs])
        rows = await unless_gone(request, self._classified(generation, [text.ids for text in texts]))
        return _gone() if rows is None else self._labelled(generation, rows, texts)

    def _labelled(self, generation: LoadedGeneration, rows: Probabilities, texts: Sequence[CutText]) -> Response:
        tokens = sum(len(text.ids) for text in texts)
        self._parts.metrics.tokens.labels("read").inc(tokens)
        data = [
            {
                "index": index,
                **_answer(generation, row),
                "probabilities": dict(zip(generation.labels, row, strict=True)),
                "truncated": text.truncated,
            }
            for index, (row, text) in enumerate(zip(rows, texts, strict=True))
        ]
        answer = {
            "object": "list",
            "model": self._settings.model_name,
            "system_fingerprint": generation.fingerprint,
            "data": data,
            "usage": usage(tokens, 0),
        }
        return _json(answer, generation=generation)

    async def _classified(self, generation: LoadedGeneration, texts: Sequence[Sequence[int]]) -> Probabilities:
        listener: Listener[Probabilities | Exception] = Listener()
        job = Classification(generation, texts, listener.put)
        worker = self._parts.worker
        assert isinstance(worker, Classifier)
        worker.submit(job)
        self._parts.recent.add(texts[0])
        try:
            outcome = await asyncio.wait_for(listener.get(), self._settings.request_timeout_s)
        except TimeoutError:
            job.cancelled = True
            self._parts.metrics.cancelled.labels("timeout").inc()
            raise TimedOut(self._settings.request_timeout_s) from None
        finally:
            self._give_up(job)
        if isinstance(outcome, Exception):
            raise as_request_error(outcome)
        return outcome

    def _give_up(self, job: Classification) -> None:
        if not (job.ended or job.cancelled):
            job.cancelled = True
            self._parts.metrics.cancelled.labels("client_gone").inc()

    def _writing(
        self,
        generation: LoadedGeneration,
        asked: Asked,
        *,
        prompts: list[list[int]],
        stops: Sequence[str],
        params: Sequence[str],
    ) -> Writing:
        """Queue the answers to a request's prompts."""
        settings, defaults = self._settings, generation.defaults
        name, limit = asked.limit
        if limit is not None and limit > settings.max_new_tokens:
            raise RequestError(f"{name}: at most {settings.max_new_tokens} tokens may be asked for", param=name)
        require_known(generation, asked)
        default = min(defaults.max_new_tokens or settings.default_new_tokens, settings.max_new_tokens)
        sampling, ends = asked.sampling(defaults), asked.stop_ids(generation.stop_ids)
        wishes = [
            Wish(prompt, room(generation, prompt, limit, default, param), sampling, stops, ends)
            for prompt, param in zip(prompts, params, strict=True)
        ]
        writing = Writing(generation, wishes, settings.request_timeout_s, self._parts.metrics)
        worker = self._parts.worker
        assert isinstance(worker, Engine)
        worker.submit(*writing.jobs)
        self._parts.recent.add(prompts[0])
        return writing

    async def _write(self, request: Request, writing: Writing, shape: AnswerShape, asked: Asked) -> Response:
        if asked.stream:
            return StreamingResponse(
                writing.streamed(shape, wants_usage=asked.wants_usage),
                media_type="text/event-stream",
                headers={
                    GENERATION_HEADER: str(writing.generation.number),
                    "cache-control": "no-cache",
                    "x-accel-buffering": "no",
                },
                background=BackgroundTask(writing.give_up, "client_gone"),
            )
        try:
            answer = await unless_gone(request, writing.whole(shape))
        finally:
            writing.give_up("client_gone")
        return _gone() if answer is None else _json(answer, generation=writing.generation)

    async def _asked(self, request: Request, shape: type[S]) -> tuple[S, int]:
        """What a request asks, and the bytes of its body."""
        require_json(request)
        try:
            return await self._bodies.read(request, partial(parse, shape=shape))
        except ClientDisconnect:
            raise RequestError("the client went away", status=CLIENT_GONE) from None

    def _current(self, kind: ModelKind | None = None) -> LoadedGeneration:
        """The generation that a request begins on."""
        if kind not in (None, self._parts.kind):
            raise RequestError(
                f"the model is a {self._parts.kind}; this route needs a {kind}", status=404, code="wrong_model_kind"
            )
        current = self._parts.switch.current
        if current is None:
            raise NotReady("no generation is loaded yet; /readyz says what it waits for")
        return current

    def _require_model(self, name: str | None) -> None:
        if name not in (None, self._settings.model_name):
            raise RequestError(
                f"there is no model of that name; this server has {self._settings.model_name}",
                status=404,
                code="model_not_found",
                param="model",
            )


async def _encoding(size: int, encode_all: Callable[[], T]) -> T:
    return encode_all() if size < LONG_BODY_BYTES else await run_in_threadpool(encode_all)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown route or method."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.scope['path']}"
    allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    why = f"this route takes {allowed}" if allowed else "there is no such route; /v1/models is one"
    response = error_response(RequestError(f"{asked[:LONGEST_ECHO]}: {why}", status=error.status_code))
    if allowed:
        response.headers["allow"] = allowed
    return response


def _gone() -> Response:
    """An answer that nobody reads; its status is for the counter."""
    return error_response(RequestError("the client went away", status=CLIENT_GONE))


def _json(values: dict[str, Any], *, status: int = 200, generation: LoadedGeneration | None = None) -> Response:
    headers = {GENERATION_HEADER: str(generation.number)} if generation else None
    body = orjson.dumps(values, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _answer(generation: LoadedGeneration, row: Sequence[float]) -> dict[str, object]:
    """The label of a text; where several may fit, all that are more probable than not."""
    if generation.several:
        return {"labels": [label for label, share in zip(generation.labels, row, strict=True) if share > EVEN]}
    return {"label": generation.labels[max(range(len(row)), key=row.__getitem__)]}
