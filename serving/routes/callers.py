"""Who asks, and what answers them: the serving generation, or the canary, with the serving one behind it."""

import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError, TimedOut
from serving.guard import GENERATION_HEADER, error_response
from serving.routes.shadows import Shadows
from serving.traffic.choice import HEADER, Caller, read_forced
from serving.traffic.settings import CanarySettings
from serving.traffic.tally import Ticket, blames_generation

LONGEST_NAME: Final = 1024
ERRORS_FROM: Final = 400


def _nobody() -> None:
    """Nobody is told."""


def _now() -> float:
    """Seconds, on the monotonic clock."""
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Chosen:
    """What answers a request.

    Attributes:
        generation: from it the answer comes, whole.
        ticket: by which the answer is counted; None where it is not.
        fallback: what answers instead where the generation fails before anything was sent; None: the error is told.
        is_canary: whether the generation is one that is watched.
        is_shadow: whether the answer is thrown away; it must cost the others nothing.
        copy: by what a copy of the request is answered, whose answer is thrown away; None: there is none.
        by_canary: told that a canary answered the request.
        asked: when the request came, on the monotonic clock.
    """

    generation: LoadedGeneration
    ticket: Ticket | None = None
    fallback: LoadedGeneration | None = None
    is_canary: bool = False
    is_shadow: bool = False
    copy: "Chosen | None" = None
    by_canary: Callable[[], None] = _nobody
    asked: float = field(default_factory=_now)

    @property
    def spent_s(self) -> float:
        """How much of the time that an answer may take is gone: of one that stands in for another, by that one."""
        return _now() - self.asked

    @property
    def group(self) -> int | None:
        """Among which callers the answer is counted; None where it is not."""
        return None if self.ticket is None else self.ticket.group


def caller_of(request: Request, user: object, settings: CanarySettings) -> Caller:
    """Who asks: by the header that the settings name, else by `user`, else by the API key, else each request anew.

    Raises:
        RequestError: what is said of the canary may not be said, or is not understood.
    """
    forced = read_forced(request.headers.get(HEADER), has_key=request.scope["has_key"])
    if name := request.headers.get(settings.sticky_header):
        return Caller(b"header:" + name.encode()[:LONGEST_NAME], forced)
    if isinstance(user, str) and user:
        return Caller(b"user:" + user.encode()[:LONGEST_NAME], forced)
    if settings.sticky_by_key and request.scope["has_key"]:
        return Caller(b"key:" + request.headers["authorization"].encode()[:LONGEST_NAME], forced)
    return Caller(secrets.token_bytes(16), forced)


async def answered(
    chosen: Chosen, answer: Callable[[Chosen], Coroutine[Any, Any, Response]], shadows: Shadows
) -> Response:
    """A response by what was chosen; where the canary fails before anything was sent, by the serving generation."""
    if chosen.copy is not None:
        shadows.copy(partial(answer, chosen.copy))
    try:
        response = await answer(chosen)
    except RequestError as error:
        if not chosen.is_canary:
            raise
        # Who has waited as long as an answer may take is not made to wait once more.
        if chosen.fallback is None or isinstance(error, TimedOut) or not blames_generation(error):
            response = error_response(error)
            # The guard would name the serving generation.
            response.headers[GENERATION_HEADER] = str(chosen.generation.number)
            return response
        return await answer(Chosen(chosen.fallback, asked=chosen.asked))
    if response.status_code < ERRORS_FROM:
        chosen.by_canary()
    return response
