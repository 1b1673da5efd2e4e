"""Whether the broker can be reached and the topics read, tried without joining the consumer group."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError

from daemon.doctor import records as doctor_records
from daemon.doctor import registry
from daemon.doctor.findings import Finding
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.errors import StreamsError
from streams.kafka.client import consumer_options, kafka_in_silence, make_client, why_unreachable
from streams.kafka.start_rules import Start, first_start
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings

POLL_MS = 3_000
AWAY = "Check `streams.bootstrap_servers`, `streams.security`, and that the broker listens."
# Of a pattern's topics, rights are tried on some: there may be thousands.
TRIED_TOPICS = 3
Known = Callable[[str, int], bool]
"""Whether the memory knows a topic's partition."""


def examine(
    settings: StreamsSettings,
    needs: RecordNeeds = TEXT_ALONE,
    known: Known = lambda _topic, _number: False,
) -> list[Finding]:
    """Reach the brokers, look for each topic, and try to read it, its newest records and the group's offsets.

    Then reach the schema registry, where there is one.

    Args:
        settings: of the streams.
        needs: what the model needs of a record.
        known: which partitions are no new ones.
    """
    with kafka_in_silence():
        return [*_examine(settings, needs, known), *registry.examine(settings.schema_registry)]


def _examine(settings: StreamsSettings, needs: RecordNeeds, is_known: Known) -> list[Finding]:
    brokers = ", ".join(settings.bootstrap_servers)
    try:
        options = consumer_options(settings)
        if unreachable := why_unreachable(settings, within_s=settings.connect_seconds):
            return [Finding("broker", ok=False, detail=unreachable, remedy=AWAY)]
        consumer = _consumer(options)
    except (KafkaError, StreamsError, OSError, ValueError) as error:
        return [
            Finding(
                "broker",
                ok=False,
                detail=f"{brokers}: {_describe(error)}",
                remedy=AWAY,
            )
        ]
    try:
        return [Finding("broker", ok=True, detail=f"{brokers} answers"), *_topics(consumer, settings, needs, is_known)]
    finally:
        consumer.close()


def _consumer(options: dict[str, Any]) -> KafkaConsumer:
    """Made at the second attempt where a connection broke off: a login's refusal may be lost with it."""
    try:
        return make_client(KafkaConsumer, options)
    except KafkaConnectionError:
        return make_client(KafkaConsumer, options)


def _topics(
    consumer: KafkaConsumer, settings: StreamsSettings, needs: RecordNeeds, is_known: Known
) -> Iterator[Finding]:
    try:
        existing = set(consumer.topics())
    except KafkaError as error:
        yield Finding("topics", ok=False, detail=_describe(error), remedy="Grant DESCRIBE on the topics.")
        return
    for topic in settings.topics:
        yield from _topic(consumer, settings, topic, existing, needs)
    partitions = sorted(set(_partitions(consumer, settings, existing)))
    if partitions:
        yield from _group(consumer, settings, partitions, is_known)
    if settings.dead_letter_topic is not None:
        yield Finding(
            f"dead-letter topic {settings.dead_letter_topic}",
            ok=settings.dead_letter_topic in existing,
            detail="is there" if settings.dead_letter_topic in existing else "is not there, or may not be seen",
            remedy="Create it and grant WRITE: Riverkeep creates no topics.",
        )


def _topic(
    consumer: KafkaConsumer,
    settings: StreamsSettings,
    topic: TopicSettings,
    existing: set[str],
    needs: RecordNeeds,
) -> Iterator[Finding]:
    if topic.name is not None and topic.name not in existing:
        yield Finding(
            f"topic {topic.name}",
            ok=False,
            detail="is not there, or may not be seen",
            remedy="Create it, grant DESCRIBE and READ, or correct the name in `streams.topics`.",
        )
        return
    names = sorted(name for name in existing if topic.matches(name) and not _internal(name))
    if not names:
        # Topics that appear later are found: no failure.
        yield Finding(f"topics {topic.pattern}", ok=True, detail="no topic matches yet")
    for name in names[:TRIED_TOPICS]:
        yield from _readable(consumer, settings, topic, name, needs)


def _partitions(consumer: KafkaConsumer, settings: StreamsSettings, existing: set[str]) -> Iterator[TopicPartition]:
    """Of every topic that would be read."""
    for name in existing:
        if settings.topic(name) is not None and not _internal(name):
            yield from (TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ())


def _internal(name: str) -> bool:
    return re.match(r"__", name) is not None


def _readable(
    consumer: KafkaConsumer, settings: StreamsSettings, topic: TopicSettings, name: str, needs: RecordNeeds
) -> Iterator[Finding]:
    """Fetch at the topic's end, where the broker checks the right to read; then look at the newest records."""
    remedy = "Grant READ and DESCRIBE on the topic to this user."
    try:
        partitions = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        ends = consumer.end_offsets(partitions)
        starts = consumer.beginning_offsets(partitions)
        consumer.assign(partitions)
        for partition, end in ends.items():
            consumer.seek(partition, end)
        consumer.poll(timeout_ms=POLL_MS, max_records=1)
        ranges = {partition: (starts[partition], ends[partition]) for partition in partitions}
        newest = [doctor_records.examine(consumer, settings, topic, ranges, needs)] if ranges else []
        consumer.assign(partitions)
    except KafkaError as error:
        yield Finding(f"topic {name}", ok=False, detail=_describe(error), remedy=remedy)
        return
    records = sum(end - start for start, end in ranges.values())
    detail = f"{len(partitions)} partitions, about {records:,} records"
    yield Finding(f"topic {name}", ok=bool(partitions), detail=detail, remedy=remedy)
    yield from newest


def _group(
    consumer: KafkaConsumer, settings: StreamsSettings, partitions: list[TopicPartition], is_known: Known
) -> Iterator[Finding]:
    """The group's offsets, and what a memory that begins with them leaves out."""
    name = f"group {settings.group_id}"
    try:
        consumer.assign(partitions)
        committed = {partition: consumer.committed(partition) for partition in partitions}
        begins = consumer.beginning_offsets(partitions)
        ends = consumer.end_offsets(partitions)
    except KafkaError as error:
        remedy = "Grant READ on the consumer group to this user."
        yield Finding(name, ok=False, detail=_describe(error), remedy=remedy)
        return
    offsets = sum(offset is not None for offset in committed.values())
    yield Finding(name, ok=True, detail=f"offsets committed for {offsets} of {len(partitions)} partitions")
    new = [partition for partition in partitions if not is_known(*partition)]
    topics = {partition.topic for partition in partitions if partition not in new}
    left_out = 0
    for partition in new:
        stored = Start("", committed[partition])
        first, end = begins[partition], ends[partition]
        start = first_start(stored, settings.start, first, end, new_topic=partition.topic not in topics)
        left_out += 0 if start.missing is None else start.missing[1] - start.missing[0] + 1
    if new:
        yield _first_start(settings, left_out, len(new))


def _first_start(settings: StreamsSettings, left_out: int, partitions: int) -> Finding:
    """How many records a memory leaves out that knows nothing of these partitions yet."""
    where = f'{partitions} partitions are new to this memory: streams.start = "{settings.start}"'
    if not left_out:
        return Finding("first start", ok=True, detail=f"{where} leaves no record out")
    return Finding(
        "first start",
        ok=settings.start == "latest",
        detail=f"{where} leaves out the {left_out:,} records before it",
        remedy=f"Somebody has read them with the group {settings.group_id}. If that is no replica of this service, set "
        'a `streams.group_id` of its own, or `streams.start = "earliest"` to read them; a replica may go on.',
    )


def _describe(error: Exception) -> str:
    # Kafka's own errors begin with their name.
    name, words = type(error).__name__, str(error)
    return words if words.startswith(name) else f"{name}: {words}".removesuffix(": ")
