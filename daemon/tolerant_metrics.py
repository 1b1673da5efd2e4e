"""Metrics that show what can be read, also where one of those who are asked cannot answer."""

import time
from collections.abc import Callable, Iterable
from copy import copy

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

log = structlog.get_logger(__name__)

TELL_EVERY_SECONDS = 60.0


class TolerantRegistry(CollectorRegistry):
    """A registry in which a collector that raises takes nothing with it but its own metrics.

    `riverkeep_collector_failed` is 1 for one that did, so that what is missing is not taken for nothing to see.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._told_at: dict[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        """The metrics of every collector that answers, and which do not."""
        # As `CollectorRegistry.collect` does: a collector may be registered meanwhile.
        with self._lock:
            collectors = copy(self._collector_to_names)
        failed: set[str] = set()
        for collector in collectors:
            try:
                # All of them before any is passed on: half a family would be no answer either.
                metrics = list(collector.collect())
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be seen
                self._tell(type(collector).__name__, error)
                failed.add(type(collector).__name__)
            else:
                yield from metrics
        yield _failed_family(failed)

    def _tell(self, name: str, error: Exception) -> None:
        now = self._monotonic()
        if now - self._told_at.get(name, float("-inf")) >= TELL_EVERY_SECONDS:
            self._told_at[name] = now
            log.warning("collector_failed", collector=name, kind=type(error).__name__, error=str(error))


def _failed_family(names: Iterable[str]) -> Metric:
    family = GaugeMetricFamily(
        "riverkeep_collector_failed",
        "1 where metrics are missing from this answer, as what they are read from failed.",
        labels=["collector"],
    )
    for name in sorted(names):
        family.add_metric([name], 1.0)
    return family
