"""What streams count. State that changes by itself (lag, pauses) is read when it is scraped.

Counters begin at 0, not at their first event, whose rise nobody would see.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.document import Batch, GapReason, Partition, Reason

TOPICS_BEGUN = 100
"""Of so many topics every counter is there from the start; of a pattern's thousands, with its first event."""


class StreamsMetrics:
    """Counters of the streams room, and gauges that a source fills in at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._begun: set[str] = set()
        self.records = Counter(
            "riverkeep_consumed_records",
            "Records read, dead letters among them.",
            ["topic"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "riverkeep_dead_letters",
            "Records not understood or not kept, since the process started.",
            ["topic", "reason"],
            registry=registry,
        )
        self.missing_offsets = Counter(
            "riverkeep_missing_offsets", "Offsets that never came.", ["topic", "reason"], registry=registry
        )
        self.rebalances = Counter(
            "riverkeep_partitions_moved",
            "Partitions that came or went in rebalances.",
            ["event"],
            registry=registry,
        )
        self.floods = Counter(
            "riverkeep_dead_letter_floods",
            "Partitions paused for too many dead letters.",
            ["topic"],
            registry=registry,
        )
        self.poll_errors = Counter(
            "riverkeep_poll_errors", "Polls that failed, by Kafka's error.", ["error"], registry=registry
        )
        self.commit_errors = Counter(
            "riverkeep_commit_errors", "Commits to the consumer group that failed.", registry=registry
        )
        self.stalls = Counter(
            "riverkeep_stalled_partitions",
            "Partitions read anew because nothing came though there was something.",
            ["topic"],
            registry=registry,
        )
        self.made_anew = Counter(
            "riverkeep_partitions_made_anew",
            "Partitions begun under another incarnation: the topic was made anew, or its log was cut.",
            ["topic"],
            registry=registry,
        )
        self.published = Counter(
            "riverkeep_dead_letters_published", "Dead letters acknowledged by their topic.", registry=registry
        )
        self.connected = Gauge("riverkeep_broker_connected", "1 while the group's broker answers.", registry=registry)

    def begin(self, topics: Iterable[str]) -> None:
        """Show the counters of these topics from now on."""
        for topic in topics:
            if topic in self._begun or len(self._begun) >= TOPICS_BEGUN:
                continue
            self._begun.add(topic)
            for counter in (self.records, self.floods, self.stalls, self.made_anew):
                counter.labels(topic)
            for reason in Reason:
                self.dead_letters.labels(topic, reason)
            for gap in GapReason:
                self.missing_offsets.labels(topic, gap)

    def count(self, batch: Batch) -> None:
        """Count what a poll brought."""
        records: dict[str, int] = {}
        for document in batch.documents:
            topic = document.partition.topic
            records[topic] = records.get(topic, 0) + 1
        for letter in batch.dead_letters:
            topic = letter.partition.topic
            records[topic] = records.get(topic, 0) + 1
            self.dead_letters.labels(topic, letter.reason).inc()
        for topic, number in records.items():
            self.records.labels(topic).inc(number)
        for gap in batch.gaps:
            self.missing_offsets.labels(gap.partition.topic, gap.reason).inc(gap.last - gap.first + 1)

    def watch(
        self,
        lag: Callable[[], Mapping[Partition, int]],
        paused: Callable[[], Mapping[Partition, str]],
        missing: Callable[[], Iterable[str]],
        unanswered: Callable[[], Iterable[tuple[str, int]]],
    ) -> Callable[[], None]:
        """Show what a source tells of its topics and partitions at each scrape; the answer ends that."""
        collector = _SourceCollector(lag, paused, missing, unanswered)
        self._registry.register(collector)
        return lambda: self._registry.unregister(collector)


class _SourceCollector(Collector):
    def __init__(
        self,
        lag: Callable[[], Mapping[Partition, int]],
        paused: Callable[[], Mapping[Partition, str]],
        missing: Callable[[], Iterable[str]],
        unanswered: Callable[[], Iterable[tuple[str, int]]],
    ) -> None:
        self._lag = lag
        self._paused = paused
        self._missing = missing
        self._unanswered = unanswered

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily(
            "riverkeep_consumer_lag_records",
            "Records in a partition that are not yet read.",
            labels=["topic", "partition"],
        )
        for partition, records in self._lag().items():
            lag.add_metric([partition.topic, str(partition.number)], records)
        yield lag
        paused = GaugeMetricFamily(
            "riverkeep_consumer_paused",
            "1 for each partition that is paused, and why.",
            labels=["topic", "partition", "reason"],
        )
        for partition, reason in self._paused().items():
            paused.add_metric([partition.topic, str(partition.number), reason], 1)
        yield paused
        missing = GaugeMetricFamily(
            "riverkeep_topic_missing",
            "1 for each topic to be read that does not exist, or pattern that no topic matches.",
            labels=["topic"],
        )
        for topic in self._missing():
            missing.add_metric([topic], 1)
        yield missing
        unanswered = GaugeMetricFamily(
            "riverkeep_partition_unanswered",
            "1 for each partition that is not read because no broker tells where it stands.",
            labels=["topic", "partition"],
        )
        for topic, number in self._unanswered():
            unanswered.add_metric([topic, str(number)], 1)
        yield unanswered
