"""What a person is to confirm before it is done: a code for one call, once, for a few minutes."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

VALID_S: Final = 300.0
MOST: Final = 16
"""Codes that are out at once; the oldest makes room."""


class Confirmations:
    """Codes that are out, each for one call with its very arguments.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._out: dict[str, tuple[str, float]] = {}

    def give(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A code for a call."""
        while len(self._out) >= MOST:
            del self._out[next(iter(self._out))]
        code = secrets.token_hex(4)
        self._out[code] = (_same(name, arguments), self._clock() + VALID_S)
        return code

    def take(self, code: str, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether the code is for this call and still holds; it holds no longer, whatever it was for."""
        call, until = self._out.pop(code, ("", 0.0))
        return call == _same(name, arguments) and self._clock() < until


def _same(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([name, arguments], sort_keys=True)
