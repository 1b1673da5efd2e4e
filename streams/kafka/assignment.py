"""The partitions that are read: where each one stands, and which of them is in doubt."""

import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import structlog
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from streams.chunk import Chunk
from streams.decoding.decode import Framed, decoder_by
from streams.decoding.needs import RecordNeeds
from streams.document import Gap, Partition
from streams.kafka import start_rules
from streams.kafka.consumer import Consumer, Moved
from streams.kafka.first_position import Beginnings, Begun, Offsets, Reading
from streams.metrics import StreamsMetrics
from streams.reading import BatchBuilder, PartitionReader
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat, TopicSettings

SETTLING_SECONDS = 3.0
"""When positions have been asked for so long, what is still in doubt waits for the next poll: the loop that polls is to
turn, whatever the broker does. Less than an unanswered question takes, so that the first such is the last."""
REST = 3.0
"""A question without an answer rests for so many times as long as it took, or it would take all time from reading what
comes of the other partitions: one may have no leader for days."""
BEYOND_SECONDS = 3.0
"""A new leader's end may lag for a moment; what lasts longer means that the log was cut."""
ENDS_SECONDS = 15.0
"""How often the ends of paused partitions are asked for; the others' come with what is fetched."""

log = structlog.get_logger(__name__)


class Doubt(StrEnum):
    """Why a partition's position is to be found."""

    ASSIGNED = "assigned"
    OUT_OF_RANGE = "out_of_range"
    TRUNCATED = "truncated"


class Assignment:
    """The partitions of this replica. Used by the one thread that polls.

    Args:
        settings: the topics and their formats.
        store: its offsets rule.
        metrics: counted into.
        needs: what the model that is to learn from them needs.
        owner: this replica's name in its commits.
        registry: reads framed values.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(
        self,
        settings: StreamsSettings,
        store: Offsets,
        metrics: StreamsMetrics,
        *,
        needs: RecordNeeds,
        owner: str,
        registry: Framed | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._beginnings = Beginnings(settings, store, metrics, owner=owner)
        self._metrics = metrics
        self._needs = needs
        self._owner = owner
        self._registry = registry
        self._monotonic = monotonic
        self._readings: dict[TopicPartition, Reading] = {}
        self._doubts: dict[TopicPartition, tuple[Doubt, int | None]] = {}
        self._rests_until: dict[TopicPartition, float] = {}
        self._unanswered: dict[TopicPartition, str] = {}
        self._ends_at = float("-inf")
        self._held: set[TopicPartition] = set()
        metrics.begin(topic.name for topic in settings.topics if topic.name is not None)
        for moved in Moved:
            metrics.rebalances.labels(moved.value)

    def acknowledge(self, offsets: Mapping[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Note that everything before these offsets is stored; the answer is what the group is to be told."""
        commits: dict[TopicPartition, OffsetAndMetadata] = {}
        for partition, offset in offsets.items():
            topic_partition = TopicPartition(partition.topic, partition.number)
            reading = self._readings.get(topic_partition)
            # A batch of an incarnation that another one has followed meanwhile says nothing of what is read under this
            # name.
            if reading is not None and reading.reader.partition == partition:
                reading.durable = offset
                commits[topic_partition] = self._commit(reading)
        return commits

    def commits(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the group is to be told of every partition."""
        return {topic_partition: self._commit(reading) for topic_partition, reading in self._readings.items()}

    def _commit(self, reading: Reading) -> OffsetAndMetadata:
        metadata = start_rules.metadata(reading.reader.partition.incarnation, self._owner)
        return OffsetAndMetadata(reading.durable, metadata, -1)

    def partitions(self) -> dict[TopicPartition, Partition]:
        """What is being read."""
        return {topic_partition: reading.reader.partition for topic_partition, reading in self._readings.items()}

    def unsettled(self) -> set[TopicPartition]:
        """Partitions that must not be fetched, because their position is not known."""
        return set(self._doubts)

    def unanswered(self) -> dict[TopicPartition, str]:
        """Those among them whose position the brokers did not tell when they were asked last, and what came instead."""
        return dict(self._unanswered)

    def waiting(self) -> dict[TopicPartition, str]:
        """Those whose next record cannot be read now, and why."""
        return {
            topic_partition: reading.reader.waits
            for topic_partition, reading in self._readings.items()
            if reading.reader.waits
        }

    def lag(self) -> Mapping[Partition, int]:
        """Records not yet read, by partition."""
        return {r.reader.partition: max(0, r.end - r.reader.position) for r in self._readings.values()}

    def doubt(self, partitions: Iterable[TopicPartition], why: Doubt, offset: int | None = None) -> None:
        """Note that the position is to be found anew; `offset` is where a truncated log ends."""
        for partition in partitions:
            if partition in self._readings:
                self._doubts[partition] = (why, offset)

    def follow(self, consumer: Consumer, builder: BatchBuilder) -> None:
        """Do what rebalances ask for; `settle` finds where the partitions that came stand."""
        for moved, partition in consumer.moves():
            self._metrics.begin([partition.topic])
            self._metrics.rebalances.labels(moved.value).inc()
            log.info("partition_moved", topic=partition.topic, partition=partition.partition, how=moved.value)
            # Also when it is assigned again at once: between the two another member may have read on.
            reading = self._readings.pop(partition, None)
            self._doubts.pop(partition, None)
            self._rests_until.pop(partition, None)
            self._unanswered.pop(partition, None)
            if reading is not None:
                # What was gathered and not stored is for whoever has the partition next: stored here too it would be
                # kept twice.
                builder.drop(reading.reader.partition)
            if moved is Moved.ASSIGNED:
                self._doubts[partition] = (Doubt.ASSIGNED, None)
                self._beginnings.expect(partition)

    def settle(self, consumer: Consumer, builder: BatchBuilder, now: float) -> bool:
        """Find the positions that are in doubt, as many as the time for it allows.

        Returns:
            Whether none is in doubt any more; else it is to be called again, but in a later poll.
        """
        until = self._monotonic() + SETTLING_SECONDS
        for partition in list(self._doubts):
            asked_at = self._monotonic()
            if asked_at < self._rests_until.get(partition, asked_at):
                continue
            why, offset = self._doubts.pop(partition)
            # Asked for last the next time: one that has no leader does not keep the others back.
            self._doubts[partition] = why, offset
            try:
                self._settle(consumer, builder, partition, why, offset, now)
            except KafkaError as error:
                log.warning(
                    "position_not_found", topic=partition.topic, partition=partition.partition, error=str(error)
                )
                answered_at = self._monotonic()
                self._rests_until[partition] = answered_at + REST * (answered_at - asked_at)
                self._unanswered[partition] = str(error)
            if partition not in self._doubts:
                # The broker answers: the others may be asked for at once.
                self._rests_until.clear()
                self._unanswered.pop(partition, None)
            if self._monotonic() >= until:
                break
        return not self._doubts

    def read(self, consumer: Consumer, chunk: Chunk, builder: BatchBuilder, arrived_at: float) -> None:
        """Put what a chunk holds into the builder, unless it is not what is to come next.

        Args:
            arrived_at: unix seconds; every other time here is one of `monotonic`.
        """
        topic_partition = chunk.partition
        reading = self._readings.get(topic_partition)
        if reading is None or topic_partition in self._doubts:
            return
        # A topic of the same name made anew has offsets of its own: what was fetched is not what comes next.
        if consumer.topic_id(topic_partition.topic) not in ("", reading.topic_id):
            self._doubts[topic_partition] = (Doubt.ASSIGNED, None)
            return
        reader = reading.reader
        # The client may hand over what it fetched before a seek; only what follows on is taken.
        if chunk.first != reader.position:
            consumer.seek(topic_partition, reader.position)
            return
        part = builder.part(reader.partition, reader.position)
        offset = reader.read(chunk, part, arrived_at)
        if offset is not None:
            consumer.seek(topic_partition, offset)
        # Progress is what was handed over, not what was fetched: a fetch that never comes to an end is a stall.
        reading.progress_at = self._monotonic()
        reading.end = max(reader.position, consumer.highwater(topic_partition) or 0)

    def watch(self, consumer: Consumer, held: set[TopicPartition], now: float) -> None:
        """Look after what no fetch tells: topics made anew, ends that went back, partitions that stand still."""
        for partition, reading in self._readings.items():
            position = reading.reader.position
            if consumer.topic_id(partition.topic) not in ("", reading.topic_id):
                self._doubts[partition] = (Doubt.ASSIGNED, None)
                continue
            end = consumer.highwater(partition)
            if partition in held or end is None:
                # Nothing is fetched of a held partition: its silence is no stall.
                reading.progress_at = now
                continue
            reading.end = end
            # A broker that follows may lag behind what was read already: the end must stay behind for a while.
            reading.beyond_since = (reading.beyond_since or now) if position > end else None
            if reading.beyond_since is not None and now - reading.beyond_since > BEYOND_SECONDS:
                self._doubts[partition] = (Doubt.OUT_OF_RANGE, None)
            if position >= end:
                reading.progress_at = now
            elif now - reading.progress_at > self._settings.stall_seconds:
                self._push(consumer, partition, reading, now)
        # One that has just been paused is asked for at once: no fetch tells its end any more.
        if now - self._ends_at > ENDS_SECONDS or held - self._held:
            self._ends_at = now
            self._ask_ends(consumer, held)
        self._held = held

    def _push(self, consumer: Consumer, partition: TopicPartition, reading: Reading, now: float) -> None:
        position = reading.reader.position
        self._metrics.stalls.labels(partition.topic).inc()
        log.error("partition_stalled", topic=partition.topic, partition=partition.partition, offset=position)
        # A seek also lets go of what the client has parked of the partition, where it may lie unread for ever.
        consumer.seek(partition, position)
        reading.progress_at = now

    def _ask_ends(self, consumer: Consumer, held: set[TopicPartition]) -> None:
        paused = held & self._readings.keys()
        if not paused:
            return
        try:
            for partition, end in consumer.ends(paused).items():
                self._readings[partition].end = max(self._readings[partition].end, end)
        except KafkaError as error:
            log.info("ends_not_told", error=str(error))

    def _settle(  # noqa: PLR0917  # the doubt's parts
        self,
        consumer: Consumer,
        builder: BatchBuilder,
        partition: TopicPartition,
        why: Doubt,
        offset: int | None,
        now: float,
    ) -> None:
        begun = self._where_to_begin(consumer, partition, why, offset)
        if begun is None:
            return
        self._read_from(consumer, partition, begun, now)
        if begun.gap is not None:
            _miss(builder, begun.gap, begun.offset)
        elif begun.keep_at_once:
            # A part without records: so the store learns the offset with the next transaction.
            builder.part(begun.partition, begun.offset)

    def _where_to_begin(
        self, consumer: Consumer, partition: TopicPartition, why: Doubt, offset: int | None
    ) -> Begun | None:
        reading = self._readings.get(partition)
        if reading is not None and why is not Doubt.ASSIGNED:
            # Whether the log was cut or the topic was made anew, only fresh metadata tells.
            consumer.refresh_topics()
            if consumer.topic_id(partition.topic) in ("", reading.topic_id):
                return self._beginnings.go_on(consumer, partition, reading, offset)
        return self._beginnings.begin(consumer, partition)

    def _read_from(self, consumer: Consumer, topic_partition: TopicPartition, begun: Begun, now: float) -> None:
        topic = self._settings.topic(topic_partition.topic) or TopicFormat()
        decoder = decoder_by(
            self._settings,
            topic,
            topic_partition.topic,
            needs=self._needs,
            registry=self._registry,
        )
        reader = PartitionReader(begun.partition, decoder, begun.offset, self._settings.dead_letter_bytes)
        reader.erases = isinstance(topic, TopicSettings) and topic.on_tombstone == "erase"
        self._readings[topic_partition] = Reading(reader, begun.topic_id, begun.offset, begun.offset, now)
        self._doubts.pop(topic_partition, None)
        consumer.seek(topic_partition, begun.offset)
        log.info(
            "partition_begun",
            topic=topic_partition.topic,
            partition=topic_partition.partition,
            incarnation=begun.partition.incarnation,
            offset=begun.offset,
        )


def _miss(builder: BatchBuilder, gap: Gap, next_offset: int) -> None:
    log.warning(
        "offsets_missing",
        topic=gap.partition.topic,
        partition=gap.partition.number,
        first=gap.first,
        last=gap.last,
        reason=gap.reason,
    )
    part = builder.part(gap.partition, next_offset)
    part.gaps.append(gap)
    part.next_offset = next_offset
