"""What tests of several rooms share."""

import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")
Facts: TypeAlias = Any
"""What an operation answers, in JSON's values; or a part: a test makes up no more of it than it looks at."""

POLL_S = 0.02


def wait_until(
    condition: Callable[[], T | Literal[False] | None], *, timeout_s: float = 60.0, what: str = "the condition"
) -> T:
    """Call `condition` until it answers something true and return that.

    Raises:
        AssertionError: it stayed false for `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:.0f} s")
        time.sleep(POLL_S)
