"""The admin surface: status, metrics and control over HTTP, on a listener of its own."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Self, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.admin.token import Token
from daemon.control.asker import HEADER, asker, said
from daemon.control.protocol import LARGEST_ID, LONGEST_REASON, Control
from daemon.errors import BadRequest, DaemonError, UnknownThing
from memory.errors import StoreError
from memory.samples.records import KeyHash
from serving.answers.body import Bodies, Many, loaded
from serving.door.bearer import bears, digest_of
from serving.errors import RequestError
from serving.exposition import expose

log = structlog.get_logger(__name__)

OPEN_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
LONGEST_BODY_BYTES = 64 * 1024
LONGEST_KEY_BODY_BYTES = 768 * 1024
"""Of a request about a person. A longer key is named by its hash."""
BODY_WITHIN_S = 20.0
MOST_ROWS = 500
LONGEST_KEY = 4096

PROBES_AT_ONCE = 4

Body = TypeVar("Body", bound=BaseModel)
T = TypeVar("T")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RoundBody(_Body):
    """POST /rounds."""

    dry_run: bool = False


class PauseBody(_Body):
    """POST /rounds/pause."""

    reason: str = Field("", max_length=LONGEST_REASON)


class RollbackBody(_Body):
    """POST /rollback."""

    generation: int | None = Field(None, ge=0)


class ResumeBody(_Body):
    """POST /resume: one partition as `topic/number`, or all."""

    partition: str | None = Field(None, min_length=1, max_length=300)


class ForgetBody(_Body):
    """POST /forget: a key in an address would end up in logs. Named by itself, or by its hash."""

    key: str | None = Field(None, min_length=1)
    key_hash: str | None = Field(None, pattern=r"^[0-9a-fA-F]{16}$")

    def named(self) -> str | KeyHash:
        """The key that is meant. Raises BadRequest where it is none, or both are given."""
        if (self.key is None) == (self.key_hash is None):
            raise BadRequest("Name one: `key`, or `key_hash` (16 hexadecimal digits).")
        return self.key if self.key is not None else KeyHash.from_hex(self.key_hash or "")


class FindBody(ForgetBody):
    """POST /memory/find."""

    text: bool = False
    limit: int = Field(50, ge=1, le=MOST_ROWS)
    after: int = Field(0, ge=0, le=LARGEST_ID)


class AsideBody(_Body):
    """POST /aside/release: what that round set aside."""

    round: int = Field(ge=1)


class CountAsideBody(AsideBody):
    """POST /aside/count: how much of what that round set aside is of that source, that key, or both."""

    source: str | None = Field(None, min_length=1, max_length=LONGEST_KEY)
    key: str | None = Field(None, min_length=1, max_length=LONGEST_KEY)


class DropAsideBody(CountAsideBody):
    """POST /aside/drop: what that round set aside; with ids, a source or a key only that part of it."""

    ids: list[Annotated[int, Field(ge=1, le=LARGEST_ID)]] = Field(default=[], max_length=5_000)

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.ids and self.is_of:
            raise ValueError("name ids, or a source and a key, not both")
        return self

    @property
    def is_of(self) -> bool:
        """Whether a source or a key chooses the part."""
        return self.source is not None or self.key is not None


class DeadLettersBody(_Body):
    """POST /dead-letters/replay and /dead-letters/drop; no ids: all."""

    ids: Many[Annotated[int, Field(ge=1, le=LARGEST_ID)]] = Field(default=[], max_length=10_000)


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
            RequestError: _refused,
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
            scope["authorized"] = self._authorized(scope)
            if not scope["authorized"] and scope["path"] not in OPEN_PATHS:
                await _error(401, "unauthorized", "Send the token: `Authorization: Bearer TOKEN`.")(
                    scope, receive, send
                )
                return
            peer = (scope.get("client") or ("", 0))[0]
            header = dict(scope["headers"]).get(HEADER.encode(), b"").decode(errors="replace")
            asker.set(said(header, peer))
        await self._app(scope, receive, send)

    def _authorized(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return bears(given, [digest_of(self._token.text)])


class _Surface:
    """The endpoints. Each is a few lines: the work is the control's."""

    def __init__(self, control: Control, registry: CollectorRegistry) -> None:
        self._control = control
        self._registry = registry
        self._probing = CapacityLimiter(PROBES_AT_ONCE)
        self._bodies = Bodies(limit=LONGEST_BODY_BYTES, timeout_s=BODY_WITHIN_S)
        self._keys = Bodies(limit=LONGEST_KEY_BODY_BYTES, timeout_s=BODY_WITHIN_S)

    def routes(self) -> list[Route]:
        get = {
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/status": self.status,
            "/rounds": self.rounds,
            "/rounds/{number}": self.round,
            "/rounds/{number}/samples": self.round_samples,
            "/generations": self.generations,
            "/memory": self.memory,
            "/memory/gaps": self.gaps,
            "/aside": self.aside,
            "/aside/{number}": self.aside_text,
            "/dead-letters": self.dead_letters,
            "/dead-letters/{number}": self.dead_letter,
        }
        post = {
            "/rounds": self.request_round,
            "/rounds/{number}/approve": self.approve_round,
            "/rounds/{number}/reject": self.reject_round,
            "/rounds/cancel": self.cancel_rounds,
            "/rounds/withdraw": self.withdraw_round,
            "/rounds/pause": self.pause_rounds,
            "/rounds/resume": self.resume_rounds,
            "/rollback": self.rollback,
            "/resume": self.resume,
            "/forget": self.forget,
            "/memory/find": self.find,
            "/aside/release": self.release_aside,
            "/aside/drop": self.drop_aside,
            "/aside/count": self.count_aside,
            "/dead-letters/replay": self.replay_dead_letters,
            "/dead-letters/drop": self.drop_dead_letters,
        }
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()] + [
            Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()
        ]

    async def _apart(self, ask: Callable[[], T]) -> T:
        """For probes and scrapes: on threads that no slow question of a person takes from them."""
        return await to_thread.run_sync(ask, limiter=self._probing)

    async def _asked(self, request: Request, model: type[Body]) -> Body:
        bodies = self._keys if issubclass(model, ForgetBody) else self._bodies
        asked, _ = await bodies.read(request, partial(_understood, model=model))
        return asked

    async def healthz(self, _request: Request) -> Response:
        health = await self._apart(self._control.health)
        return JSONResponse(health, status_code=200 if health["healthy"] else 503)

    async def readyz(self, request: Request) -> Response:
        """Details, which may name hosts and files, only with the token."""
        readiness = await self._apart(self._control.readiness)
        parts = readiness["parts"]
        if not request.scope["authorized"]:
            parts = {name: {"ok": part["ok"]} for name, part in parts.items()}
        body = {"ready": readiness["ready"], "parts": parts}
        return JSONResponse(body, status_code=200 if readiness["ready"] else 503)

    async def metrics(self, request: Request) -> Response:
        content, kind = await self._apart(partial(expose, self._registry, request.headers.get("accept", "")))
        return Response(content, headers={"content-type": kind})

    async def status(self, _request: Request) -> Response:
        return await _answer(self._control.status)

    async def rounds(self, request: Request) -> Response:
        limit, before = _number(request, "limit", 50, most=MOST_ROWS), _number(request, "before", None)
        return await _answer(lambda: self._control.rounds(limit=limit or 1, before=before))

    async def round(self, request: Request) -> Response:
        return await _answer(lambda: self._control.round(_round(request)))

    async def round_samples(self, request: Request) -> Response:
        limit, after = _number(request, "limit", MOST_ROWS, most=MOST_ROWS), _number(request, "after", 0)
        ask = partial(self._control.round_samples, _round(request), limit=limit or 1, after=after or 0)
        return await _answer(ask)

    async def generations(self, _request: Request) -> Response:
        return await _answer(self._control.generations)

    async def memory(self, _request: Request) -> Response:
        return await _answer(self._control.memory)

    async def gaps(self, request: Request) -> Response:
        limit, before = _number(request, "limit", 50, most=MOST_ROWS), _number(request, "before", None)
        return await _answer(lambda: self._control.gaps(limit=limit or 1, before=before))

    async def find(self, request: Request) -> Response:
        body = await self._asked(request, FindBody)
        key = body.named()
        return await _answer(lambda: self._control.find(key, text=body.text, limit=body.limit, after=body.after))

    async def aside(self, _request: Request) -> Response:
        return await _answer(self._control.aside)

    async def aside_text(self, request: Request) -> Response:
        limit, after = _number(request, "limit", 50, most=MOST_ROWS), _number(request, "after", 0)
        worst = bool(_number(request, "worst", 0))
        ask = partial(self._control.aside_text, _round(request), limit=limit or 1, after=after or 0, worst=worst)
        return await _answer(ask)

    async def dead_letters(self, request: Request) -> Response:
        limit, before = _number(request, "limit", 50, most=MOST_ROWS), _number(request, "before", None)
        text = bool(_number(request, "text", 0))
        return await _answer(lambda: self._control.dead_letters(limit=limit or 1, before=before, text=text))

    async def dead_letter(self, request: Request) -> Response:
        return await _answer(lambda: self._control.dead_letter(_named(request, "dead letter")))

    async def request_round(self, request: Request) -> Response:
        body = await self._asked(request, RoundBody)
        return await _answer(lambda: self._control.request_round(dry_run=body.dry_run), status=202)

    async def approve_round(self, request: Request) -> Response:
        return await _answer(lambda: self._control.approve_round(_round(request)), status=202)

    async def reject_round(self, request: Request) -> Response:
        return await _answer(lambda: self._control.reject_round(_round(request)))

    async def cancel_rounds(self, _request: Request) -> Response:
        return await _answer(self._control.cancel_rounds)

    async def withdraw_round(self, request: Request) -> Response:
        body = await self._asked(request, RoundBody)
        return await _answer(lambda: self._control.withdraw_round(dry_run=body.dry_run))

    async def pause_rounds(self, request: Request) -> Response:
        body = await self._asked(request, PauseBody)
        return await _answer(lambda: self._control.pause_rounds(body.reason))

    async def resume_rounds(self, _request: Request) -> Response:
        return await _answer(self._control.resume_rounds)

    async def rollback(self, request: Request) -> Response:
        body = await self._asked(request, RollbackBody)
        return await _answer(lambda: self._control.rollback(body.generation))

    async def resume(self, request: Request) -> Response:
        body = await self._asked(request, ResumeBody)
        return await _answer(lambda: self._control.resume(body.partition))

    async def forget(self, request: Request) -> Response:
        body = await self._asked(request, ForgetBody)
        key = body.named()
        return await _answer(lambda: self._control.forget(key))

    async def release_aside(self, request: Request) -> Response:
        body = await self._asked(request, AsideBody)
        return await _answer(lambda: self._control.release_aside(body.round))

    async def count_aside(self, request: Request) -> Response:
        body = await self._asked(request, CountAsideBody)
        return await _answer(lambda: self._control.count_aside(body.round, source=body.source, key=body.key))

    async def drop_aside(self, request: Request) -> Response:
        body = await self._asked(request, DropAsideBody)
        if body.is_of:
            return await _answer(lambda: self._control.drop_aside_of(body.round, source=body.source, key=body.key))
        return await _answer(lambda: self._control.drop_aside(body.round, ids=body.ids))

    async def replay_dead_letters(self, request: Request) -> Response:
        body = await self._asked(request, DeadLettersBody)
        return await _answer(lambda: self._control.replay_dead_letters(ids=body.ids))

    async def drop_dead_letters(self, request: Request) -> Response:
        body = await self._asked(request, DeadLettersBody)
        return await _answer(lambda: self._control.drop_dead_letters(ids=body.ids))


async def _answer(ask: Callable[[], Any], *, status: int = 200) -> JSONResponse:
    # Written as JSON there too: a long list would hold up who else asks.
    return await run_in_threadpool(lambda: JSONResponse(ask(), status_code=status))


def _understood(content: bytes, model: type[Body]) -> Body:
    """A body as this model of it; an empty one means every default. Raises BadRequest with the first mistake."""
    try:
        return model.model_validate(loaded(content or b"{}"))
    except ValidationError as error:
        raise BadRequest(_problem(error.errors(include_input=False, include_url=False)[0], model)) from None
    except RequestError as error:
        raise BadRequest(str(error)) from None


def _problem(details: ErrorDetails, model: type[BaseModel]) -> str:
    where = ".".join(map(str, details["loc"])) or "body"
    if details["type"] == "extra_forbidden":
        return f"{where}: there is no such field; there may be: {', '.join(model.model_fields)}"
    return f"{where}: {details['msg']}"


def _round(request: Request) -> int:
    """The round that the path names."""
    return _named(request, "round")


def _named(request: Request, what: str) -> int:
    """The number that the path names. Raises UnknownThing for what is no number of any."""
    text = str(request.path_params["number"])
    if not _is_number(text):
        raise UnknownThing(f"There is no {what} {text[:40]}.")
    return int(text)


def _is_number(text: str) -> bool:
    """Whether it is a whole number of 64 bits; `int` also takes signs, spaces and digits of other scripts."""
    return text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID)) and int(text) <= LARGEST_ID


def _number(request: Request, name: str, default: int | None, *, most: int | None = None) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not _is_number(text):
        raise BadRequest(f"`{name}` must be a whole number, got {text[:40]!r}.")
    return int(text) if most is None else min(int(text), most)


def _error(status: int, kind: str, message: str) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": {"type": kind, "message": message}}, status_code=status, headers=headers)


async def _daemon_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DaemonError)
    return _error(error.http_status, type(error).__name__, str(error))


async def _store_error(_request: Request, error: Exception) -> Response:
    log.warning("store_failed", kind=type(error).__name__, error=str(error))
    return _error(503, type(error).__name__, str(error))


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "http", error.detail)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(error.status, error.code or error.kind, str(error))


async def _unexpected_error(_request: Request, _: Exception) -> Response:
    # The server logs it with its traceback.
    return _error(500, "internal", "The daemon failed to answer; its log says why.")
