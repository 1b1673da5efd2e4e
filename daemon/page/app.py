"""The page as an ASGI application, in front of the interface for programs: who asks for HTML gets it, else nobody.

One address is both: a browser that is signed in sees a page, a program with the token gets the operation's JSON.
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.control.operations import OPERATIONS
from daemon.control.protocol import Control
from daemon.page.access.sessions import PageSession, Sessions
from daemon.page.desk import BY_KEY, LIVE, Desk
from daemon.page.headers import SafeHeaders
from daemon.page.metrics import PageMetrics
from daemon.page.page_lines import AS_JSON
from daemon.page.pages import PAGES
from serving.addresses import is_plain

OWN: Final = ("/sign-in", "/sign-out", "/static/", LIVE, "/act/", "/compare/", BY_KEY, "/generations/diff")
"""Beginnings of addresses that are the page's whatever is asked for."""
OPEN: Final = ("/sign-in", "/static/")
PROBES: Final = frozenset({"/metrics", *(operation.path for operation in OPERATIONS if operation.probe)})
# A link in a message opens a page without its cookie, which browsers send only with what a page from here asks for:
# this is one, and asks for the same again.
ONCE_MORE: Final = (
    '<!doctype html><html lang="en"><head><title>Riverkeep</title><meta http-equiv="refresh" content="0"></head></html>'
)


def with_page(
    interface: ASGIApp,
    control: Control,
    registry: CollectorRegistry,
    token: Callable[[], str],
    closing: Callable[[], bool] = lambda: False,
) -> "Faces":
    """The interface for programs, with the page before it for those who ask for HTML.

    Args:
        interface: answers everybody else; it asks for the token itself.
        control: answers; called in worker threads.
        registry: where attempts to sign in are counted.
        token: the admin token as it is now.
        closing: whether the service ends, so that streams of events end too.
    """
    return Faces(interface, Desk(control, PageMetrics(registry), Sessions(token), token, closing))


class Faces:
    """Lets a request to the page, or past it."""

    def __init__(self, interface: ASGIApp, desk: Desk) -> None:
        self._interface = interface
        self.desk = desk
        self._page = SafeHeaders(SignedInOnly(desk.application()))
        self._pages = [Route(page.path, desk.missing) for page in PAGES]
        self._own_answers = [Route(page.path, desk.missing) for page in PAGES if page.answer is not None]
        self._answers = [Route(operation.path, desk.missing) for operation in OPERATIONS if operation.method == "GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To a browser its page; one that is signed in may also look at answers as JSON."""
        # What is no address is the interface's to refuse: the pages' patterns would let a line's end pass.
        if scope["type"] == "http" and is_plain(scope["path"]):
            request = Request(scope)
            session = scope["page_session"] = self.desk.session_of(request)
            scope["as_json"] = self._is_own_json(request, session)
            if scope["as_json"] or self._is_for_the_page(request, session):
                await self._page(scope, receive, send)
                return
            # To look alone: what changes something is asked for with a form, or with the token.
            scope["signed_in"] = session is not None and scope["method"] in ("GET", "HEAD")
            scope["asked_by"] = "" if session is None else session.who
        await self._interface(scope, receive, send)

    def _is_own_json(self, request: Request, session: PageSession | None) -> bool:
        """Whether somebody who may look asks for JSON of an address that no operation has."""
        if session is None or request.method not in ("GET", "HEAD") or not _matches(self._own_answers, request.scope):
            return False
        return request.query_params.get("format") == AS_JSON or "text/html" not in request.headers.get("accept", "")

    def _is_for_the_page(self, request: Request, session: PageSession | None) -> bool:
        path = request.scope["path"]
        if path.startswith(OWN):
            return True
        wants_html = "text/html" in request.headers.get("accept", "")
        if not wants_html or request.method not in ("GET", "HEAD") or path in PROBES:
            return False
        if session is None:
            return True
        if _matches(self._pages, request.scope):
            return request.query_params.get("format") != AS_JSON
        return not _matches(self._answers, request.scope)


def _matches(routes: Sequence[Route], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


class SignedInOnly:
    """Sends a browser that nobody has signed in to where that is done, and back afterwards."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or send it away."""
        if scope["type"] == "http" and scope["page_session"] is None and not scope["path"].startswith(OPEN):
            await _away(Request(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _away(request: Request) -> Response:
    path, query = request.scope["path"], request.url.query
    if path == LIVE:
        return Response(status_code=401)
    if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
        return HTMLResponse(ONCE_MORE)
    # What was about to be done is asked anew by whoever signs in.
    if request.method != "GET" or path == "/" or path.startswith(("/act/", "/compare/")):
        return RedirectResponse("/sign-in", status_code=303)
    address = request.url.path + (f"?{query}" if query else "")
    return RedirectResponse(f"/sign-in?to={quote(address, safe='')}", status_code=303)
