"""Whether there is tracing in a process: OpenTelemetry is imported where it is, and nowhere else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from serving.errors import CannotServe
from serving.tracing.settings import TracingSettings, obstacle
from serving.tracing.spans import NO_TRACING, Tracing

LAST_SPANS_S: Final = 2.0
"""How long the end of a process waits for a collector that does not answer."""


class CannotTrace(CannotServe):
    """Spans cannot be sent as it is set up; the message says what to change."""


def begin_tracing(settings: TracingSettings, part: str) -> Tracing:
    """What this process tells of itself, by the settings and by OpenTelemetry's variables.

    Args:
        settings: whether it tells anything.
        part: which of Riverkeep's processes this is: `daemon` or `serving`.

    Raises:
        CannotTrace: the extra is missing, or a variable makes no sense.
    """
    if not settings.enabled:
        return NO_TRACING
    if (found := obstacle(os.environ)) is not None:
        raise CannotTrace(f"tracing.enabled: {found[0]} {found[1]}")
    from serving.tracing.open_telemetry import OpenTelemetry  # noqa: PLC0415 - an extra, paid for by who wants it

    try:
        return OpenTelemetry(part)
    except ValueError as error:
        raise CannotTrace(f"tracing.enabled: {error}; look at the variables that begin with OTEL_") from error


@contextmanager
def traced(settings: TracingSettings, part: str) -> Iterator[Tracing]:
    """As `begin_tracing`; what is left is sent when the block ends."""
    tracing = begin_tracing(settings, part)
    try:
        yield tracing
    finally:
        tracing.close(LAST_SPANS_S)
