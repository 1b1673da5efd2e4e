"""Whether the newest records of a topic can be understood: decoded as the service would, and none is kept."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext

import orjson
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from daemon.doctor.findings import Finding
from streams.chunk import Oversized, Row
from streams.decoding import framing
from streams.decoding.decode import Decoder, decoder_by
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.errors import RegistryAway
from streams.kafka.consumer import read_in_chunks
from streams.registry.client import SchemaRegistry, of_settings
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings

NEWEST = 5
LOOKED_BACK = 20
"""Offsets before a partition's end: some hold no record (markers, compaction)."""
PARTITIONS = 8
READING_SECONDS = 5.0
POLL_MS = 500
FIELDS_NAMED = 20
NAME_CHARACTERS = 40
REGISTRY = "Mend what is named; until then the partition waits, and nothing of it is lost."


def examine(
    consumer: KafkaConsumer,
    settings: StreamsSettings,
    topic: TopicSettings,
    ranges: dict[TopicPartition, tuple[int, int]],
    needs: RecordNeeds,
) -> Finding:
    """Decode up to five of the newest records of a topic.

    Args:
        consumer: in no group; it is left assigned to some of the partitions.
        settings: of the streams.
        topic: the settings for that topic.
        ranges: by partition of one topic: its first offset and its end.
        needs: of the model.

    Raises:
        KafkaError: the records cannot be read.
    """
    name = next(iter(ranges)).topic
    rows = _newest(consumer, settings, ranges)
    if not rows:
        empty = all(first >= end for first, end in ranges.values())
        detail = "none yet: the topic is empty" if empty else "none came in time: not tried"
        return Finding(f"records of {name}", ok=True, detail=detail)
    registry = of_settings(settings.schema_registry, logs=False)
    with registry if registry is not None else nullcontext():
        return _judge(rows, settings, topic, name, needs, registry)


def _judge(  # noqa: PLR0917  # what is looked at, and by which settings
    rows: Sequence[Row],
    settings: StreamsSettings,
    topic: TopicSettings,
    name: str,
    needs: RecordNeeds,
    registry: SchemaRegistry | None,
) -> Finding:
    decoder = decoder_by(settings, topic, name, needs=needs, registry=registry)
    try:
        refused = list(_refusals(rows, decoder, name))
    except RegistryAway as away:
        detail = f"they wait for their schemas: {away}"
        return Finding(f"records of {name}", ok=False, detail=detail, remedy=REGISTRY)
    if not refused:
        return Finding(f"records of {name}", ok=True, detail=f"the newest {len(rows)} are understood")
    why = ", ".join(f"{number} {reason}" for reason, number in Counter(map(_describe, refused)).most_common())
    return Finding(
        f"records of {name}",
        # Some dead letters are normal. Where no record is understood, it is by the settings.
        ok=len(refused) < len(rows),
        detail=f"of the newest {len(rows)} {len(refused)} would be dead letters: {why}; {_fields(rows, registry)}",
        remedy="Correct the fields in `streams.topics`, or what the producers write.",
    )


def _newest(
    consumer: KafkaConsumer, settings: StreamsSettings, ranges: dict[TopicPartition, tuple[int, int]]
) -> list[Row]:
    ends = {partition: end for partition, (first, end) in ranges.items() if first < end}
    ends = dict(sorted(ends.items(), key=lambda entry: -entry[1])[:PARTITIONS])
    if not ends:
        return []
    read_in_chunks(consumer, settings)
    consumer.assign(list(ends))
    for partition, end in ends.items():
        consumer.seek(partition, max(ranges[partition][0], end - LOOKED_BACK))
    rows: list[Row] = []
    deadline = time.monotonic() + READING_SECONDS
    while ends and time.monotonic() < deadline:
        try:
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=1)
        except OffsetOutOfRangeError as deleted:
            _go_on_after(deleted.args[0], consumer, ends)
            continue
        for partition, chunks in polled.items():
            for chunk in chunks:
                rows += (row for row in chunk.rows if row[3] is not None)
                if chunk.damaged or chunk.next_offset >= ends.get(partition, 0):
                    ends.pop(partition, None)
        # By time, as offsets of several partitions say nothing of which is newer.
        rows = sorted(rows, key=lambda row: row[1])[-NEWEST:]
    return rows


def _go_on_after(deleted: Iterable[TopicPartition], consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> None:
    """Read what retention left, where it took records since it was asked which there are."""
    for partition, first in consumer.beginning_offsets(list(deleted)).items():
        consumer.seek(partition, first)
        if first >= ends.get(partition, 0):
            ends.pop(partition, None)


def _refusals(rows: Sequence[Row], decoder: Decoder, name: str) -> Iterator[Rejection]:
    for offset, _, key, value in rows:
        if isinstance(value, Oversized):
            yield Reason.TOO_LARGE, f"{value.value_bytes} bytes"
            continue
        outcome = decoder.decode(value, key, None, Partition(name, 0), offset, 0.0)
        if not isinstance(outcome, Document):
            yield outcome


def _describe(refused: Rejection) -> str:
    reason, detail = refused
    # The particulars of an unknown label hold what stands in the field, which may be a wrong one with text in it.
    return reason.value if reason is Reason.UNKNOWN_LABEL else f"{reason.value} ({detail})"


def _fields(rows: Sequence[Row], registry: SchemaRegistry | None) -> str:
    names: dict[str, None] = {}
    for *_, value in rows:
        try:
            record = _record(value, registry) if isinstance(value, bytes) else None
        except (orjson.JSONDecodeError, RegistryAway):
            continue
        if isinstance(record, dict):
            names |= dict.fromkeys(record)
    if not names and rows and all(isinstance(row[3], bytes) and framing.schema_id(row[3]) is not None for row in rows):
        return "all are framed by a schema registry's client, so that no field can be seen"
    listing = ", ".join(" ".join(name[:NAME_CHARACTERS].split()) for name in list(names)[:FIELDS_NAMED])
    return f"their fields: {listing}" if listing else "they have no fields"


def _record(value: bytes, registry: SchemaRegistry | None) -> object:
    if registry is not None and framing.schema_id(value) is not None:
        return registry.read(value)
    return orjson.loads(value)
