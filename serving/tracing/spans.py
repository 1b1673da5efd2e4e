"""What a span is to those who begin one, and the one that is nothing. Imports nothing of OpenTelemetry."""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Literal, Protocol, Self

Fact = str | bool | int | float
"""What may be said of a span: names, numbers and ids; never what people wrote."""

CONTEXT_HEADERS: Final = frozenset({"traceparent", "tracestate"})
"""W3C's, by which a span is continued in another process."""


class Span(Protocol):
    """Something that has begun. As a context manager it ends with its block, and lines of the log within name it.

    Used by one thread at a time; nothing of it blocks or raises.
    """

    @property
    def ids(self) -> Mapping[str, str]:
        """What names it in a line of the log: `trace_id` and `span_id`, in hexadecimal; nothing where none is sent."""

    @property
    def carried(self) -> Mapping[str, str]:
        """Headers by which another process continues it; nothing where none is sent."""

    def note(self, facts: Mapping[str, Fact | None]) -> None:
        """Say more of it; what is None is not said."""

    def fail(self, kind: str) -> None:
        """Say that it failed, by a name: of an exception's class, or a status."""

    def end(self) -> None:
        """It ends now; once."""

    def __enter__(self) -> Self:
        """Let lines of the log name it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; where an exception leaves the block, it failed."""


class Tracing(Protocol):
    """Where spans begin. Safe between threads; nothing of it blocks but `close`."""

    def begin(
        self,
        name: str,
        facts: Mapping[str, Fact | None],
        *,
        kind: Literal["server", "internal"] = "internal",
        carried: Mapping[str, str] | None = None,
        within: Span | None = None,
        began: float | None = None,
    ) -> Span:
        """Begin a span.

        Args:
            name: of few, so that spans of one name can be compared.
            facts: what is known of it; None is not said.
            kind: server where another process asked for it.
            carried: the headers that came with it; a `traceparent` among them is continued.
            within: the span that it is a part of.
            began: when, in unix seconds; None: now.
        """

    def close(self, within_s: float) -> None:
        """Send what is left, for at most so many seconds; what begins after is not sent."""


class NoSpan:
    """Nothing is told of it."""

    ids: Mapping[str, str] = {}
    carried: Mapping[str, str] = {}

    def note(self, facts: Mapping[str, Fact | None]) -> None:
        """Nothing."""

    def fail(self, kind: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


NO_SPAN: Final = NoSpan()


class NoTracing:
    """Where no spans are wanted."""

    def begin(
        self,
        name: str,  # noqa: ARG002 - as `Tracing` has it, here and below
        facts: Mapping[str, Fact | None],  # noqa: ARG002
        *,
        kind: Literal["server", "internal"] = "internal",  # noqa: ARG002
        carried: Mapping[str, str] | None = None,  # noqa: ARG002
        within: Span | None = None,  # noqa: ARG002
        began: float | None = None,  # noqa: ARG002
    ) -> Span:
        """A span that is nothing."""
        return NO_SPAN

    def close(self, within_s: float) -> None:
        """Nothing is left."""


NO_TRACING: Final = NoTracing()
