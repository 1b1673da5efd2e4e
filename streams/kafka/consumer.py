"""kafka-python's consumer, with everything that reaches into its inside in one place."""

import re
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata, TopicPartition

from streams.chunk import Chunk
from streams.kafka.client import consumer_options, make_client
from streams.kafka.record_batches import Limits, chunked_records
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings

REQUEST_MS = 5000
"""How long one question to the broker may take beside the polls."""

JOIN_MS = 3000


class Moved(Enum):
    """What a rebalance did with a partition."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Called in kafka-python's own thread: it notes what happened and holds new partitions still, no more."""

    def __init__(self, consumer: KafkaConsumer, moves: deque[tuple[Moved, TopicPartition]]) -> None:
        self._consumer = consumer
        self._moves = moves

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for partition in assigned:
            # Until its position is known: the group's committed offset is not to be read from.
            self._consumer.pause(partition)
            self._moves.append((Moved.ASSIGNED, partition))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._moves.extend((Moved.REVOKED, partition) for partition in revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._moves.extend((Moved.LOST, partition) for partition in lost)


def _steady(coordinator: Any, subscription: Any) -> None:
    """See to it that a group comes to rest.

    kafka-python's leader forgets, when it joins anew, what the others read, and takes its metadata of these topics,
    which come while it joins or after, for a change: where joining takes long it joins for ever. And where a change is
    taken back while it joins (a broker that starts knows some topics only a moment later), it drops the join half
    done: it sends no heartbeats any more and reads on what others have been given meanwhile.
    """
    kafka_needs_rejoin = coordinator.need_rejoin

    def need_rejoin() -> bool:
        if kafka_needs_rejoin():
            coordinator.request_rejoin()
            return True
        return False

    coordinator.need_rejoin = need_rejoin
    subscription.reset_group_subscription = lambda: None


def read_in_chunks(consumer: KafkaConsumer, settings: StreamsSettings) -> None:
    """Let a consumer's polls bring `Chunk`s within the limits of the settings, instead of records."""
    limits = Limits(
        batch_bytes=settings.max_batch_bytes,
        record_bytes=settings.max_record_bytes,
        kept_bytes=settings.dead_letter_bytes,
        chunk_rows=settings.batch_records,
        chunk_bytes=settings.batch_bytes,
    )
    consumer._fetcher.PartitionRecords = chunked_records(limits)  # noqa: SLF001 - no public way


class Consumer:
    """A member of the group that reads chunks.

    Raises:
        KafkaError: the broker does not answer within `connect_seconds`, or refuses.
        BadSecret: a password's file cannot be read.
    """

    def __init__(self, settings: StreamsSettings) -> None:
        options = consumer_options(settings)
        self._consumer: Any = make_client(KafkaConsumer, options)
        self._cluster = self._consumer._cluster  # noqa: SLF001 - no public way
        for assignor in options["partition_assignment_strategy"]:
            assignor.cluster = self._cluster
        _steady(self._consumer._coordinator, self._consumer._subscription)  # noqa: SLF001 - no public way
        self._moves: deque[tuple[Moved, TopicPartition]] = deque()
        read_in_chunks(self._consumer, settings)
        self._dead_letter_topic = settings.dead_letter_topic
        self._subscribe(settings)
        # A member tells how many partitions its topics have when it joins. That can fail: a topic may be missing.
        with suppress(KafkaError):
            self.refresh_topics()

    def _subscribe(self, settings: StreamsSettings) -> None:
        listener = _Listener(self._consumer, self._moves)
        if all(topic.name for topic in settings.topics):
            self._consumer.subscribe([topic.name for topic in settings.topics], listener=listener)
            return
        # In groups, so that an alternative within one pattern ends there.
        patterns = [re.escape(topic.name) if topic.name else f"(?:{topic.pattern})" for topic in settings.topics]
        # Never the dead letters, or they would go round in a circle.
        lookahead = f"(?!{re.escape(settings.dead_letter_topic)}$)" if settings.dead_letter_topic else ""
        self._consumer.subscribe(pattern=f"^{lookahead}(?:{'|'.join(patterns)})$", listener=listener)

    def poll(self, timeout_s: float) -> Chunk | None:
        """The next chunk, of whichever partition; keeps the membership alive.

        Raises:
            KafkaError: of any kind; see the caller.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001 - no public way
        if coordinator.need_rejoin():
            # kafka-python throws away a join that ends between two polls and begins another, which makes all members
            # join again: polls shorter than a join would rebalance the group for ever.
            coordinator.poll(timeout_ms=JOIN_MS)
        # One "record" is one chunk, whose size the limits bound.
        polled: dict[TopicPartition, list[Chunk]] = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=1)
        return next((chunk for chunks in polled.values() for chunk in chunks), None)

    def moves(self) -> Iterable[tuple[Moved, TopicPartition]]:
        """What rebalances did since last asked, in order."""
        while self._moves:
            yield self._moves.popleft()

    def topic_id(self, topic: str) -> str:
        """The broker's id of a topic as last heard of; empty where it tells none or the topic is gone."""
        uuid = self._cluster.topic_id(topic)
        # Brokers without ids of topics tell the UUID of zeros.
        return str(uuid) if uuid is not None and uuid.int else ""

    def is_known(self, topic: str) -> bool:
        """Whether the topic exists, as last heard."""
        return self._cluster.partitions_for_topic(topic) is not None

    def has(self, topic: TopicSettings) -> bool:
        """Whether the topic exists, or one that its pattern matches, as last heard."""
        if topic.name:
            return self.is_known(topic.name)
        return any(topic.matches(name) for name in self._cluster.topics() - {self._dead_letter_topic})

    def refresh_topics(self) -> None:
        """Ask for the topics anew.

        Raises:
            KafkaError: the broker does not answer.
        """
        inside = self._consumer
        inside._net.run(inside._manager.wait_for, self._cluster.request_update(), REQUEST_MS)  # noqa: SLF001 - no public way

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any broker."""
        client = self._consumer._client  # noqa: SLF001 - no public way
        return any(client.connected(broker.node_id) for broker in self._cluster.brokers())

    @property
    def failure(self) -> Exception | None:
        """Why the last connection failed; None where it came about."""
        failure: Exception | None = self._consumer._client.failure  # noqa: SLF001 - no public way
        return failure

    def denied(self) -> set[str]:
        """Topics that may not be seen, as last heard."""
        return set(self._cluster.unauthorized_topics)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from there."""
        self._forget_parked(partition)
        self._consumer.seek(partition, offset)

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end of the partition as the last fetch told it."""
        offset = self._consumer.highwater(partition)
        return None if offset is None else int(offset)

    def hold(self, held: set[TopicPartition]) -> None:
        """Pause these partitions and let the others flow."""
        assigned, paused = self._consumer.assignment(), self._consumer.paused()
        self._consumer.pause(*((held & assigned) - paused))
        for partition in (paused & assigned) - held:
            self._forget_parked(partition)
            self._consumer.resume(partition)

    def _forget_parked(self, partition: TopicPartition) -> None:
        # kafka-python parks what it fetched of a paused partition, and takes it up again only where the partition
        # read last was not read to its end: else the parked one is neither read nor fetched ever again.
        fetcher = self._consumer._fetcher  # noqa: SLF001 - no public way
        fetcher._paused_partition_records.pop(partition, None)  # noqa: SLF001 - no public way
        fetcher._paused_completed_fetches.pop(partition, None)  # noqa: SLF001 - no public way

    def beginning(self, partition: TopicPartition) -> int:
        """The first offset there is.

        Raises:
            KafkaError: the broker does not answer.
        """
        offsets = self._consumer.beginning_offsets([partition], timeout_ms=REQUEST_MS)
        return self._offset(partition, offsets)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets that come next at the ends of these partitions.

        Raises:
            KafkaError: the broker does not answer.
        """
        listed = list(partitions)
        offsets = self._consumer.end_offsets(listed, timeout_ms=REQUEST_MS)
        return {partition: self._offset(partition, offsets) for partition in listed}

    def _offset(self, partition: TopicPartition, offsets: dict[TopicPartition, Any]) -> int:
        offset = offsets.get(partition)
        if offset is None:
            raise KafkaTimeoutError(f"the broker told no offset of {partition}")
        return int(offset)

    def committed(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """The group's offset.

        Raises:
            KafkaError: the broker does not answer.
        """
        return self._consumer.committed(partition, metadata=True, timeout_ms=REQUEST_MS)

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata], ended: Any) -> None:
        """Commit in the background; `ended` is called, at a later poll, with the error or None."""

        def done(_offsets: object, response: object) -> None:
            ended(response if isinstance(response, Exception) else None)

        self._consumer.commit_async(offsets, callback=done)

    def close(self, timeout_s: float, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit for the last time, leave the group and close; takes about the timeout at most."""
        # Half of the time for each of the two, so that a broker that hangs takes no more than all of it.
        milliseconds = max(1, int(timeout_s * 1000 / 2))
        try:
            if offsets:
                self._consumer.commit(offsets, timeout_ms=milliseconds)
        finally:
            # Also where the commit failed: a member that does not leave keeps its partitions from others until its
            # session ends.
            self._consumer.close(autocommit=False, timeout_ms=milliseconds)
