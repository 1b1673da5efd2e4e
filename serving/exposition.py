"""Metrics in the format that a scraper asks for: the daemon and serving give them alike. Imports no torch.

Prometheus' text format has no place for the time at which a series began: such `_created` series would be gauges of
their own there, a third of all series for nothing. OpenMetrics has it.
"""

import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

import anyio
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

APART: Final = "engine_"
OPENMETRICS: Final = "application/openmetrics-text"
WITH_CREATED: Final = frozenset({"counter", "histogram", "summary"})


class Collector(Protocol):
    """What metrics are read off."""

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now."""


Page = tuple[bytes, str]
"""Content and content type."""


class Pages:
    """One page for all who asked before it was begun: a crowd that asks for metrics costs what one of them would.

    Args:
        make: makes the page for an `Accept` header.
        clock: monotonic seconds.
    """

    def __init__(self, make: Callable[[str], Awaitable[Page]], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        # One after the other: who asks without end keeps only others who ask for this waiting.
        self._making = anyio.Lock()
        self._begun, self._accept, self._page = -math.inf, "", (b"", "")

    async def page(self, accept: str) -> Page:
        """A page that is no older than this request."""
        asked = self._clock()
        async with self._making:
            if self._begun < asked or self._accept != accept:
                begun = self._clock()
                self._page = await self._make(accept)
                self._begun, self._accept = begun, accept
            return self._page


def expose(registry: CollectorRegistry, accept: str, of_engines: Sequence[Metric] = ()) -> tuple[bytes, str]:
    """All metrics, and the content type that they are in.

    Args:
        registry: where they are.
        accept: the request's `Accept` header. OpenMetrics is for who names it and does not rank it below plain text.
        of_engines: what other programs count; what has a name that is used here too gets `engine_` before it.
    """
    shown = _Shown([*registry.collect()], of_engines)
    shares = {kind: share for kind, share in map(_share, accept.split(",")) if share > 0}
    if OPENMETRICS in shares and shares[OPENMETRICS] >= shares.get("text/plain", 0):
        # No name needs it; the default would make an underscore of the colon in the names of engines' samples alone.
        content: bytes = openmetrics.generate_latest(shown, openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]  # it carries no types
        return content, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(_WithoutCreated(shown)), CONTENT_TYPE_PLAIN_0_0_4


def _share(offer: str) -> tuple[str, float]:
    """A media type of an `Accept` header and its share, 0 … 1; who writes nonsense gets none of it."""
    kind, *parameters = (part.strip().lower() for part in offer.split(";"))
    named = dict(parameter.partition("=")[::2] for parameter in parameters)
    try:
        return kind, float(named.get("q", 1))
    except ValueError:
        return kind, 0.0


class _Shown:
    def __init__(self, own: Sequence[Metric], of_engines: Iterable[Metric]) -> None:
        used = {metric.name for metric in own} | {sample.name for metric in own for sample in metric.samples}
        self._metrics = [*own, *(_told_apart(metric, used) for metric in of_engines)]

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _told_apart(metric: Metric, used: Collection[str]) -> Metric:
    """A metric under a name that is not used yet."""
    if metric.name not in used and not any(sample.name in used for sample in metric.samples):
        return metric
    renamed = Metric(f"{APART}{metric.name}", metric.documentation, metric.type)
    renamed.samples = [sample._replace(name=f"{APART}{sample.name}") for sample in metric.samples]
    return renamed


class _WithoutCreated:
    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            if metric.type in WITH_CREATED:
                kept = Metric(metric.name, metric.documentation, metric.type, metric.unit)
                kept.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
                yield kept
            else:
                yield metric
