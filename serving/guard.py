"""What every request passes: counting, the generation's name, the key."""

import asyncio
import logging
import time
from typing import Final

import orjson
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import (
    ANSWER_ROUTES,
    FEEDBACK_ROUTE,
    MODEL_ROUTE,
    OPEN_ROUTES,
    OTHER_ROUTES,
    PROBED_ROUTES,
    ROUTES,
    is_plain,
)
from serving.api_keys import ApiKeys
from serving.askers import Asker, Askers
from serving.engine.traces import REQUEST_ID_HEADER, RequestTrace
from serving.errors import NotReady, RequestError, error_body, frames
from serving.generations.switch import Switch
from serving.keys.entries import KeyEntry
from serving.metrics import ServingMetrics
from serving.tracing.spans import NO_SPAN, NO_TRACING, Span, Tracing

_log = structlog.get_logger(__name__)
_each_request = logging.getLogger(__name__)

GENERATION_HEADER: Final = "x-riverkeep-generation"
PROBES: Final = "probes"
"""The name of entrances for `PROBED_ROUTES` alone; who asks there is not counted among the clients."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHODS: Final = "_OTHER"
"""OpenTelemetry's word; of what a client made up no name is made."""


def error_response(error: RequestError) -> Response:
    """An error as OpenAI's clients understand it."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.code == "insufficient_quota":
        # OpenAI's clients would try again within seconds, of what comes back at midnight.
        headers["x-should-retry"] = "false"
    body = orjson.dumps(error_body(error))
    return Response(body, status_code=error.status, headers=headers, media_type="application/json")


class Guard:
    """ASGI middleware around all routes.

    It counts and times each request, lets none in without the key but those to open routes, holds each key to its
    limits, names request and generation on every response, and turns what nobody foresaw into a 500 without its text
    in the log. Whatever is logged on the way names the request. Each is a span, but for probes'.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: ApiKeys,
        askers: Askers,
        switch: Switch,
        metrics: ServingMetrics,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._app = app
        self._keys = keys
        self._askers = askers
        self._switch = switch
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's scope; only HTTP requests are counted."""
        # The application's beginning and end come this way too.
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = RequestTrace.of(scope["headers"])
        with structlog.contextvars.bound_contextvars(request=trace.id), self._begin_span(scope, trace) as span:
            scope["trace"] = trace.within(span.carried)
            exchange = _Exchange(send, self._switch, trace)
            started = time.perf_counter()
            try:
                await self._answer(scope, receive, exchange)
            finally:
                exchange.asker.leave(exchange.status, counted=_is_limited(scope))
                exchange.describe(span)
                self._count(scope, exchange, time.perf_counter() - started)

    def _begin_span(self, scope: Scope, trace: RequestTrace) -> Span:
        if _by_probes(scope) or scope["path"] in OPEN_ROUTES:
            return NO_SPAN
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHODS
        # Neither the path, which a client may write anything into, nor anything of the body.
        route = None if (known := _route(scope["path"])) == OTHER_ROUTES else known
        return self._tracing.begin(
            f"{method} {route or ''}".strip(),
            {"http.request.method": method, "http.route": route, "riverkeep.request.id": trace.id},
            kind="server",
            carried=trace.passed_on,
        )

    def _count(self, scope: Scope, exchange: "_Exchange", seconds: float) -> None:
        if _by_probes(scope):
            return
        route = _route(scope["path"])
        self._metrics.requests.labels(route, str(exchange.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        # Asked first: structlog would put the line together before anybody asks whether it is wanted.
        if _each_request.isEnabledFor(logging.DEBUG):
            _log.debug("request_answered", route=route, status=exchange.status, seconds=round(seconds, 6))

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        try:
            exchange.asker = scope["asker"] = self._askers.asker(self._require_key(scope))
            _require_plain(scope["path"])
            _require_entrance(scope)
            if _is_limited(scope):
                exchange.asker.knock(for_answer=scope["path"] in ANSWER_ROUTES)
            await self._app(scope, receive, exchange.send)
        except RequestError as error:
            await exchange.fail(error, scope, receive)
        # uvicorn cancels what still runs when its time to end is up; a client that waits is owed an answer.
        except asyncio.CancelledError:
            await exchange.fail(NotReady("the server is shutting down; ask another replica"), scope, receive)
            raise
        except Exception as error:  # noqa: BLE001 - the last place before the client; the loop must go on
            exchange.failure = type(error).__name__
            _log.error(
                "request_failed",
                route=_route(scope["path"]),
                request=scope["trace"].id,
                error=type(error).__name__,
                at=frames(error),
                generation=self._switch.current and self._switch.current.number,
            )
            failed = RequestError("the server failed; its log says why", status=500, kind="server_error")
            await exchange.fail(failed, scope, receive)

    def _require_key(self, scope: Scope) -> KeyEntry | None:
        """The key that a request bears; None where it needs none."""
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        key = self._keys.find(authorization)
        # Where nobody needs a key, nobody has shown one.
        scope["is_daemon"] = _by_probes(scope) and self._keys.is_daemons(authorization)
        scope["has_key"] = key is not None or scope["is_daemon"]
        scope["authorized"] = scope["has_key"] or not self._keys.needed
        if scope["path"] not in OPEN_ROUTES and not scope["authorized"]:
            raise RequestError(
                "a valid API key is needed: Authorization: Bearer KEY",
                status=401,
                kind="authentication_error",
                code="invalid_api_key",
            )
        return key


def _is_limited(scope: Scope) -> bool:
    """Whether a request takes of its key's limits."""
    return scope["path"] in ANSWER_ROUTES | {FEEDBACK_ROUTE} and scope["method"] == "POST"


def _by_probes(scope: Scope) -> bool:
    """Whether a request came by an entrance that is for probes alone."""
    return bool(scope.get("state", {}).get("entrance") == PROBES)


def _require_entrance(scope: Scope) -> None:
    if _by_probes(scope) and scope["path"] not in PROBED_ROUTES:
        raise RequestError("this port is for probes; answers are given at serving.port", status=404)


def _require_plain(path: str) -> None:
    if not is_plain(path):
        raise RequestError("there is no such route: no address has control characters", status=404)


def _route(path: str) -> str:
    """The route that a path is of, for labels."""
    if path.startswith("/v1/models/"):
        return MODEL_ROUTE
    return path if path in ROUTES else OTHER_ROUTES


class _Exchange:
    """One response on its way out: its status is noted, its request and its generation named."""

    def __init__(self, send: Send, switch: Switch, trace: RequestTrace) -> None:
        self._trace = trace
        self._send = send
        self._switch = switch
        # What is logged for a client that went away before there was an answer.
        self.status = 499
        # Of one that bears no key, or not yet.
        self.asker = Asker()
        self.failure = ""
        self._generation: int | None = None
        self._started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            self._name_generation(message)
            message["headers"].append((REQUEST_ID_HEADER.encode(), self._trace.id.encode()))
            message["headers"] += [(name.encode(), value.encode()) for name, value in self.asker.headers().items()]
        await self._send(message)

    def _name_generation(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        current = self._switch.current
        # The route's own word first: a swap may have come between the request and its answer.
        named = next((value for name, value in headers if name == GENERATION_HEADER.encode()), None)
        if named is None and current:
            named = str(current.number).encode()
            headers.append((GENERATION_HEADER.encode(), named))
        self._generation = None if named is None else int(named)
        message["headers"] = headers

    def describe(self, span: Span) -> None:
        """Say of a span what became of the request."""
        span.note(
            {
                "http.response.status_code": self.status,
                "riverkeep.generation": self._generation,
                "riverkeep.key": self.asker.name or None,
            }
        )
        if self.status >= 500 or self.failure:
            span.fail(self.failure or str(self.status))

    async def fail(self, error: RequestError, scope: Scope, receive: Receive) -> None:
        # A status cannot be taken back; the client sees a body that breaks off.
        if not self._started:
            await error_response(error)(scope, receive, self.send)
