"""How many dead letters are too many, and how they reach their topic."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from streams.client import made, producer_options
from streams.closing import Closing
from streams.document import FILTERED, DeadLetter, Header, Partition, Reason
from streams.metrics import StreamsMetrics
from streams.record_headers import bounded, for_producer
from streams.settings import KIB, BudgetSettings, StreamsSettings

HARMLESS = FILTERED | {Reason.TOMBSTONE}
"""No sign of anything gone wrong; tombstones are normal in compacted topics."""
PUBLISHED_BYTES = 512 * KIB
PUBLISHED_KEY_BYTES = PUBLISHED_HEADER_BYTES = 192 * KIB
"""Brokers take records of up to 1 MB unless told otherwise; a letter that none takes would be sent for ever."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Recent:
    """Records and dead letters of a partition, each weighing half as much after each window."""

    records: float = 0.0
    dead: float = 0.0
    at: float = 0.0


class DeadLetterBudget:
    """Tells a flood of dead letters from the normal few, for each partition by itself. Pure: time is an argument."""

    def __init__(self, settings: BudgetSettings) -> None:
        self._settings = settings
        self._recent: dict[Partition, _Recent] = {}

    def judge(self, partition: Partition, records: int, letters: Sequence[DeadLetter], now: float) -> Reason | None:
        """Count records that came and judge the partition: the most frequent reason of a flood's, or None.

        Args:
            partition: where they came from.
            records: how many came, dead ones included.
            letters: what became of some of them; harmless ones do not count.
            now: seconds, of any clock that never goes back.
        """
        harmful = Counter(letter.reason for letter in letters if letter.reason not in HARMLESS)
        if not self._is_flood(partition, records, harmful.total(), now):
            return None
        return harmful.most_common(1)[0][0] if harmful else None

    def forgive(self, partition: Partition) -> None:
        """Start anew with a partition."""
        self._recent.pop(partition, None)

    def _is_flood(self, partition: Partition, records: int, dead: int, now: float) -> bool:
        recent = self._recent.setdefault(partition, _Recent(at=now))
        fade = 0.5 ** (max(0.0, now - recent.at) / self._settings.window_seconds)
        recent.records = recent.records * fade + records
        recent.dead = recent.dead * fade + dead
        recent.at = now
        enough = recent.dead >= self._settings.min_dead_letters
        return enough and recent.dead > self._settings.max_share * recent.records


def headers(letter: DeadLetter, group_id: str) -> list[Header]:
    """The record's own headers, and behind them what is known of a dead letter, as Kafka Connect tells it (KIP-298).

    Where a name is the record's too (it was a dead letter already), who reads the last one of a name reads ours.
    """
    own, dropped = bounded(letter.headers, PUBLISHED_HEADER_BYTES)
    dropped += letter.headers_dropped
    told = {
        "__connect.errors.topic": letter.partition.topic,
        "__connect.errors.partition": str(letter.partition.number),
        "__connect.errors.offset": str(letter.offset),
        "__connect.errors.connector.name": group_id,
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": "VALUE_CONVERTER",
        "__connect.errors.class.name": "riverkeep.streams",
        "__connect.errors.exception.class.name": str(letter.reason),
        "__connect.errors.exception.message": letter.detail,
        "riverkeep.value.bytes": str(letter.value_bytes),
        **({"riverkeep.headers.dropped": str(dropped)} if dropped else {}),
    }
    return [*own, *((name, value.encode()) for name, value in told.items())]


class DeadLetterPublisher(Closing):
    """Sends dead letters to their topic and tells which ones arrived. The broker may come and go meanwhile."""

    def __init__(self, settings: StreamsSettings, metrics: StreamsMetrics) -> None:
        assert settings.dead_letter_topic is not None, "there is no topic to publish to"
        self._topic = settings.dead_letter_topic
        self._settings = settings
        self._metrics = metrics
        self._producer: KafkaProducer | None = None

    def publish(self, letters: Iterable[tuple[int, DeadLetter]], timeout_s: float = 10.0) -> list[int]:
        """Send letters; blocks until each is acknowledged or the time is over.

        Args:
            letters: with the numbers that the store knows them by.
            timeout_s: for all of them together.

        Returns:
            The numbers of those that the broker has acknowledged; the others are to be sent again.

        Raises:
            BadSecret: the password's file cannot be read.
        """
        deadline = time.monotonic() + timeout_s
        try:
            producer = self._connected(timeout_s)
            sent = [(number, producer.send(self._topic, **self._record(letter))) for number, letter in letters]
        except KafkaError as error:
            log.warning("dead_letters_not_sent", topic=self._topic, error=str(error))
            return []
        arrived: list[int] = []
        for number, future in sent:
            try:
                future.get(timeout=max(0.001, deadline - time.monotonic()))
            except KafkaError as error:
                log.warning("dead_letter_not_acknowledged", topic=self._topic, number=number, error=str(error))
                break
            arrived.append(number)
        self._metrics.published.inc(len(arrived))
        return arrived

    def _record(self, letter: DeadLetter) -> dict[str, object]:
        return {
            "value": letter.value[:PUBLISHED_BYTES],
            "key": letter.key and letter.key[:PUBLISHED_KEY_BYTES],
            "headers": for_producer(headers(letter, self._settings.group_id)),
        }

    def _connected(self, timeout_s: float) -> KafkaProducer:
        if self._producer is None:
            options = {**producer_options(self._settings), "max_block_ms": int(timeout_s * 1000)}
            self._producer = made(KafkaProducer, options)
        return self._producer

    def close(self, timeout_s: float = 5.0) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            self._producer.close(timeout=timeout_s)
            self._producer = None
