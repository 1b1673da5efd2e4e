"""The admin surface: status, metrics and control over HTTP, on a listener of its own.

Its routes follow from the table of operations; only the probes and the metrics are written out here.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.admin.token import Token
from daemon.control.arguments import Arguments
from daemon.control.asker import HEADER, asker, name_asker
from daemon.control.operations import OPERATIONS, Operation
from daemon.control.protocol import Control
from daemon.control.reading import check_arguments, read_number, read_query
from daemon.errors import BadRequest, DaemonError
from memory.errors import StoreError
from serving.addresses import is_plain
from serving.answers.body import Bodies, load_json
from serving.door.bearer import bears, digest_of
from serving.errors import RequestError
from serving.exposition import Page, Pages, expose

log = structlog.get_logger(__name__)

METRICS_PATH = "/metrics"
OPEN_PATHS = frozenset({METRICS_PATH, *(operation.path for operation in OPERATIONS if operation.probe)})
BODY_WITHIN_S = 20.0

PROBES_AT_ONCE = 4

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(control: Control, registry: CollectorRegistry, token: Token) -> Starlette:
    """The surface as an ASGI application.

    Args:
        control: answers; called in worker threads.
        registry: what /metrics shows.
        token: asked for as `Authorization: Bearer …` by every path but /metrics and the probes.
    """
    surface = _Surface(control, registry)
    return Starlette(
        routes=surface.routes(),
        middleware=[Middleware(BearerToken, token=token)],
        exception_handlers={
            DaemonError: _daemon_error,
            StoreError: _store_error,
            HTTPException: _http_error,
            RequestError: _request_error,
            Exception: _unexpected_error,
        },
    )


class BearerToken:
    """Lets nothing past without the token but the open paths; of unknown paths it tells nothing."""

    def __init__(self, app: ASGIApp, *, token: Token) -> None:
        if not token.text:
            raise ValueError("the admin surface needs a token")
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http":
            # By a browser's session, which the page has looked at; no header can say so.
            scope["authorized"] = self._is_authorized(scope) or bool(scope.get("signed_in"))
            if not scope["authorized"] and scope["path"] not in OPEN_PATHS:
                await _error(401, "unauthorized", "Send the token: `Authorization: Bearer TOKEN`.")(
                    scope, receive, send
                )
                return
            if not is_plain(scope["path"]):
                await _error(404, "http", "No address has control characters.")(scope, receive, send)
                return
            peer = (scope.get("client") or ("", 0))[0]
            header = dict(scope["headers"]).get(HEADER.encode(), b"").decode(errors="replace")
            # A context variable: it goes along into the thread that answers, and ends with the request.
            asker.set(scope.get("asked_by") or name_asker(header, peer))
        await self._app(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        header = dict(scope["headers"]).get(b"authorization", b"")
        return bears(header, [digest_of(self._token.text)])


class _Surface:
    """The endpoints: the work is the control's."""

    def __init__(self, control: Control, registry: CollectorRegistry) -> None:
        self._control = control
        self._registry = registry
        self._pages = Pages(self._expose)
        self._probing = CapacityLimiter(PROBES_AT_ONCE)
        limits = {operation.arguments.most_bytes for operation in OPERATIONS}
        self._bodies = {limit: Bodies(limit=limit, timeout_s=BODY_WITHIN_S) for limit in limits}

    def routes(self) -> list[Route]:
        probes = {"health": self.health, "readiness": self.readiness}
        return [
            Route(METRICS_PATH, self.metrics, methods=["GET"]),
            *(
                Route(
                    operation.path,
                    probes[operation.name] if operation.probe else self._endpoint(operation),
                    methods=[operation.method],
                )
                for operation in OPERATIONS
            ),
        ]

    def _endpoint(self, operation: Operation) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            call = (await self._arguments(request, operation)).call()
            # Written as JSON there too: a long list would hold up who else asks.
            return await run_in_threadpool(
                lambda: JSONResponse(operation.answer(self._control, call), status_code=operation.status)
            )

        return endpoint

    async def _arguments(self, request: Request, operation: Operation) -> Arguments:
        """What the request asks with. Raises BadRequest, UnknownThing or RequestError."""
        model = operation.arguments
        of_path = {name: read_number(text, model.thing) for name, text in request.path_params.items()}
        if operation.has_body:
            bodies = self._bodies[model.most_bytes]
            arguments, _ = await bodies.read(request, partial(_understand, model=model, of_path=of_path))
            return arguments
        return check_arguments(model, read_query(request.query_params.items(), model) | of_path)

    async def _apart(self, ask: Callable[[], T]) -> T:
        """For probes and scrapes: on threads that no slow question of a person takes from them."""
        return await to_thread.run_sync(ask, limiter=self._probing)

    async def health(self, _request: Request) -> Response:
        health = await self._apart(self._control.health)
        return JSONResponse(health, status_code=200 if health["healthy"] else 503)

    async def readiness(self, request: Request) -> Response:
        """Details, which may name hosts and files, only with the token."""
        readiness = await self._apart(self._control.readiness)
        parts: Mapping[str, object] = readiness["parts"]
        if not request.scope["authorized"]:
            parts = {name: {"ok": part["ok"]} for name, part in readiness["parts"].items()}
        body = {"ready": readiness["ready"], "parts": parts}
        return JSONResponse(body, status_code=200 if readiness["ready"] else 503)

    async def metrics(self, request: Request) -> Response:
        content, kind = await self._pages.page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    async def _expose(self, accept: str) -> Page:
        return await self._apart(partial(expose, self._registry, accept))


def _understand(content: bytes, model: type[Arguments], of_path: dict[str, int]) -> Arguments:
    """A body as this model of it; an empty one means every default. Raises BadRequest with the first mistake."""
    try:
        body = load_json(content or b"{}")
    except RequestError as error:
        raise BadRequest(str(error)) from None
    return check_arguments(model, body | of_path if isinstance(body, dict) else body)


def _error(status: int, kind: str, message: str, *, retry_after_s: int | None = None) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    headers |= {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return JSONResponse({"error": {"type": kind, "message": message}}, status_code=status, headers=headers)


async def _daemon_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DaemonError)
    return _error(error.http_status, type(error).__name__, str(error), retry_after_s=error.retry_after_s)


async def _store_error(_request: Request, error: Exception) -> Response:
    log.warning("store_failed", kind=type(error).__name__, error=str(error))
    return _error(503, type(error).__name__, str(error))


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "http", error.detail)


async def _request_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(error.status, error.code or error.kind, str(error))


async def _unexpected_error(_request: Request, _: Exception) -> Response:
    # The server logs it with its traceback.
    return _error(500, "internal", "The daemon failed to answer; its log says why.")
