"""The application: which route leads where, behind the guard."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answers.body import Bodies
from serving.api_keys import ApiKeys
from serving.errors import RequestError
from serving.guard import CANARY_ROUTE, MODEL_ROUTE, OTHER_ROUTES, ROUTES, Guard, error_response
from serving.routes.classify import ClassifyRoute
from serving.routes.completions import CompletionRoutes
from serving.routes.feedback import FeedbackRoute
from serving.routes.parts import Parts
from serving.routes.state import StateRoutes

LONGEST_ECHO: Final = 200


def build_app(parts: Parts, keys: ApiKeys) -> Starlette:
    """The application: every route, behind the guard."""
    bodies = Bodies(limit=parts.settings.max_body_bytes, timeout_s=parts.settings.body_timeout_s)
    state, completions, classify = StateRoutes(parts), CompletionRoutes(parts, bodies), ClassifyRoute(parts, bodies)
    parts.metrics.begin_requests((*sorted(ROUTES), OTHER_ROUTES))
    guard = Middleware(Guard, keys=keys, switch=parts.switch, metrics=parts.metrics)
    app = Starlette(
        routes=[
            Route("/healthz", state.healthz),
            Route("/readyz", state.readyz),
            Route("/metrics", state.metrics),
            Route("/v1/models", state.models),
            Route(MODEL_ROUTE, state.model),
            Route("/v1/riverkeep/generation", state.generation),
            Route(CANARY_ROUTE, state.canary),
            Route("/v1/completions", completions.completions, methods=["POST"]),
            Route("/v1/chat/completions", completions.chat, methods=["POST"]),
            Route("/v1/classify", classify.classify, methods=["POST"]),
            Route("/v1/feedback", FeedbackRoute(parts, bodies).feedback, methods=["POST"]),
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
