"""Answers those who are signed in: draws pages, asks before something is done and does it, tells of what goes wrong."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from daemon.control.answers.status import StatusAnswer
from daemon.control.arguments import TwoGenerations
from daemon.control.asker import HEADER, asker, name_asker
from daemon.control.how_it_stands import how_it_stands
from daemon.control.protocol import Control
from daemon.control.reading import check_arguments, read_number, read_query
from daemon.errors import BadRequest, DaemonError
from daemon.page.access.attempts import Attempts
from daemon.page.access.forms import LONGEST_KEY_FORM_BYTES, MOST_BYTES, is_from_here, read_form
from daemon.page.access.sessions import PageSession, Sessions
from daemon.page.actions import ACTIONS, Action, call_of, carry_out, confirmation
from daemon.page.addresses import TRACE
from daemon.page.change_events import ChangeEvents, digest_of_standing
from daemon.page.comparing import BEGIN, CANCEL, PICK, ComparisonForms
from daemon.page.metrics import PageMetrics
from daemon.page.page_arguments import TracePage
from daemon.page.page_lines import PageAsked, PageLine
from daemon.page.pages import PAGES, TRACE_LINE
from daemon.page.rendering import Frame, Renderer, outside
from daemon.page.sign_in import SESSION, SignIn, sent_cookie
from daemon.page.static import StaticFiles
from daemon.page.views.named import NamedView
from memory.errors import StoreError
from serving.door.bearer import bears, digest_of

log = structlog.get_logger(__name__)

BY_KEY: Final = f"{TRACE}/by-key"
"""Where the form is sent to that names a person by key: an address would end up in logs."""
LIVE: Final = "/live"
"""Where events come from that keep pages current."""
BY_ITSELF: Final = "x-riverkeep-live"
"""The header of what a page's script asks for without anybody doing anything."""
TITLES: Final = {404: "There is no such page", 403: "Not done", 409: "Not done", 503: "Not now"}

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Desk:
    """The endpoints of the page.

    Attributes:
        token: the admin token as it is now.
        closing: whether the service ends.
    """

    control: Control
    metrics: PageMetrics
    sessions: Sessions
    token: Callable[[], str]
    closing: Callable[[], bool]
    static: StaticFiles = field(default_factory=StaticFiles)
    renderer: Renderer = field(init=False)
    live: ChangeEvents = field(init=False)

    def __post_init__(self) -> None:
        self.renderer = Renderer(self.static)
        self.live = ChangeEvents(self.control.status, self.closing, self.metrics)

    def application(self) -> Starlette:
        """The routes."""
        sign_in = SignIn(self.sessions, Attempts(), self.metrics, self.renderer)
        compared = ComparisonForms(self.control, self.renderer, self._read_own_form)
        return Starlette(
            routes=[
                Route("/sign-in", sign_in.show, methods=["GET"]),
                Route("/sign-in", sign_in.take, methods=["POST"]),
                Route("/sign-out", self._from_here(sign_in.out), methods=["POST"]),
                Route("/static/{name}", self.static.answer, methods=["GET"]),
                Route(LIVE, self.watch, methods=["GET"]),
                Route(BY_KEY, self.trace_by_key, methods=["GET", "POST"]),
                # Before the pages: a generation's own page has a number there.
                Route("/generations/diff", self.diff, methods=["GET"]),
                *(Route(page.path, self._endpoint(page), methods=["GET"]) for page in PAGES),
                Route(BEGIN, compared.begin, methods=["POST"]),
                Route(PICK, compared.pick, methods=["POST"]),
                Route(CANCEL, compared.cancel, methods=["POST"]),
                Route("/act/{name}", self.confirm, methods=["GET"]),
                Route("/act/{name}", self.act, methods=["POST"]),
            ],
            exception_handlers={
                DaemonError: self._daemon_error,
                StoreError: self._store_error,
                HTTPException: self._http_error,
                Exception: self._unexpected_error,
            },
        )

    def session_of(self, request: Request) -> PageSession | None:
        """Who asks: by a cookie, or by the token itself; None where neither is good."""
        # Not what a page asks for to stay current: a tab that somebody left open would keep the session for ever.
        by_itself = BY_ITSELF in request.headers or request.scope["path"] == LIVE
        if found := self.sessions.find(sent_cookie(SESSION, request), by_itself=by_itself):
            return found
        header = request.headers.get("authorization", "").encode(errors="replace")
        if not bears(header, [digest_of(self.token())]):
            return None
        peer = "" if request.client is None else request.client.host
        return PageSession(name_asker(request.headers.get(HEADER, ""), peer), digest_of(self.token()), 0.0, 0.0)

    async def missing(self, _request: Request) -> Response:
        """Of an address that leads nowhere. Raises HTTPException."""
        raise HTTPException(404, "There is no such page.")

    def _endpoint(self, page: PageLine) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            of_path = {name: read_number(text, page.arguments.thing) for name, text in request.path_params.items()}
            fields = read_query(request.query_params.items(), page.arguments) | of_path
            call = check_arguments(page.arguments, fields).call()
            session: PageSession = request.scope["page_session"]
            asker.set(session.who)
            if request.scope["as_json"]:
                return await run_in_threadpool(self._answer, page, call)
            # Not of what a script asks for: the page that somebody opens next is the one that says it.
            is_opened = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
            notice = session.take_notice() if is_opened else ""
            return await run_in_threadpool(self._draw, page, call, session, notice)

        return endpoint

    async def trace_by_key(self, request: Request) -> Response:
        """The page of a person whose key a form names."""
        if request.method != "POST":
            return RedirectResponse(TRACE, status_code=303)
        fields = await self._read_own_form(request, most_bytes=LONGEST_KEY_FORM_BYTES)
        if not (key := fields.get("key", "")):
            raise BadRequest("`key` is empty: write the key of the person's documents.")
        call = TracePage().call() | {"key": key}
        return await run_in_threadpool(self._draw, TRACE_LINE, call, request.scope["page_session"], "")

    def _answer(self, page: PageLine, call: dict[str, Any]) -> Response:
        assert page.answer is not None
        return JSONResponse(page.answer(PageAsked(self.control, self.control.status(), call)))

    def _draw(self, page: PageLine, call: dict[str, Any], session: PageSession, notice: str) -> Response:
        status = self.control.status()
        shown = page.view(PageAsked(self.control, status, call))
        frame = Frame(
            path=page.tab,
            title=page.title.format_map(call),
            needs=_needs(status),
            command=page.commands(call),
            json=page.json(call),
            live=f"{LIVE}?since={digest_of_standing(status)}" if page.is_live else "",
        )
        if not isinstance(shown, NamedView):
            return self.renderer.page(page.template, frame, shown, session, notice=notice)
        frame = replace(frame, title=outside(shown.title).text, command=shown.command, json=shown.json)
        return self.renderer.page(page.template, frame, shown, session, status=shown.status, notice=notice)

    async def watch(self, request: Request) -> Response:
        """The stream of events by which pages are kept current."""
        session: PageSession = request.scope["page_session"]
        by_cookie = bool(sent_cookie(SESSION, request))
        # A browser that comes back says what it heard last; one that comes first has the page's own word.
        since = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return self.live.answer(lambda: not by_cookie or self.sessions.is_alive(session), since)

    async def diff(self, request: Request) -> Response:
        """From a form to the address of what it asks for. Raises UnknownThing."""
        first, second = (
            read_number(request.query_params.get(name, "").strip(), TwoGenerations.thing)
            for name in ("first", "second")
        )
        return RedirectResponse(f"/generations/{first}/diff/{second}", status_code=303)

    async def confirm(self, request: Request) -> Response:
        """Ask whether somebody is sure, and say what will happen."""
        return await self._ask(request, dict(request.query_params))

    async def act(self, request: Request) -> Response:
        """Do what a form asks for, and go on to where that shows; a first step only asks."""
        session: PageSession = request.scope["page_session"]
        action = _action(request)
        longest = LONGEST_KEY_FORM_BYTES if action.of_a_person else MOST_BYTES
        fields = await self._read_own_form(request, most_bytes=longest)
        if fields.get("step") != "do":
            return await self._ask(request, fields)
        asker.set(session.who)
        try:
            call = call_of(action, fields)
            session.notice = await run_in_threadpool(carry_out, action, self.control, call)
        except DaemonError as error:
            return await self._ask(request, fields, problem=str(error), status=error.http_status)
        return RedirectResponse(action.back.format_map(call), status_code=303)

    async def _ask(self, request: Request, fields: dict[str, str], *, problem: str = "", status: int = 200) -> Response:
        shown = await run_in_threadpool(confirmation, _action(request), self.control, fields, problem)
        frame = Frame(path="", title=shown.title, command=shown.command)
        return self.renderer.page("confirm.html", frame, shown, request.scope["page_session"], status=status)

    def _from_here(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            await self._read_own_form(request)
            return await endpoint(request)

        return checked

    async def _read_own_form(self, request: Request, *, most_bytes: int = MOST_BYTES) -> dict[str, str]:
        """The fields of a form that a page of this session sent. Raises BadRequest, HTTPException."""
        session: PageSession = request.scope["page_session"]
        fields = await read_form(request, most_bytes=most_bytes)
        # Whoever sends the token itself is no browser that somebody else's page could have led here.
        by_token = not sent_cookie(SESSION, request) and "authorization" in request.headers
        if not by_token and not (is_from_here(request.headers) and session.owns(fields.get("form_token", ""))):
            raise HTTPException(
                403, "This form did not come from a page of yours, or is out of date: nothing was done."
            )
        return fields

    async def _daemon_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, DaemonError)
        return self._problem(request, error.http_status, str(error), type(error).__name__)

    async def _store_error(self, request: Request, error: Exception) -> Response:
        log.warning("store_failed", kind=type(error).__name__, error=str(error))
        return self._problem(request, 503, str(error), type(error).__name__)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._problem(request, error.status_code, error.detail, "http")

    async def _unexpected_error(self, request: Request, _: Exception) -> Response:
        # The server logs it with its traceback.
        return self._problem(request, 500, "The page could not be drawn; the daemon's log says why.", "internal")

    def _problem(self, request: Request, status: int, words: str, kind: str) -> Response:
        title, session = TITLES.get(status, "That did not work"), request.scope["page_session"]
        if request.scope["as_json"]:
            return JSONResponse({"error": {"type": kind, "message": words}}, status_code=status)
        if session is None:
            return self.renderer.bare("problem_bare.html", title, words, status=status)
        return self.renderer.page("problem.html", Frame("", title), words, session, status=status)


def _action(request: Request) -> Action:
    """What an address names. Raises HTTPException."""
    action = ACTIONS.get(request.path_params["name"])
    if action is None:
        raise HTTPException(404, "There is no such action.")
    return action


def _needs(status: StatusAnswer) -> int:
    """How many things wait for a person."""
    return sum(need.waits for need in how_it_stands(status).needs)
