"""What the page counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PageMetrics:
    """Counters and gauges of the page.

    Args:
        registry: what `/metrics` shows.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sign_ins = Counter(
            "riverkeep_page_sign_ins",
            "Attempts to sign in to the page: with the right token, a wrong one, or too soon after wrong ones.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("signed_in", "wrong_token", "too_soon"):
            self.sign_ins.labels(outcome)
        self.watchers = Gauge("riverkeep_page_watchers", "Pages that are kept current by events.", registry=registry)
