"""Metrics of the serving process.

Counters begin at 0, not at their first event, whose rise nobody would see.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# 499 among them: clients that go away have to be told from those that are answered.
CODES: Final = (200, 400, 401, 404, 405, 408, 413, 415, 429, 499, 500, 503, 504)
"""What requests are answered with."""


class ServingMetrics:
    """What answering and swapping count. Labels come from fixed sets: routes, status codes, outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests(registry)
        self._work(registry)
        self._generations(registry)
        self._begin()

    def begin_requests(self, routes: Iterable[str]) -> None:
        """Show the counters of these routes from now on."""
        for route in routes:
            self.request_seconds.labels(route)
            for code in CODES:
                self.requests.labels(route, str(code))

    def _begin(self) -> None:
        for reason in ("client_gone", "timeout"):
            self.cancelled.labels(reason)
        for direction in ("read", "written"):
            self.tokens.labels(direction)
        for outcome in ("failed", "served"):
            self.swaps.labels(outcome)
        for phase in ("compare", "load", "probe", "verify", "warm"):
            self.swap_seconds.labels(phase)

    def _requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "riverkeep_serving_requests",
            "Requests answered, by route and status code.",
            ["route", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "riverkeep_serving_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "riverkeep_serving_first_token_seconds",
            "Time from a request's admission to the queue to its first token.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.cancelled = Counter(
            "riverkeep_serving_cancelled",
            "Answers stopped before their end: the client went away, or they took too long.",
            ["reason"],
            registry=registry,
        )

    def _work(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter("riverkeep_serving_tokens", "Tokens read and written.", ["direction"], registry=registry)
        self.waiting = Gauge("riverkeep_serving_waiting", "Requests in the queue.", registry=registry)
        self.active = Gauge("riverkeep_serving_active", "Requests being answered.", registry=registry)
        self.passes = Counter("riverkeep_serving_forward_passes", "Forward passes.", registry=registry)
        self.classified = Counter("riverkeep_serving_classified_texts", "Texts classified.", registry=registry)
        self.healthy = Gauge(
            "riverkeep_serving_healthy",
            "1 while the process can go on; 0: passes fail or hang, and it is to be replaced.",
            registry=registry,
        )
        self.failures = Counter("riverkeep_serving_failures", "Forward passes that failed.", registry=registry)

    def _generations(self, registry: CollectorRegistry) -> None:
        self.generation = Gauge(
            "riverkeep_serving_generation", "The generation that new requests get; -1: none.", registry=registry
        )
        # 0 is a generation, the base.
        self.generation.set(-1)
        self.pointed = Gauge(
            "riverkeep_serving_pointed_generation",
            "The generation that the pointer names; -1: none.",
            registry=registry,
        )
        self.pointed.set(-1)
        self.loaded = Gauge("riverkeep_serving_loaded_generations", "Generations in memory.", registry=registry)
        self.swaps = Counter(
            "riverkeep_serving_swaps", "Attempts to serve another generation.", ["outcome"], registry=registry
        )
        self.swap_seconds = Histogram(
            "riverkeep_serving_swap_seconds",
            "Time to bring a generation to serve, by phase: verify, load, probe, compare, warm.",
            ["phase"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
            registry=registry,
        )
