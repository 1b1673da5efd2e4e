"""Metrics of the serving process.

Counters begin at 0, not at their first event, whose rise nobody would see.
"""

import time
from collections.abc import Iterable
from importlib.metadata import version
from platform import python_version
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.keys.metrics import KeyMetrics

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
LENGTH_BUCKETS: Final = (16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144)
DIRECTIONS: Final = ("read", "written")
# 499 among them: clients that go away have to be told from those that are answered.
CODES: Final = (200, 400, 401, 404, 405, 408, 413, 415, 429, 499, 500, 501, 503, 504)
"""What requests are answered with."""
ROLES: Final = ("serving", "canary", "shadow")
"""What a generation may be while another is watched."""


class _Numbered(Protocol):
    @property
    def number(self) -> int:
        """The generation's."""


class Answered(Protocol):
    """A piece of work whose times are counted.

    Attributes:
        submitted: when, on the monotonic clock.
        trial: it tries a generation that does not serve yet.
    """

    submitted: float
    trial: bool

    @property
    def generation(self) -> _Numbered:
        """What answers it."""


class ServingMetrics:
    """What answering and swapping count.

    Labels come from fixed sets: routes, status codes, outcomes; and the generations that are in memory, whose series
    begin and go with them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        Gauge(
            "riverkeep_serving_build_info",
            "1, by the version of Riverkeep and of Python that the serving process runs.",
            ["version", "python"],
            registry=registry,
        ).labels(version("riverkeep"), python_version()).set(1)
        self._requests(registry)
        self._answers(registry)
        self._work(registry)
        self._generations(registry)
        self.keys = KeyMetrics(registry)
        self._begin()

    def begin_requests(self, routes: Iterable[str]) -> None:
        """Show the counters of these routes from now on."""
        for route in routes:
            self.request_seconds.labels(route)
            for code in CODES:
                self.requests.labels(route, str(code))

    def begin_generation(self, number: int) -> None:
        """Show what is counted of a generation from now on."""
        for direction in DIRECTIONS:
            self.tokens.labels(direction, str(number))
        for metric in self._of_generations():
            metric.labels(str(number))

    def end_generation(self, number: int) -> None:
        """Show nothing of a generation any more: nothing will be counted of it."""
        for direction in DIRECTIONS:
            self.tokens.remove(direction, str(number))
        for metric in self._of_generations():
            metric.remove(str(number))

    def left_queue(self, job: "Answered") -> None:
        """Count a request that is begun now; of trials nothing is counted, here and below."""
        if not job.trial:
            self.queue_seconds.labels(str(job.generation.number)).observe(time.monotonic() - job.submitted)

    def first_token(self, job: "Answered") -> None:
        """Count the first token of an answer."""
        if not job.trial:
            self.first_token_seconds.labels(str(job.generation.number)).observe(time.monotonic() - job.submitted)

    def _of_generations(self) -> tuple[Gauge | Histogram, ...]:
        """What has the generation as its only label."""
        times = (self.first_token_seconds, self.output_token_seconds, self.queue_seconds, self.prompt_tokens)
        return (*times, self.cache_tokens, self.cache_ratio)

    def _begin(self) -> None:
        for reason in ("client_gone", "timeout"):
            self.cancelled.labels(reason)
        for outcome in ("failed", "served"):
            self.swaps.labels(outcome)
        for role in ROLES:
            for outcome in ("answered", "failed"):
                self.watched_answers.labels(role, outcome)
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
        self.cancelled = Counter(
            "riverkeep_serving_cancelled",
            "Answers stopped before their end: the client went away, or they took too long.",
            ["reason"],
            registry=registry,
        )

    def _answers(self, registry: CollectorRegistry) -> None:
        self.first_token_seconds = Histogram(
            "riverkeep_serving_first_token_seconds",
            "Time from a request's admission to the queue to its first token, by generation.",
            ["generation"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.output_token_seconds = Histogram(
            "riverkeep_serving_output_token_seconds",
            "Time per token of an answer after its first, the mean of each answer that came to its end, by generation.",
            ["generation"],
            buckets=TOKEN_BUCKETS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "riverkeep_serving_queue_seconds",
            "Time from a request's admission to the queue until it is begun, by generation.",
            ["generation"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.prompt_tokens = Histogram(
            "riverkeep_serving_prompt_tokens",
            "Tokens of each prompt, or of each request's texts, by generation.",
            ["generation"],
            buckets=LENGTH_BUCKETS,
            registry=registry,
        )
        self.tokens = Counter(
            "riverkeep_serving_tokens",
            "Tokens read and written, by generation.",
            ["direction", "generation"],
            registry=registry,
        )

    def _work(self, registry: CollectorRegistry) -> None:
        self.cache_tokens = Gauge(
            "riverkeep_serving_cache_tokens",
            "Tokens that the builtin engine's caches of keys and values hold, padding included, by generation.",
            ["generation"],
            registry=registry,
        )
        self.cache_ratio = Gauge(
            "riverkeep_serving_cache_ratio",
            "Those as a share of what they may hold: max_batch answers of the model's whole context.",
            ["generation"],
            registry=registry,
        )
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
        self.canary = Gauge(
            "riverkeep_serving_canary_generation",
            "The generation that is watched in traffic, once it answers; -1: none.",
            registry=registry,
        )
        self.canary.set(-1)
        self.watched_answers = Counter(
            "riverkeep_serving_watched_answers",
            "Answers while a generation is watched, by which of the two gave them, that count in the comparison.",
            ["role", "outcome"],
            registry=registry,
        )
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
