"""Spans as OpenTelemetry's SDK makes and sends them. What can be set is set by its own variables."""

import threading
from collections.abc import Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Final, Literal, Self

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.tracing.spans import Fact, Span

KINDS: Final = {"server": trace.SpanKind.SERVER, "internal": trace.SpanKind.INTERNAL}
# Of nobody who set a name.
UNNAMED: Final = "unknown_service"
PROPAGATOR: Final = TraceContextTextMapPropagator()


class OpenTelemetrySpan:
    """See `Span`."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        context = span.get_span_context()
        self.ids: Mapping[str, str] = {}
        self.carried: Mapping[str, str] = {}
        if context.is_valid:
            self.ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
            carried: dict[str, str] = {}
            PROPAGATOR.inject(carried, trace.set_span_in_context(span, Context()))
            self.carried = carried
        self._bound = structlog.contextvars.bound_contextvars(**self.ids)

    def note(self, facts: Mapping[str, Fact | None]) -> None:
        """See `Span`."""
        self.span.set_attributes({name: fact for name, fact in facts.items() if fact is not None})

    def fail(self, kind: str) -> None:
        """See `Span`. The message of an exception stays out: it may hold what somebody wrote."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        """See `Span`."""
        self.span.end()

    def __enter__(self) -> Self:
        self._bound.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bound.__exit__(None, None, None)
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class OpenTelemetry:
    """See `Tracing`.

    Args:
        part: which of Riverkeep's processes this is.

    Raises:
        ValueError: a variable of OpenTelemetry's makes no sense.
    """

    def __init__(self, part: str) -> None:
        # At the interpreter's end it would wait for a collector that does not answer: `close` has a limit.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(f"riverkeep.{part}", version("riverkeep"))

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
        """See `Tracing`."""
        # Never the thread's own context: what is a part of what is said by who begins it.
        context = PROPAGATOR.extract(carried or {}, Context())
        if isinstance(within, OpenTelemetrySpan):
            context = trace.set_span_in_context(within.span, context)
        span = self._tracer.start_span(
            name,
            context,
            KINDS[kind],
            {fact: value for fact, value in facts.items() if value is not None},
            start_time=None if began is None else int(began * 1e9),
        )
        return OpenTelemetrySpan(span)

    def close(self, within_s: float) -> None:
        """See `Tracing`."""
        # It waits half a minute for a collector that does not answer.
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(within_s)


def _resource() -> Resource:
    """Who tells: as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else Riverkeep."""
    said = Resource.create()
    if str(said.attributes.get(SERVICE_NAME, "")).startswith(UNNAMED):
        said = said.merge(Resource({SERVICE_NAME: "riverkeep"}))
    return said
