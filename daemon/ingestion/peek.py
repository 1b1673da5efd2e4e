"""A look at a few records in Kafka, beside whatever is read: for a few people at once, and no more."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from daemon.errors import BadRequest, BrokerAway, Refused, UnknownThing
from daemon.settings.records import record_needs
from daemon.settings.tree import Settings
from streams.decoding.decode import decoder_by
from streams.errors import (
    BadSecret,
    BrokerUnreachable,
    NoSuchTopic,
    NotAuthorized,
    OffsetNotThere,
    PartitionUnnamed,
)
from streams.kafka.peek import PeekedTopic, PeekPlace, peek
from streams.kafka.peeked import PeekedRecord, as_read
from streams.registry.client import of_settings
from streams.topic_settings import TopicFormat

AT_ONCE: Final = 2
"""Looks that one process takes at the same time: each holds a connection, a thread and some megabytes."""
INTERNAL: Final = "__"
"""What the names of Kafka's own topics begin with."""


@dataclass(frozen=True, slots=True)
class KafkaLook:
    """What was found, and how it would be read.

    Attributes:
        format_: of the topic; the usual one where the settings do not name it.
    """

    place: PeekPlace
    found: PeekedTopic
    records: tuple[PeekedRecord, ...]
    format_: TopicFormat
    is_read: bool


class Peeks:
    """Looks that a running daemon takes for those who ask it: into the topics that it reads and no other.

    Whoever is let in here is not yet let into all that the service's login may read.
    """

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def look(self, settings: Settings, place: PeekPlace) -> KafkaLook:
        """As `look`. Raises Refused besides: the topic is not read here, or others look already."""
        if settings.streams.topic(place.topic) is None or place.topic.startswith(INTERNAL):
            raise Refused(
                f"`streams.topics` does not name {place.topic}, so it is not shown here; `riverkeep peek` on the "
                "service's machine looks into any topic that its login may read."
            )
        # Not waited for: whoever waits holds a thread that other answers need.
        if not self._free.acquire(blocking=False):
            raise Refused(f"{AT_ONCE} others look into Kafka at this moment: ask again in a few seconds.")
        try:
            return look(settings, place)
        finally:
            self._free.release()


def look(settings: Settings, place: PeekPlace) -> KafkaLook:
    """Read a few records, and say how each would be read by these settings.

    Raises:
        BrokerAway: no broker answers in time.
        Refused: the broker does not let this login read there, or a secret's file cannot be read.
        UnknownThing: there is no such topic, partition or offset.
        BadRequest: an offset is named and no partition, and there are several.
    """
    streams = settings.streams
    named = streams.topic(place.topic)
    format_ = TopicFormat() if named is None else named
    with _told_as_the_daemons():
        found = peek(streams, place)
    registry = of_settings(streams.schema_registry, logs=False)
    now, needs = time.time(), record_needs(settings)
    with registry if registry is not None else nullcontext():
        decoder = decoder_by(streams, format_, place.topic, needs=needs, registry=registry)
        records = [
            record
            for part in found.parts
            for record in as_read(place.topic, part, decoder, kept_bytes=streams.dead_letter_bytes, now=now)
        ]
    if len(found.ranges) > 1:
        # Of several partitions offsets say nothing of which is newer.
        records.sort(key=lambda record: -(record.time or 0.0))
    return KafkaLook(place, found, tuple(records[: 2 * place.count]), format_, named is not None)


@contextmanager
def _told_as_the_daemons() -> Iterator[None]:
    try:
        yield
    except (NoSuchTopic, OffsetNotThere) as error:
        raise UnknownThing(_sentence(error)) from error
    except PartitionUnnamed as error:
        raise BadRequest(_sentence(error)) from error
    except (NotAuthorized, BadSecret) as error:
        raise Refused(_sentence(error)) from error
    except BrokerUnreachable as error:
        raise BrokerAway(f"{_sentence(error)} Check `streams.bootstrap_servers`, and `riverkeep doctor`.") from error


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"
