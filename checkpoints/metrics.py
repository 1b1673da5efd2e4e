"""Metrics of the generations on disk."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CheckpointsMetrics:
    """What publishing, verifying and removing generations counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.publish_seconds = Histogram(
            "riverkeep_checkpoint_publish_seconds",
            "Time to write one generation durably.",
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300),
            registry=registry,
        )
        self.damaged = Counter(
            "riverkeep_checkpoints_damaged",
            "Verifications that found a generation damaged.",
            registry=registry,
        )
        self.kept = Gauge("riverkeep_checkpoints_kept", "Generations on disk.", registry=registry)
        self.kept_bytes = Gauge("riverkeep_checkpoints_bytes", "Size of the generations on disk.", registry=registry)
