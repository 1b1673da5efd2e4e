"""What each key does, for the metrics: a key's series come with it, and go when it is revoked."""

from collections.abc import Collection
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from serving.keys.limits import LIMITS

CODE_CLASSES: Final = ("2xx", "4xx", "5xx")
DIRECTIONS: Final = ("read", "written")


class KeyMetrics:
    """Counters by the keys' names, which are as many as the file has.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "riverkeep_serving_key_requests",
            "Requests for answers and of feedback, by the name of the key that asked and the class of the status code.",
            ["key", "code"],
            registry=registry,
        )
        self._tokens = Counter(
            "riverkeep_serving_key_tokens",
            "Tokens read and written for each key.",
            ["key", "direction"],
            registry=registry,
        )
        self._refusals = Counter(
            "riverkeep_serving_key_refusals",
            "Requests that were refused as a key had reached one of its limits, by limit.",
            ["key", "limit"],
            registry=registry,
        )
        self._families = (
            (self._requests, CODE_CLASSES),
            (self._tokens, DIRECTIONS),
            (self._refusals, LIMITS),
        )
        self._names: frozenset[str] = frozenset()

    def show(self, names: Collection[str]) -> None:
        """Show what these keys do from now on, and nothing of others."""
        known = frozenset(names)
        for family, values in self._families:
            for value in values:
                for name in self._names - known:
                    family.remove(name, value)
                for name in known - self._names:
                    family.labels(name, value)
        self._names = known

    def requested(self, name: str, status: int) -> None:
        """Count a request that was answered."""
        # Its answer may end after it was revoked: to count it would bring its series back.
        if name in self._names:
            self._requests.labels(name, f"{status // 100}xx").inc()

    def used(self, name: str, *, read: int, written: int) -> None:
        """Count the tokens of answers."""
        if name in self._names:
            self._tokens.labels(name, "read").inc(read)
            self._tokens.labels(name, "written").inc(written)

    def refused(self, name: str, limit: str) -> None:
        """Count a request that was refused."""
        if name in self._names:
            self._refusals.labels(name, limit).inc()
