"""Dead letters sent to their topic, each with the record's own bytes and the reason."""

import time
from collections.abc import Iterable

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from streams.closing import Closing
from streams.document import DeadLetter, Header
from streams.kafka.client import make_client, producer_options
from streams.metrics import StreamsMetrics
from streams.record_headers import bound_headers, for_producer
from streams.settings import KIB, StreamsSettings

log = structlog.get_logger(__name__)

# Value, key and headers together stay below a megabyte, with room for the headers that we add.
PUBLISHED_BYTES = 512 * KIB
PUBLISHED_KEY_BYTES = PUBLISHED_HEADER_BYTES = 192 * KIB
"""Brokers take records of up to 1 MB unless told otherwise; a letter that none takes would be sent for ever."""


def headers(letter: DeadLetter, group_id: str) -> list[Header]:
    """The record's own headers, and behind them what is known of a dead letter, as Kafka Connect tells it (KIP-298).

    Where a name is the record's too (it was a dead letter already), who reads the last one of a name reads ours.
    """
    own_headers, dropped = bound_headers(letter.headers, PUBLISHED_HEADER_BYTES)
    dropped += letter.headers_dropped
    description = {
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
    return [*own_headers, *((name, value.encode()) for name, value in description.items())]


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
            producer = self._connect(timeout_s)
            futures = [(number, producer.send(self._topic, **self._record(letter))) for number, letter in letters]
        except KafkaError as error:
            log.warning("dead_letters_not_sent", topic=self._topic, error=str(error))
            return []
        arrived: list[int] = []
        for number, future in futures:
            try:
                # One deadline for all. Those behind the first that does not come in time are sent again, and may arrive
                # twice.
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

    def _connect(self, timeout_s: float) -> KafkaProducer:
        if self._producer is None:
            options = {**producer_options(self._settings), "max_block_ms": int(timeout_s * 1000)}
            self._producer = make_client(KafkaProducer, options)
        return self._producer

    def close(self, timeout_s: float = 5.0) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            self._producer.close(timeout=timeout_s)
            self._producer = None
