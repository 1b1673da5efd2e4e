"""A request's body: how much of it is taken in, and what is looked at before anything is built of it.

What a stranger sends may be cheap to send and dear to check: two megabytes of `{}` in a list made a validator write a
million errors. So the number of things in a body is counted before it is validated, validation ends at the first
mistake, and long bodies are read off the event loop, one at a time.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Final, TypeVar

import anyio
import orjson
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from serving.answers.parameters import refuse_unsupported
from serving.errors import RequestError

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")

Many = Annotated[list[T], Field(fail_fast=True)]
"""A list of a request, for its shape: the first wrong item ends the check, however many there are."""

MOST_CONTAINERS: Final = 8_192
"""Objects and arrays in one body. Numbers and texts cost little and are bounded by the body's size."""
MOST_NAMES: Final = 4 * MOST_CONTAINERS
"""Names in all objects of one body."""
# Shorter bodies are read on the event loop: a thread would cost more.
LONG_BODY_BYTES: Final = 8_192
# Of the largest allowed; so much may be on its way or waiting to be read.
BODIES_AT_ONCE: Final = 32
# A text, or what is left of one at the end of a broken body: it never goes back, so it takes time in proportion.
_TEXTS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?"?', re.DOTALL)


class Bodies:
    """Takes in the bodies of one listener.

    Args:
        limit: bytes of the largest.
        timeout_s: how long one may take to arrive.
    """

    def __init__(self, *, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._held = 0
        # Not asyncio's, which is one event loop's for good: a listener may be begun anew on another.
        self._reading = anyio.Lock()

    async def read(self, request: Request, understand: Callable[[bytes], T]) -> tuple[T, int]:
        """What a request asks, and of how many bytes its body is.

        Args:
            understand: makes of the body what it asks; in another thread where it is long.

        Raises:
            RequestError: 413 too large, 408 too slow, 503 too many at once; and what `understand` raises.
            ClientDisconnect: the client went away.
        """
        body = bytearray()
        try:
            # Handed in rather than returned, so that what came before an error is taken off what is held as well.
            await self._gather(request, body)
            if len(body) < LONG_BODY_BYTES:
                return understand(bytes(body)), len(body)
            # One at a time: each of these threads holds the interpreter for long, which answers under way wait for.
            async with self._reading:
                return await run_in_threadpool(understand, bytes(body)), len(body)
        finally:
            self._held -= len(body)

    async def _gather(self, request: Request, body: bytearray) -> None:
        declared = request.headers.get("content-length", "0")
        # Twenty digits are beyond every limit; of thousands Python refuses to make a number at all.
        if declared.isdecimal() and int(declared[:20]) > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout_s), aclosing(_chunks(request)) as chunks:
                async for chunk in chunks:
                    # Both before the check, which may raise: the two have to agree when the body is given back.
                    self._held += len(chunk)
                    body += chunk
                    self._require_room(len(body))
        except TimeoutError:
            # The door ends connections that are slower still; here the client still gets an answer.
            why = f"the body did not arrive within {self._timeout_s:g} s"
            raise RequestError(why, status=408, kind="timeout_error", code="body_timeout") from None

    def _require_room(self, length: int) -> None:
        if length > self._limit:
            raise self._too_large()
        if self._held > BODIES_AT_ONCE * self._limit:
            why = "too many large requests arrive at once; try again in 1 s"
            raise RequestError(why, status=503, kind="server_error", code="too_many_bodies", retry_after_s=1)

    def _too_large(self) -> RequestError:
        return RequestError(f"the body is larger than {self._limit} bytes", status=413, code="body_too_large")


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        yield chunk


def require_json(request: Request) -> None:
    """Refuse a body that is not declared as JSON, which also keeps web pages of other origins out.

    Raises:
        RequestError: 415.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError("send the body with content-type: application/json", status=415)


def parse(body: bytes, shape: type[S]) -> S:
    """The request in a body.

    Raises:
        RequestError: it is not JSON, holds more things than any request needs, asks for what is not done here, or is
            not of this shape; names the first field at fault.
    """
    values = load_json(body)
    if isinstance(values, dict):
        # Before the shape, which passes over what it does not know: that would change answers without a word.
        refuse_unsupported(values, shape.model_fields)
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        # Without the input: an error must not echo megabytes of what a client wrote.
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise RequestError(f"{param or 'the body'}: {first['msg']}", param=param) from None


def load_json(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        RequestError: it is none, or holds more things than any request needs.
    """
    require_few(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from None


def require_few(body: bytes) -> None:
    """Refuse more objects, arrays and names than any request needs, before one of them is made.

    Raises:
        RequestError: there are more.
    """
    # Nearly every body ends here: brackets and colons of its texts included there are few.
    if _containers(body) <= MOST_CONTAINERS and body.count(b":") <= MOST_NAMES:
        return
    # A long text of code has brackets by the thousand, and makes one string.
    bare = _TEXTS.sub(b"", body)
    if _containers(bare) > MOST_CONTAINERS:
        why = f"the body holds more than {MOST_CONTAINERS} objects and arrays; send several smaller requests"
        raise RequestError(why, code="too_many_items")
    if bare.count(b":") > MOST_NAMES:
        why = f"the objects in the body have more than {MOST_NAMES} fields; send several smaller requests"
        raise RequestError(why, code="too_many_items")


def _containers(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")
