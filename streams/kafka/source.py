"""Kafka as a source of batches: assignment, positions, pauses, and what brokers do on bad days."""

import time
from collections.abc import Callable, Mapping

import structlog
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from kafka.structs import TopicPartition

from streams.backoff import Backoff
from streams.chunk import Chunk
from streams.closing import Closing
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.document import Batch, Partition, Pause
from streams.errors import MembershipTaken, NotAuthorized
from streams.kafka.assignment import Assignment, Doubt
from streams.kafka.broker_silence import Absence
from streams.kafka.client import REFUSALS
from streams.kafka.consumer import Consumer
from streams.kafka.first_position import Offsets
from streams.kafka.flood_pauses import FloodPauses
from streams.metrics import StreamsMetrics
from streams.reading import BatchBuilder
from streams.registry.client import of_settings
from streams.settings import StreamsSettings

WATCH_SECONDS = 1.0
AWAY_SECONDS = 10.0
"""Connections may come and go for so long before it counts as trouble."""
COMMIT_SECONDS = 5.0
"""How often the group is told anew even when nothing came: only a commit shows that another took the membership."""
TOPICS_SECONDS = 60.0
FIRST_TOPICS_SECONDS = 5.0
BACKOFF = Backoff(1.0, 15.0)

log = structlog.get_logger(__name__)


class KafkaSource(Closing):
    """Documents from the topics in the settings, as a member of the consumer group.

    One thread calls `poll`, `acknowledge`, `pause_all`, `resume_all` and `close`; `resume`, `lag`,
    `paused_partitions` and `assignment` may be called from any.

    Args:
        settings: with at least one topic.
        store: asked for each partition when it is assigned.
        metrics: counted into, and watched until `close`.
        clock: unix seconds, for what is said of documents and dead letters.
        monotonic: seconds, of a clock that never goes back, for every period.
        needs: what the model that is to learn from them needs.
        owner: names this replica's store, so that what another replica stored is told from what is to be read.
    """

    def __init__(
        self,
        settings: StreamsSettings,
        store: Offsets,
        metrics: StreamsMetrics,
        clock: Callable[[], float] = time.time,
        *,
        needs: RecordNeeds = TEXT_ALONE,
        owner: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        owner = owner or settings.group_instance_id or "-"
        self._registry = of_settings(settings.schema_registry, monotonic)
        self._assignment = Assignment(
            settings,
            store,
            metrics,
            needs=needs,
            owner=owner,
            registry=self._registry,
            monotonic=monotonic,
        )
        self._consumer: Consumer | None = None
        self._floods = FloodPauses(settings.budget, metrics, monotonic)
        self._all_paused: Pause | None = None
        self._failures = 0
        self._retry_at = self._watched_at = self._committed_at = self._topics_at = self._warned_at = float("-inf")
        self._absence = Absence(settings, AWAY_SECONDS, monotonic)
        self._commits_fail = False
        self._unreached = ""
        self._missing: tuple[str, ...] = ()
        self._unanswered: Mapping[tuple[str, int], str] = {}
        self._lag: Mapping[Partition, int] = {}
        self._read: frozenset[Partition] = frozenset()
        self._paused: Mapping[Partition, str] = {}
        self._unwatch = metrics.watch(self.lag, self.paused_partitions, self.missing_topics, self.unanswered)

    # what the ingest loop does

    def poll(self, timeout_s: float) -> Batch | None:
        """The next batch, or None when nothing came in time.

        To be called again within five minutes, also while everything is paused: it keeps the membership alive.
        While the broker is away it answers None.

        Args:
            timeout_s: how long to wait for records. Reaching a broker may take `connect_seconds` more.

        Raises:
            NotAuthorized: the broker refuses the credentials or the topics.
            MembershipTaken: another consumer has this one's `group_instance_id`.
            BadSecret: a password's file cannot be read.
        """
        self._connect(timeout_s)
        if self._consumer is None:
            self._absence.silent(self._unreached)
            return None
        builder = BatchBuilder(records=self._settings.batch_records, size=self._settings.batch_bytes)
        self._gather(self._consumer, builder, timeout_s)
        for part in builder.parts():
            self._floods.judge(part)
        self._watch(self._consumer)
        batch = builder.build()
        if batch is not None:
            self._metrics.count(batch)
        return batch

    def _gather(self, consumer: Consumer, builder: BatchBuilder, timeout_s: float) -> None:
        settled = True
        while True:
            consumer.hold(self._choose_held())
            chunk = self._fetch(consumer, timeout_s)
            # Before the chunk is read: a rebalance may have ended within the fetch, and taken the chunk's partition
            # away.
            self._assignment.follow(consumer, builder)
            # What could not be found is not asked for again with each chunk: a question may take seconds.
            settled = settled and self._assignment.settle(consumer, builder, self._monotonic())
            if chunk is None:
                return
            self._assignment.read(consumer, chunk, builder, self._clock())
            if builder.full:
                return
            # Only the first chunk is waited for: what lies ready joins it, and nothing keeps it from being stored.
            timeout_s = 0.0

    def acknowledge(self, batch: Batch) -> None:
        """Say that a batch is durable: the group's offsets follow, for lag tools and other replicas."""
        offsets = self._assignment.acknowledge(batch.next_offsets)
        if self._consumer is not None and offsets:
            self._consumer.commit(offsets, self._note_commit)

    def pause_all(self, why: Pause = Pause.MEMORY_FULL) -> None:
        """Let nothing come until `resume_all`; `poll` is still to be called. To be repeated for another reason."""
        self._all_paused = why

    def resume_all(self) -> None:
        """Let text come again, except from partitions paused for their dead letters."""
        self._all_paused = None

    def resume(self, partition: Partition) -> None:
        """Let a partition come again that was paused for its dead letters. Takes effect at the next poll."""
        self._floods.resume(partition)

    # what others ask

    def lag(self) -> Mapping[Partition, int]:
        """Records not yet read, by partition, as of the last poll; empty too while the broker is away: not known."""
        return self._lag

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Paused partitions and why: a `Pause`."""
        return self._paused

    def assignment(self) -> frozenset[Partition]:
        """The partitions that are read."""
        return self._read

    def unanswered(self) -> Mapping[tuple[str, int], str]:
        """Partitions (topic and number) that are not read as no broker tells where they stand; what came instead."""
        return self._unanswered

    def missing_topics(self) -> tuple[str, ...]:
        """Topics to be read that do not exist, and patterns that none matches, as of the last poll."""
        return self._missing

    @property
    def trouble(self) -> str:
        """Why nothing can come, as of the last poll: no broker answers, or no topic is there; else empty."""
        away = self._absence.trouble
        if away or len(self._missing) < len(self._settings.topics):
            return away
        return f"no topic is there to read ({', '.join(self._missing)}): create it or correct its name"

    @property
    def schemas_missing(self) -> str:
        """Why partitions wait for their schemas; empty where none does."""
        return next(iter(self._assignment.waiting().values()), "")

    def close(self, timeout_s: float = 5.0) -> None:
        """Leave the group. What was not acknowledged comes again next time."""
        # First, so that no scrape asks a source that is half closed.
        self._unwatch()
        # Prometheus' registry raises when a collector is taken out twice.
        self._unwatch = lambda: None
        self._metrics.connected.set(0)
        if self._registry is not None:
            self._registry.close()
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            try:
                consumer.close(timeout_s, self._assignment.commits())
            except KafkaError as error:
                # The store has the offsets: only lag tools see older ones until this replica or another one commits.
                log.warning("left_group_without_commit", group=self._settings.group_id, error=str(error))

    # the broker

    def _connect(self, timeout_s: float) -> None:
        if self._consumer is not None:
            return
        if (wait := self._retry_at - self._monotonic()) > 0:
            # A poll takes its time without a broker too: the loop that calls it would spin.
            time.sleep(min(wait, timeout_s))
            return
        try:
            self._consumer = Consumer(self._settings)
        except REFUSALS as error:
            # Not tried again: more failed logins may lock the account.
            raise self._refusal(error) from error
        except KafkaError as error:
            self._failures += 1
            retry_s = BACKOFF.wait(self._failures)
            self._unreached = str(error)
            self._retry_at = self._monotonic() + retry_s
            # A warning with the remedy follows when it counts as away.
            log.info("broker_not_reached_yet", retry_seconds=retry_s, error=str(error))
            return
        self._failures = 0
        # The first answer about the topics may still be on its way.
        self._topics_at = self._monotonic() + FIRST_TOPICS_SECONDS

    def _look_for_brokers(self, consumer: Consumer) -> None:
        """Note whether a broker is there.

        Raises:
            NotAuthorized: the login is refused now, or a topic may not be seen.
        """
        connected, failure = consumer.is_connected, consumer.failure
        self._metrics.connected.set(connected)
        if connected:
            self._absence.answered()
        else:
            self._absence.silent(str(failure or ""))
        # While one broker is connected, another one that refuses stops nothing.
        if not connected and isinstance(failure, REFUSALS):
            raise self._refusal(failure)
        if denied := {topic for topic in consumer.denied() if self._settings.topic(topic)}:
            raise self._refusal(TopicAuthorizationFailedError(denied))

    def _fetch(self, consumer: Consumer, timeout_s: float) -> Chunk | None:
        try:
            return consumer.poll(timeout_s)
        except NoOffsetForPartitionError:
            return None  # a new partition; it is settled next
        except OffsetOutOfRangeError as error:
            self._assignment.doubt(error.args[0], Doubt.OUT_OF_RANGE)
        except LogTruncationError as error:
            for partition, end in error.divergent_offsets.items():
                self._assignment.doubt([partition], Doubt.TRUNCATED, None if end is None else end.offset)
        except FencedInstanceIdError as error:
            raise MembershipTaken(
                f"another consumer joined group {self._settings.group_id} as "
                f"{self._settings.group_instance_id}: give each replica its own group_instance_id"
            ) from error
        except REFUSALS as error:
            raise self._refusal(error) from error
        except KafkaError as error:
            self._metrics.poll_errors.labels(type(error).__name__).inc()
            log.warning("poll_failed", kind=type(error).__name__, error=str(error))
            # An error that comes at once, poll after poll, would keep a core busy.
            time.sleep(min(timeout_s, WATCH_SECONDS))
        return None

    def _refusal(self, error: Exception) -> NotAuthorized:
        return NotAuthorized(
            f"the broker refuses {self._settings.security.username or 'this client'}: {error}; check the login, and "
            f"that it may read the topics and join group {self._settings.group_id}"
        )

    def _note_commit(self, error: Exception | None) -> None:
        first, self._commits_fail = not self._commits_fail, error is not None
        if error is None:
            return
        # The next commit covers this one, and the store knows better anyway.
        self._metrics.commit_errors.inc()
        if first:
            log.info("group_commit_failed", group=self._settings.group_id, error=str(error))

    # pauses and what is watched

    def _choose_held(self) -> set[TopicPartition]:
        """The partitions that must not come now."""
        partitions = self._assignment.partitions()
        self._floods.lift(partitions)
        held = set(partitions) if self._all_paused else self._floods.paused()
        if self._registry is not None and self._registry.rests:
            # Only while the registry rests: then they flow again, and the first record of each asks it anew.
            held |= self._assignment.waiting().keys()
        return held | self._assignment.unsettled()

    def _watch(self, consumer: Consumer) -> None:
        held = self._choose_held()
        now = self._monotonic()
        if now - self._watched_at >= WATCH_SECONDS:
            self._watched_at = now
            self._look_for_brokers(consumer)
            self._assignment.watch(consumer, held, now)
            self._look_for_topics(consumer, now)
        if now - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = now
            if offsets := self._assignment.commits():
                consumer.commit(offsets, self._note_commit)
        # Each of these is replaced whole and never changed: other threads read them without a lock.
        partitions = self._assignment.partitions()
        flooded = {
            partitions[topic_partition]: Pause.DEAD_LETTER_FLOOD
            for topic_partition in self._floods.paused()
            if topic_partition in partitions
        }
        all_paused = dict.fromkeys(partitions.values(), self._all_paused) if self._all_paused else {}
        waiting = {
            partitions[topic_partition]: Pause.SCHEMA_REGISTRY_AWAY for topic_partition in self._assignment.waiting()
        }
        self._paused = {**waiting, **all_paused, **flooded}
        self._read = frozenset(partitions.values())
        self._lag = {} if self._absence.trouble else self._assignment.lag()
        unanswered = self._assignment.unanswered()
        self._unanswered = {
            (topic_partition.topic, topic_partition.partition): why for topic_partition, why in unanswered.items()
        }

    def _look_for_topics(self, consumer: Consumer, now: float) -> None:
        if now < self._topics_at:
            return
        topics = self._settings.topics
        missing = tuple(topic.name or str(topic.pattern) for topic in topics if not consumer.has(topic))
        if missing != self._missing or now - self._warned_at >= TOPICS_SECONDS:
            self._warned_at = now
            for topic in missing:
                log.warning("topic_missing", topic=topic, remedy="create it or correct its name")
        self._missing = missing
