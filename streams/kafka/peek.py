"""A few records straight from the broker, by a client that is in no group: it commits nothing, and nobody notices it.

Bounded in time, in bytes and in partitions, whatever lies in the topic and however the broker answers.
"""

import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from streams.chunk import Chunk, Oversized, Row, UnreadableBatch
from streams.errors import BrokerUnreachable, NoSuchTopic, NotAuthorized, OffsetNotThere, PartitionUnnamed
from streams.kafka.client import REFUSALS, consumer_options, make_client, why_unreachable
from streams.kafka.consumer import read_in_chunks
from streams.settings import MIB, StreamsSettings

WITHIN_SECONDS: Final = 10.0
"""From the first question to the last record; reaching a broker may take `connect_seconds` before, and at most this."""
QUESTION_MS: Final = 5_000
POLL_MS: Final = 500
MOST_BYTES: Final = 16 * MIB
"""Of values that are gathered: one that brings more is the last."""
FETCHED_BYTES: Final = 256 * 1024
FETCH_WAIT_MS: Final = 100
"""How long a broker waits for more where there is none."""
LEARNING_POLLS: Final = 5
MOST_PARTITIONS: Final = 16
"""Of a topic, where no partition is named: those that hold most."""
LOOKED_BACK: Final = (1, 16, 256)
"""How many offsets before the end are looked at for each record that is wanted, until there are enough: some hold none
(markers of transactions, what compaction took)."""
SIMILAR: Final = 3


@dataclass(frozen=True, slots=True)
class PeekPlace:
    """What is to be looked at.

    Attributes:
        number: of the partition; None: of those that there are.
        offset: where to begin; None: the newest.
        count: how many records at most.
    """

    topic: str
    number: int | None
    offset: int | None
    count: int


@dataclass(slots=True)
class PeekedPart:
    """What was found in one partition, as it was fetched.

    Attributes:
        headers: by offset, as in `streams.chunk.Chunk`.
        codecs: by offset, the compression that its producer sent it in.
        bad: batches among them that cannot be read.
    """

    number: int
    rows: list[Row] = field(default_factory=list)
    headers: dict[int, bytes] = field(default_factory=dict)
    codecs: dict[int, str] = field(default_factory=dict)
    bad: list[UnreadableBatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PeekedTopic:
    """What was found.

    Attributes:
        ranges: of each partition that was looked at the first offset there is, and the one that comes next.
        parts: of those in which something was found.
        partitions: how many the topic has.
        cut: why there may be more than was found; empty where that is not so.
    """

    ranges: Mapping[int, tuple[int, int]]
    parts: tuple[PeekedPart, ...]
    partitions: int
    cut: str


def peek(settings: StreamsSettings, place: PeekPlace, monotonic: Callable[[], float] = time.monotonic) -> PeekedTopic:
    """Read some records of a topic.

    Raises:
        BrokerUnreachable: no broker answers, or not in time.
        NotAuthorized: the broker refuses the login, or that it reads the topic.
        NoSuchTopic: there is no such topic or partition, or it may not be seen.
        PartitionUnnamed: an offset is named, and the topic has several partitions.
        OffsetNotThere: the offset is not there; the message says which are.
        BadSecret: a password's file cannot be read.
    """
    with _told_to_people(settings, place.topic), _connected(settings, place.count) as consumer:
        until = monotonic() + WITHIN_SECONDS
        numbers = _partitions(consumer, place, is_named=any(topic.name == place.topic for topic in settings.topics))
        while True:
            try:
                return _found(consumer, place, numbers, lambda: until - monotonic())
            except OffsetOutOfRangeError:
                # Deleted since it was asked what there is, as retention may at any time: asked again.
                if monotonic() > until:
                    raise


def _found(consumer: Any, place: PeekPlace, numbers: Sequence[int], seconds_left: Callable[[], float]) -> PeekedTopic:
    chosen, ranges = _ranges(consumer, place, numbers)
    look = _Look(consumer, place, ranges, seconds_left)
    parts = look.from_offset(chosen[0], place.offset) if place.offset is not None else look.newest(chosen)
    return PeekedTopic(ranges, tuple(parts), len(numbers), look.cut)


@contextmanager
def _connected(settings: StreamsSettings, count: int) -> Iterator[KafkaConsumer]:
    connect_ms = int(min(settings.connect_seconds, WITHIN_SECONDS) * 1000)
    options = {
        **consumer_options(settings),
        "client_id": "riverkeep-peek",
        # In no group: nothing is joined, and there is nowhere to commit to.
        "group_id": None,
        "group_instance_id": None,
        "bootstrap_timeout_ms": connect_ms,
        "request_timeout_ms": QUESTION_MS,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "max_partition_fetch_bytes": FETCHED_BYTES,
        "fetch_max_bytes": FETCHED_BYTES * 4,
    }
    if unreachable := why_unreachable(settings, within_s=connect_ms / 1000 / len(settings.bootstrap_servers)):
        raise BrokerUnreachable(f"no broker can be reached: {unreachable}")
    consumer: Any = make_client(KafkaConsumer, options)
    try:
        read_in_chunks(consumer, settings.model_copy(update={"batch_records": count}))
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=1_000)


@contextmanager
def _told_to_people(settings: StreamsSettings, topic: str) -> Iterator[None]:
    """What the client raises, as one of our own."""
    brokers = ", ".join(settings.bootstrap_servers)
    try:
        yield
    except REFUSALS as error:
        who = settings.security.username or "this client"
        what = f"read topic {topic}: grant it READ and DESCRIBE there" if isinstance(error, AuthorizationError) else ""
        raise NotAuthorized(f"the broker does not let {who} {what or f'in: {error}; check the login'}") from error
    except KafkaError as error:
        raise BrokerUnreachable(
            f"{brokers} did not answer as a broker does in time ({error or type(error).__name__})"
        ) from error


def _partitions(consumer: Any, place: PeekPlace, *, is_named: bool) -> list[int]:
    """The numbers of the topic's partitions, the one that is wanted among them.

    Args:
        is_named: whether the service itself asks for the topic by its name.
    """
    cluster = consumer._cluster  # noqa: SLF001 - no public way that ends in time
    # Of all topics: asked for by its name one that is not there is made by some brokers.
    cluster.need_all_topic_metadata = True
    _refresh(consumer)
    numbers = cluster.partitions_for_topic(place.topic)
    if not numbers:
        near = difflib.get_close_matches(place.topic, cluster.topics(), n=SIMILAR)
        if is_named:
            cluster.need_all_topic_metadata = False
            cluster.add_topic(place.topic)
            _refresh(consumer)
            if place.topic in cluster.unauthorized_topics:
                raise TopicAuthorizationFailedError(place.topic)
        hint = f"; there is {', '.join(near)}" if near else ""
        raise NoSuchTopic(f"there is no topic {place.topic}, or this login may not see it{hint}")
    if place.number is not None and place.number not in numbers:
        raise NoSuchTopic(f"topic {place.topic} has no partition {place.number}: it has {_span(sorted(numbers))}")
    if place.number is None and place.offset is not None and len(numbers) > 1:
        which = f"name the one that offset {place.offset} is of"
        raise PartitionUnnamed(f"topic {place.topic} has partitions {_span(sorted(numbers))}: {which}")
    return sorted(numbers)


def _refresh(consumer: Any) -> None:
    inside = consumer
    inside._net.run(inside._manager.wait_for, inside._cluster.request_update(), QUESTION_MS)  # noqa: SLF001 - see above


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _ranges(
    consumer: Any, place: PeekPlace, numbers: Sequence[int]
) -> tuple[list[TopicPartition], dict[int, tuple[int, int]]]:
    """The partitions to look at, and which offsets each has."""
    asked = [TopicPartition(place.topic, number) for number in numbers if place.number in (None, number)]
    ends = consumer.end_offsets(asked, timeout_ms=QUESTION_MS)
    begins = consumer.beginning_offsets(asked, timeout_ms=QUESTION_MS)
    if missing := [each.partition for each in asked if ends.get(each) is None or begins.get(each) is None]:
        raise KafkaTimeoutError(f"nobody tells where partition {missing[0]} stands: has it a leader?")
    fullest = sorted(asked, key=lambda each: begins[each] - ends[each])[:MOST_PARTITIONS]
    told = {each: int(ends[each]) for each in fullest}
    _learn_ends(consumer, {each: end for each, end in told.items() if end > begins[each]}, told)
    ranges = {each.partition: (int(begins[each]), told[each]) for each in fullest}
    if place.offset is not None:
        first, end = ranges[fullest[0].partition]
        if not first <= place.offset < end:
            raise OffsetNotThere(_why_not_there(f"{place.topic}/{fullest[0].partition}", place.offset, first, end))
    return sorted(fullest), ranges


def _learn_ends(consumer: Any, asked: Mapping[TopicPartition, int], ends: dict[TopicPartition, int]) -> None:
    """Put ends right by what a fetch there tells: of the last batch some brokers name the first record's alone."""
    if not asked:
        return
    consumer.assign(list(asked))
    for partition, end in asked.items():
        consumer.seek(partition, end)
    for _ in range(LEARNING_POLLS):
        consumer.poll(timeout_ms=FETCH_WAIT_MS * 2, max_records=1)
        known = {partition: consumer.highwater(partition) for partition in asked}
        if None not in known.values():
            break
    for partition, end in known.items():
        ends[partition] = max(ends[partition], int(end or 0))


def _why_not_there(name: str, offset: int, first: int, end: int) -> str:
    there = f"it holds offsets {first} to {end - 1}" if first < end else f"it is empty, and {end} comes next"
    return f"offset {offset} of {name} {'is deleted' if offset < first else 'is not written yet'}: {there}"


class _Look:
    """Reads from positions on, until there is enough or it has taken long enough.

    Attributes:
        cut: why it ended before it had all; empty where it had.
    """

    def __init__(
        self,
        consumer: Any,
        place: PeekPlace,
        ranges: Mapping[int, tuple[int, int]],
        seconds_left: Callable[[], float],
    ) -> None:
        self._consumer = consumer
        self._place = place
        self._ranges = ranges
        self._seconds_left = seconds_left
        self._size = 0
        self.cut = ""

    def from_offset(self, partition: TopicPartition, offset: int) -> list[PeekedPart]:
        """Those that follow on an offset, which may hold no record itself."""
        part = PeekedPart(partition.partition)
        self._read({partition: offset}, {partition: part}, self._place.count, newest=False)
        return [part] if part.rows or part.bad else []

    def newest(self, partitions: Sequence[TopicPartition]) -> list[PeekedPart]:
        """Of all these partitions together the newest by their time."""
        wanted = self._place.count
        found = {partition: PeekedPart(partition.partition) for partition in partitions}
        seen = {partition: self._ranges[partition.partition][1] for partition in partitions}
        for back in LOOKED_BACK:
            starts = {}
            for partition in partitions:
                first, end = self._ranges[partition.partition]
                start = max(first, end - wanted * back)
                if len(found[partition].rows) < wanted and start < seen[partition]:
                    starts[partition] = start
            if not starts or self._is_cut():
                break
            again = {partition: PeekedPart(partition.partition) for partition in starts}
            self._read(starts, again, wanted, newest=True)
            # Of a look that was cut off what was found before lies nearer to the end.
            found |= {
                partition: part
                for partition, part in again.items()
                if (part.rows or part.bad) and not (self._is_cut() and found[partition].rows)
            }
            seen |= starts
        newest = sorted(((row[1], part.number, row[0]) for part in found.values() for row in part.rows), reverse=True)[
            :wanted
        ]
        if len(newest) < wanted and any(seen[each] > self._ranges[each.partition][0] for each in partitions):
            self.cut = self.cut or f"only the latest {wanted * LOOKED_BACK[-1]:,} offsets were looked at"
        places = {(number, offset) for _, number, offset in newest}
        for part in found.values():
            part.rows = [row for row in part.rows if (part.number, row[0]) in places]
        return [part for part in found.values() if part.rows or part.bad]

    def _is_cut(self) -> bool:
        return bool(self.cut)

    def _read(
        self,
        starts: Mapping[TopicPartition, int],
        parts: Mapping[TopicPartition, PeekedPart],
        wanted: int,
        *,
        newest: bool,
    ) -> None:
        left = dict(starts)
        self._consumer.assign(list(left))
        for partition, offset in left.items():
            self._consumer.seek(partition, offset)
        while left:
            if self._seconds_left() <= 0:
                self.cut = f"the broker brought no more within {WITHIN_SECONDS:.0f} s"
                return
            polled: dict[TopicPartition, list[Chunk]] = self._consumer.poll(timeout_ms=POLL_MS, max_records=1)
            for partition, chunks in polled.items():
                for chunk in chunks:
                    if partition in left and self._take(chunk, parts[partition], wanted, newest=newest):
                        # Not paused: kafka-python would not fetch it again from further back.
                        del left[partition]
            if self._size > MOST_BYTES:
                self.cut = f"more than {MOST_BYTES // MIB} MiB came"
                return

    def _take(self, chunk: Chunk, part: PeekedPart, wanted: int, *, newest: bool) -> bool:
        """Add a chunk to a part; whether that has enough now."""
        codecs = [name for name, number in chunk.packed for _ in range(number)]
        for row, codec in zip(chunk.rows, codecs, strict=True):
            part.rows.append(row)
            part.codecs[row[0]] = codec
            self._size += _held_bytes(row)
        part.headers |= chunk.headers
        part.bad += chunk.bad
        part.rows = part.rows[-wanted:] if newest else part.rows[:wanted]
        if chunk.damaged is not None:
            # It would be read again; a look says what there is.
            part.bad.append(chunk.damaged)
            return True
        enough = not newest and len(part.rows) + len(part.bad) >= wanted
        return enough or chunk.next_offset >= self._ranges[part.number][1]


def _held_bytes(row: Row) -> int:
    value = row[3]
    return len(row[2] or b"") + len(value.beginning if isinstance(value, Oversized) else value or b"")
