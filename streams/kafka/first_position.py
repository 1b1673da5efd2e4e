"""Where reading a partition begins, and where it goes on when its log is not what it was.

Which partitions those are is decided in `assignment`; the rules, without a broker, stand in `start_rules`.
"""

from dataclasses import dataclass
from typing import Protocol

import structlog
from kafka.structs import TopicPartition

from streams.document import Gap, GapReason, Partition
from streams.kafka import start_rules
from streams.kafka.consumer import Consumer
from streams.metrics import StreamsMetrics
from streams.reading import PartitionReader
from streams.settings import StreamsSettings

UNREAD_REMEDY = (
    "another replica of the group keeps them, or nobody does: to read them, stop, move state_dir away, and begin anew "
    'with streams.start = "earliest" or with a streams.group_id that nobody had'
)

log = structlog.get_logger(__name__)


class Offsets(Protocol):
    """What a store knows of partitions. Asked in the thread that polls; answers at once."""

    def next_offset(self, topic: str, number: int, incarnation: str) -> int | None:
        """The offset to read next; None: it knows nothing of it."""

    def knows(self, topic: str) -> bool:
        """Whether it knows any partition of the topic."""

    def latest_incarnation(self, topic: str, number: int) -> str | None:
        """The incarnation that was read last; None: it knows nothing of the partition."""


@dataclass(slots=True)
class Reading:
    """A partition that is read.

    Attributes:
        topic_id: the broker's id when reading began.
        durable: the offset after the last that is known to be stored.
        end: the partition's end as last heard of.
        progress_at: when something came last, or nothing was to come.
        beyond_since: since when the position is beyond the end that the broker tells.
    """

    reader: PartitionReader
    topic_id: str
    durable: int
    end: int
    progress_at: float
    beyond_since: float | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A partition to be read from now on.

    Attributes:
        offset: where it begins.
        gap: what is passed over.
        keep_at_once: whether the store is to know the offset before a record comes: begun again, it would begin later.
    """

    partition: Partition
    topic_id: str
    offset: int
    gap: Gap | None = None
    keep_at_once: bool = False


class Beginnings:
    """Where partitions begin that this replica is given. Used by the one thread that polls.

    Args:
        store: its offsets rule.
        owner: this replica's name in its commits.
    """

    def __init__(self, settings: StreamsSettings, store: Offsets, metrics: StreamsMetrics, *, owner: str) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._owner = owner
        self._begun: dict[TopicPartition, str] = {}
        self._topics: set[str] = set()
        self._of_new_topics: set[TopicPartition] = set()

    def expect(self, assigned: TopicPartition) -> None:
        """Note a partition that was just assigned: nothing may ever have been read of its topic."""
        if assigned.topic not in self._topics and not self._store.knows(assigned.topic):
            # Noted now, not when it begins: by then another of its partitions may have begun, and the topic would seem
            # old.
            self._of_new_topics.add(assigned)

    def begin(self, consumer: Consumer, topic_partition: TopicPartition) -> Begun | None:
        """Where to begin with a partition that was assigned, or whose topic was made anew; None: not known yet.

        Raises:
            KafkaError: no broker tells.
        """
        if not consumer.topic_id(topic_partition.topic):
            # A rebalance may be ahead of the topic's metadata, and a guess would read everything again.
            consumer.refresh_topics()
            if not consumer.is_known(topic_partition.topic):
                return None
        topic_id = consumer.topic_id(topic_partition.topic)
        group = consumer.committed(topic_partition)
        committed = None if group is None else start_rules.read_commit(group.offset, group.metadata)
        start = start_rules.start(
            topic_id,
            lambda incarnation: self._store.next_offset(topic_partition.topic, topic_partition.partition, incarnation),
            committed,
            self._owner,
        )
        stored = self._store.latest_incarnation(topic_partition.topic, topic_partition.partition)
        if stored is None:
            start = self._first_start(consumer, topic_partition, start)
        # The surest witness first: this process, then whoever committed, then the store, which may not have had the
        # partition last.
        earlier = self._begun.get(topic_partition) or (committed and committed.incarnation) or stored
        if earlier and start_rules.topic_id_of(earlier) != topic_id:
            self._metrics.made_anew.labels(topic_partition.topic).inc()
            log.warning(
                "topic_made_anew",
                topic=topic_partition.topic,
                partition=topic_partition.partition,
                before=earlier,
                now=topic_id,
            )
        offset = consumer.beginning(topic_partition) if start.offset is None else start.offset
        partition = Partition(topic_partition.topic, topic_partition.partition, start.incarnation)
        gap = None if start.missing is None else Gap(partition, *start.missing)
        keep_at_once = gap is None and stored is None and self._settings.start == "latest"
        self._note(topic_partition, partition)
        return Begun(partition, topic_id, offset, gap, keep_at_once)

    def go_on(
        self, consumer: Consumer, topic_partition: TopicPartition, reading: Reading, divergent: int | None
    ) -> Begun:
        """Where the broker's log allows to go on: after what retention deleted, or anew in a log that was cut.

        Args:
            divergent: where the broker says that its log parts from what was read.

        Raises:
            KafkaError: no broker tells.
        """
        partition, position = reading.reader.partition, reading.reader.position
        beginning = consumer.beginning(topic_partition)
        end = max(consumer.ends([topic_partition])[topic_partition], consumer.highwater(topic_partition) or 0)
        if divergent is None and beginning <= position <= end:
            begun = Begun(partition, reading.topic_id, position)
        elif divergent is None and position < beginning:
            gap = Gap(partition, position, beginning - 1, GapReason.RETENTION)
            begun = Begun(partition, reading.topic_id, beginning, gap)
        else:
            self._metrics.made_anew.labels(topic_partition.topic).inc()
            log.warning(
                "log_was_cut",
                topic=topic_partition.topic,
                partition=topic_partition.partition,
                offset=position,
                end=end,
            )
            anew = Partition(
                topic_partition.topic, topic_partition.partition, start_rules.following(partition.incarnation)
            )
            # Up to where the logs part everything was read, under the incarnation before.
            begun = Begun(anew, reading.topic_id, beginning if divergent is None else max(beginning, divergent))
        self._note(topic_partition, begun.partition)
        return begun

    def _first_start(
        self, consumer: Consumer, topic_partition: TopicPartition, start: start_rules.Start
    ) -> start_rules.Start:
        """Where to begin with a partition of which the memory knows nothing, and a word on what lies before."""
        begins, ends = consumer.beginning(topic_partition), consumer.ends([topic_partition])[topic_partition]
        new_topic = topic_partition in self._of_new_topics
        first = start_rules.first_start(start, self._settings.start, begins, ends, new_topic=new_topic)
        if first.missing is not None:
            log.warning(
                "records_before_the_start_are_not_read",
                topic=topic_partition.topic,
                partition=topic_partition.partition,
                records=first.missing[1] - first.missing[0] + 1,
                start=self._settings.start,
                group=self._settings.group_id,
                remedy=UNREAD_REMEDY,
            )
        return first

    def _note(self, topic_partition: TopicPartition, partition: Partition) -> None:
        self._begun[topic_partition] = partition.incarnation
        self._topics.add(topic_partition.topic)
        self._of_new_topics.discard(topic_partition)
