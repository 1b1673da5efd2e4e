"""What tests of several rooms share."""

import ssl
import time
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import httpx

T = TypeVar("T")
Facts: TypeAlias = Any
"""What an operation answers, in JSON's values; or a part: a test makes up no more of it than it looks at."""

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.25
PAUSED_SHARE = 0.1
"""Of the time waited so far: to ask a process every moment whether it is ready takes the time from it."""
PLAIN_HTTP: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that never speak TLS: to read the certificates that are trusted by default takes 30 ms for each."""


def wait_until(
    condition: Callable[[], T | Literal[False] | None], *, timeout_s: float = 60.0, what: str = "the condition"
) -> T:
    """Call `condition` until it answers something true and return that.

    Raises:
        AssertionError: it stayed false for `timeout_s` seconds.
    """
    began = time.monotonic()
    while True:
        if answer := condition():
            return answer
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise AssertionError(f"{what} did not come true within {timeout_s:.0f} s")
        time.sleep(min(max(PAUSED_SHARE * waited, SHORTEST_PAUSE_S), LONGEST_PAUSE_S))


def get(url: str, **options: Any) -> httpx.Response:
    """As `httpx.get`, over plain HTTP and without a proxy."""
    return httpx.get(url, verify=PLAIN_HTTP, trust_env=False, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """As `httpx.post`, over plain HTTP and without a proxy."""
    return httpx.post(url, verify=PLAIN_HTTP, trust_env=False, **options)
