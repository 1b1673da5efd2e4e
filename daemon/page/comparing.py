"""What forms ask of comparisons: to begin one, to call it off, to pick the better answer."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from daemon.control.arguments import LONGEST_PROMPT_BODY_BYTES, OfComparison, PickedAnswer, WantedComparison
from daemon.control.asker import asker
from daemon.control.protocol import Control
from daemon.control.reading import check_arguments, is_number, read_number
from daemon.errors import BadRequest, DaemonError
from daemon.page.access.sessions import PageSession
from daemon.page.rendering import Frame, Renderer
from daemon.page.views.comparisons import compare_form

FORM: Final = "/comparisons"
"""Where the form is, and below it each comparison."""
BEGIN: Final = "/compare/begin"
PICK: Final = "/compare/pick"
CANCEL: Final = "/compare/cancel"
TITLE: Final = "Two generations on one prompt"
COMMAND: Final = "riverkeep compare ask"
NUMBERS: Final = ("first", "second", "max_tokens", "seed")
TICKS: Final = ("blind", "chat")


class ReadOwnForm(Protocol):
    """Reads the fields of a form that a page of this session sent. Raises BadRequest, HTTPException."""

    def __call__(self, request: Request, *, most_bytes: int = ...) -> Awaitable[dict[str, str]]:
        """The fields, by name."""


class ComparisonForms:
    """The endpoints of these forms. What is refused is said where it was asked for, and nothing written is lost."""

    def __init__(self, control: Control, renderer: Renderer, read_form: ReadOwnForm) -> None:
        self._control = control
        self._renderer = renderer
        self._read_form = read_form

    async def begin(self, request: Request) -> Response:
        """Begin a comparison, and go where it is shown."""
        fields = await self._read_form(request, most_bytes=LONGEST_PROMPT_BODY_BYTES)
        asker.set(_session(request).who)
        try:
            call = wanted(fields)
            begun = await run_in_threadpool(lambda: self._control.compare(**call))
        except DaemonError as error:
            return await run_in_threadpool(partial(self._again, request, fields, error))
        return RedirectResponse(f"{FORM}/{begun['number']}", status_code=303)

    def _again(self, request: Request, fields: Mapping[str, str], error: DaemonError) -> Response:
        shown = compare_form(self._control.generations(), self._control.picks(), fields, str(error))
        frame = Frame("/generations", TITLE, command=COMMAND)
        response = self._renderer.page("compare.html", frame, shown, _session(request), status=error.http_status)
        if error.retry_after_s is not None:
            response.headers["retry-after"] = str(error.retry_after_s)
        return response

    async def pick(self, request: Request) -> Response:
        """Note which answer is the better, and go back to see whose it is."""
        fields = await self._read_form(request)
        number = _number(fields)
        call = check_arguments(PickedAnswer, {"number": number, "choice": fields.get("choice")}).call()
        return await self._done(request, lambda: self._control.pick_answer(**call), number)

    async def cancel(self, request: Request) -> Response:
        """Call a comparison off."""
        number = _number(await self._read_form(request))
        return await self._done(request, lambda: self._control.cancel_comparison(number), number)

    async def _done(self, request: Request, do: Callable[[], Any], number: int) -> Response:
        asker.set(_session(request).who)
        await run_in_threadpool(do)
        return RedirectResponse(f"{FORM}/{number}", status_code=303)


def wanted(fields: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of `Control.compare`, of what the form says. Raises BadRequest."""
    # Browsers end the lines of a text as telegraphs did.
    given: dict[str, Any] = {"prompt": fields.get("prompt", "").replace("\r\n", "\n")}
    given |= {name: _whole(name, fields[name]) for name in NUMBERS if fields.get(name, "").strip()}
    given |= {name: True for name in TICKS if fields.get(name)}
    if heat := fields.get("temperature", "").strip():
        given["temperature"] = _decimal(heat)
    return check_arguments(WantedComparison, given).call()


def _whole(name: str, text: str) -> int:
    if not is_number(text.strip()):
        raise BadRequest(f"`{name}` must be a whole number, got {text[:40]!r}.")
    return int(text)


def _decimal(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise BadRequest(f"`temperature` must be a number, got {text[:40]!r}.") from None


def _number(fields: Mapping[str, str]) -> int:
    return read_number(fields.get("number", ""), OfComparison.thing)


def _session(request: Request) -> PageSession:
    session: PageSession = request.scope["page_session"]
    return session
