"""What tells one request from all others, here and in whatever it is handed on to."""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from serving.tracing.spans import CONTEXT_HEADERS

REQUEST_ID_HEADER: Final = "x-request-id"
GIVEN: Final = re.compile(r"[\x21-\x7e]{1,128}")
"""An id that a client or a proxy gives: it goes into headers and logs as it is."""
PASSED_ON: Final = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"}
    | CONTEXT_HEADERS
)
"""Headers that go on to an engine that is a process of its own."""
PASSED: Final = re.compile(r"[\x20-\x7e]{1,1024}")


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """One request, by its id and by what came with it.

    Attributes:
        id: the client's, or one that was made; empty for what no request asked for.
        passed_on: headers that go on to engines, by lower-case names.
    """

    id: str = ""
    passed_on: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """The trace of a request.

        Args:
            headers: as ASGI has them; an id that is too long, or not of printable ASCII, is replaced by another.
        """
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        given = named.get(REQUEST_ID_HEADER, "")
        passed_on = {name: named[name] for name in PASSED_ON & named.keys() if PASSED.fullmatch(named[name])}
        return cls(given if GIVEN.fullmatch(given) else f"req-{secrets.token_hex(12)}", passed_on)

    def within(self, carried: Mapping[str, str]) -> Self:
        """The trace of a request whose span has begun here, by what carries that on; by nothing: as it came."""
        if not carried:
            return self
        others = {name: value for name, value in self.passed_on.items() if name not in CONTEXT_HEADERS}
        return replace(self, passed_on=others | dict(carried))

    def to_engine(self) -> dict[str, str]:
        """The headers of one of its answers' requests to an engine."""
        # Engines tell their own requests by it: one of ours may be several, and clients may send an id twice.
        own = {REQUEST_ID_HEADER: f"{self.id}-{secrets.token_hex(4)}"} if self.id else {}
        return {**self.passed_on, **own}


NO_REQUEST: Final = RequestTrace()
