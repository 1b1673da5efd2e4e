"""The application: which route leads where, behind the guard."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.addresses import CANARY_ROUTE, MODEL_ROUTE, OTHER_ROUTES, ROUTES, WATCHED_TEXT_ROUTE
from serving.answers.body import Bodies
from serving.api_keys import ApiKeys
from serving.askers import Askers
from serving.errors import RequestError
from serving.guard import Guard, error_response
from serving.routes.classify import ClassifyRoute
from serving.routes.completions import CompletionRoutes
from serving.routes.feedback import FeedbackRoute
from serving.routes.parts import Parts
from serving.routes.state import StateRoutes
from serving.routes.watched_text import WatchedTextRoute
from serving.tracing.spans import NO_TRACING, Tracing

LONGEST_ECHO: Final = 200
KEEP_WITHIN_S: Final = 5.0
"""What the keys have taken is on disk, at the end; a disk that does not answer is waited for no longer."""


def build_app(parts: Parts, keys: ApiKeys, usage: Path | None = None, *, tracing: Tracing = NO_TRACING) -> Starlette:
    """The application: every route, behind the guard.

    Args:
        parts: what the routes work with.
        keys: who may ask.
        usage: the file with what each key has taken of the day; None: that is kept in memory alone.
        tracing: what is told of each request.
    """
    bodies = Bodies(limit=parts.settings.max_body_bytes, timeout_s=parts.settings.body_timeout_s)
    state, completions, classify = StateRoutes(parts), CompletionRoutes(parts, bodies), ClassifyRoute(parts, bodies)
    parts.metrics.begin_requests((*sorted(ROUTES), OTHER_ROUTES))
    askers = _askers(parts, usage)
    keys.tell(askers.know)
    guard = Middleware(Guard, keys=keys, askers=askers, switch=parts.switch, metrics=parts.metrics, tracing=tracing)
    app = Starlette(
        routes=[
            Route("/healthz", state.healthz),
            Route("/readyz", state.readyz),
            Route("/metrics", state.metrics),
            Route("/v1/models", state.models),
            Route(MODEL_ROUTE, state.model),
            Route("/v1/riverkeep/generation", state.generation),
            Route(CANARY_ROUTE, state.canary),
            Route(WATCHED_TEXT_ROUTE, WatchedTextRoute(parts, bodies).read, methods=["POST"]),
            Route("/v1/completions", completions.completions, methods=["POST"]),
            Route("/v1/chat/completions", completions.chat, methods=["POST"]),
            Route("/v1/classify", classify.classify, methods=["POST"]),
            Route("/v1/feedback", FeedbackRoute(parts, bodies).feedback, methods=["POST"]),
        ],
        middleware=[guard],
        exception_handlers={HTTPException: _http_error},
        lifespan=_following_keys(keys, askers),
    )
    # A redirect would be followed without the body, or without the key.
    app.router.redirect_slashes = False
    return app


def _askers(parts: Parts, usage: Path | None) -> Askers:
    settings = parts.settings
    # Of a key among several: the rest of the queue is for the others.
    at_once = settings.max_batch + settings.max_queue // 2
    return Askers(settings.key_limits, at_once=at_once, metrics=parts.metrics.keys, usage=usage)


def _following_keys(keys: ApiKeys, askers: Askers) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """While the application runs, its keys are those of their file; SIGHUP has it read at once."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        asked = asyncio.Event()
        # Python takes signals on its main thread only; a test may serve on another.
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        following, ending = asyncio.create_task(keys.follow(asked)), asyncio.Event()
        keeping = asyncio.create_task(askers.keep(ending))
        yield
        following.cancel()
        ending.set()
        await asyncio.wait({keeping}, timeout=KEEP_WITHIN_S)

    return lifespan


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown route or method."""
    assert isinstance(error, HTTPException)
    request_line = f"{request.method} {request.scope['path']}"
    allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    why = f"this route takes {allowed}" if allowed else "there is no such route; /v1/models is one"
    response = error_response(RequestError(f"{request_line[:LONGEST_ECHO]}: {why}", status=error.status_code))
    if allowed:
        response.headers["allow"] = allowed
    return response
