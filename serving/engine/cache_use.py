"""How much of what one generation's caches may hold they hold, for the metrics."""

from serving.engine.loaded import LoadedGeneration
from serving.metrics import ServingMetrics


class CacheUse:
    """The gauges of one generation.

    Args:
        generation: whose caches they are; not held.
        metrics: where to show it.
        at_once: answers that are written together.
    """

    def __init__(self, generation: LoadedGeneration, metrics: ServingMetrics, at_once: int) -> None:
        # Bound once: this is told with every token.
        self._tokens = metrics.cache_tokens.labels(str(generation.number))
        self._ratio = metrics.cache_ratio.labels(str(generation.number))
        self._most = at_once * min(generation.context, generation.conduct.cached_up_to or generation.context)

    def show(self, held: int) -> None:
        """Show that so many tokens are held."""
        self._tokens.set(held)
        self._ratio.set(held / self._most)
