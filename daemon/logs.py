"""Logging: events with bound fields, JSON off a terminal, and never the text of a document."""

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.types import Processor

WITHHELD_KEYS = frozenset(
    {"text", "texts", "document", "documents", "sample", "samples", "record", "records", "value", "content"}
    | {"prompt", "prompts", "completion", "message", "messages", "body", "payload", "key", "keys", "raw"}
)
"""Fields that carry, or easily come to carry, what people wrote or who they are. Numbers in them may pass."""

LONGEST_VALUE = 2_000

QUIET = {
    "kafka": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "apscheduler": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "asyncio": logging.WARNING,
    # By them OpenTelemetry sends its spans.
    "opentelemetry": logging.WARNING,
    "urllib3": logging.WARNING,
}
"""Libraries that say more than an operator can read."""

REPEAT_EVERY_S = 60.0
REPEATS_REMEMBERED = 1_000

Event = MutableMapping[str, Any]

_carried: dict[str, Any] = {}


def configure(*, level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:  # noqa: A002 - as the setting
    """Route structlog and the standard library's logging to `stream` (standard error), in one shape.

    Args:
        level: the least that is logged: debug, info, warning or error.
        format: json, pretty, or auto (pretty on a terminal).
        stream: where to; None for standard error.
    """
    target = sys.stderr if stream is None else stream
    pretty = format == "pretty" or (format == "auto" and target.isatty())
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(target)
    handler.addFilter(RepeatFilter("kafka", "uvicorn", "asyncio", "opentelemetry"))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(pretty, target.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    # In the place of the others: a reload configures again.
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def carry(**fields: Any) -> None:
    """Let every line of this process carry these fields from now on, unless it has its own; another value replaces."""
    _carried.update(fields)


def _add_carried(_logger: Any, _method: str, event: Event) -> Event:
    for name, value in _carried.items():
        event.setdefault(name, value)
    return event


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_carried,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        withhold,
    ]


def _renderers(pretty: bool, colors: bool) -> list[Processor]:
    # Tracebacks without local variables: those hold documents.
    if pretty:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def withhold(_logger: Any, _method: str, event: Event) -> Event:
    """Take out what may be a document's text, and cut what is longer than a log line should be."""
    for name, value in event.items():
        if name in WITHHELD_KEYS and not isinstance(value, (int, float, type(None))):
            event[name] = f"withheld ({type(value).__name__})"
        elif isinstance(value, str) and len(value) > LONGEST_VALUE:
            event[name] = f"{value[:LONGEST_VALUE]}… ({len(value)} characters)"
    return event


class RepeatFilter(logging.Filter):
    """Lets each message of some libraries through once a minute, with how often it came meanwhile.

    With the broker or a collector of spans away, or a crowd at the door, they repeat themselves.
    """

    def __init__(self, *libraries: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._libraries = libraries
        self._clock = clock
        self._last: dict[tuple[object, ...], float] = {}
        self._withheld: dict[tuple[object, ...], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.name.partition(".")[0] not in self._libraries:
            return True
        now, kind = self._clock(), _kind(record)
        if now - self._last.get(kind, float("-inf")) < REPEAT_EVERY_S:
            self._withheld[kind] = self._withheld.get(kind, 0) + 1
            return False
        if len(self._last) >= REPEATS_REMEMBERED:
            # All at once: what is forgotten is logged once more at worst.
            self._last.clear()
            self._withheld.clear()
        self._last[kind] = now
        if withheld := self._withheld.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage()} (and {withheld} times since it was last logged)", ()
        return True


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    """What tells messages apart: the place in the source, and that of the error; texts hold ports and counters."""
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return record.pathname, record.lineno, record.levelname, type(error), place
