"""Signing in with the admin token, and out again."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from daemon.control.asker import name_asker
from daemon.page.access.attempts import Attempts
from daemon.page.access.forms import is_from_here, local_address, read_form
from daemon.page.access.sessions import LIFE_S, Sessions
from daemon.page.metrics import PageMetrics
from daemon.page.rendering import Renderer
from serving.door.bearer import INVISIBLE

log = structlog.get_logger(__name__)

LONGEST_NAME: Final = 60
FORM: Final = "form"
SESSION: Final = "session"


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the form shows.

    Attributes:
        go_on_to: where a browser goes once it is signed in.
        form_token: also in a cookie, so that nobody else's page can sign a browser in.
        problem: why the last attempt failed; empty before one.
    """

    go_on_to: str
    form_token: str
    problem: str = ""


def cookie_name(what: str, scope: Scope) -> str:
    """A cookie's name: two services on one machine share a browser's cookies, which know no ports."""
    port = (scope.get("server") or ("", 0))[1]
    # Browsers take this prefix only of Secure cookies, which no page without TLS can then overwrite.
    return f"{'__Host-' if scope['scheme'] == 'https' else ''}riverkeep-{what}-{port}"


def sent_cookie(what: str, request: Request) -> str:
    """What a browser sends under that name; empty where nothing."""
    return request.cookies.get(cookie_name(what, request.scope), "")


class SignIn:
    """The form, and what becomes of it."""

    def __init__(self, sessions: Sessions, attempts: Attempts, metrics: PageMetrics, renderer: Renderer) -> None:
        self._sessions = sessions
        self._attempts = attempts
        self._metrics = metrics
        self._renderer = renderer

    async def show(self, request: Request) -> Response:
        """The empty form."""
        form = SignInForm(local_address(request.query_params.get("to", "/")), _form_token(request))
        return self._form(request, form)

    async def take(self, request: Request) -> Response:
        """Sign in, or say why not."""
        fields, peer = await read_form(request), _peer(request)
        form_token = sent_cookie(FORM, request)
        form = SignInForm(local_address(fields.get("to", "/")), form_token or _form_token(request))
        is_ours = compare_digest(fields.get("form_token", "").encode(), form_token.encode()) and bool(form_token)
        if not is_ours or not is_from_here(request.headers):
            return self._form(request, form, "That form was out of date. Try again.", status=403)
        if wait := self._attempts.wait_s(peer):
            self._metrics.sign_ins.labels("too_soon").inc()
            problem = f"Too many wrong tokens came from your address. Try again in {wait} s."
            return self._form(request, form, problem, status=429, headers={"retry-after": str(wait)})
        if not self._sessions.admits(fields.get("token", "").strip(INVISIBLE)):
            self._attempts.failed(peer)
            self._metrics.sign_ins.labels("wrong_token").inc()
            log.warning("page_sign_in_failed", peer=peer)
            return self._form(request, form, "That is not the admin token.", status=403)
        return self._signed_in(request, form.go_on_to, fields.get("name", ""), peer)

    def _signed_in(self, request: Request, to: str, name: str, peer: str) -> Response:
        self._attempts.succeeded(peer)
        self._metrics.sign_ins.labels("signed_in").inc()
        # An earlier session of this browser ends here: no secret from before signing in is used after it.
        self._sessions.end(sent_cookie(SESSION, request))
        who = f"{name.strip()[:LONGEST_NAME]}, by the page" if name.strip() else f"the page, from {peer or 'nowhere'}"
        response = RedirectResponse(to, status_code=303)
        _set_cookie(response, request, SESSION, self._sessions.begin(name_asker(who, peer)))
        return response

    async def out(self, request: Request) -> Response:
        """End the session of this browser."""
        self._sessions.end(sent_cookie(SESSION, request))
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(
            cookie_name(SESSION, request.scope),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    def _form(
        self,
        request: Request,
        form: SignInForm,
        problem: str = "",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        shown = SignInForm(form.go_on_to, form.form_token, problem)
        response = self._renderer.bare("sign_in.html", "Sign in", shown, status=status)
        response.headers.update(headers or {})
        _set_cookie(response, request, FORM, form.form_token)
        return response


def _form_token(request: Request) -> str:
    """The browser's own, so that two forms open side by side both count; a new one where it has none."""
    return sent_cookie(FORM, request) or secrets.token_urlsafe(32)


def _set_cookie(response: Response, request: Request, what: str, value: str) -> None:
    response.set_cookie(
        cookie_name(what, request.scope),
        value,
        max_age=round(LIFE_S),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _peer(request: Request) -> str:
    return "" if request.client is None else request.client.host
