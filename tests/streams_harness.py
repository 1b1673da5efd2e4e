"""A Kafka source with a store as simple as can be: what tests of several files share."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from streams.document import Batch, DeadLetter, Document, Gap
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import Broker


@dataclass
class KeptStore:
    """Keeps what it is given and the offsets with it, and sees to it that no offset comes twice."""

    documents: list[Document] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    offsets: dict[tuple[str, int, str], int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_offset(self, topic: str, number: int, incarnation: str) -> int | None:
        """As a store answers a source."""
        return self.offsets.get((topic, number, incarnation))

    def knows(self, topic: str) -> bool:
        """As a store answers a source."""
        return any(key[0] == topic for key in self.offsets)

    def latest_incarnation(self, topic: str, number: int) -> str | None:
        """As a store answers a source."""
        return next((key[2] for key in reversed(self.offsets) if key[:2] == (topic, number)), None)

    def append(self, batch: Batch) -> None:
        """Keep a batch."""
        with self.lock:
            self._append(batch)

    def _append(self, batch: Batch) -> None:
        items: tuple[Document | DeadLetter, ...] = (*batch.documents, *batch.dead_letters)
        for item in items:
            at = item.partition
            stored = self.offsets.get((at.topic, at.number, at.incarnation), 0)
            assert item.offset >= stored, f"{item.partition} {item.offset} came twice"
        self.documents += batch.documents
        self.dead_letters += batch.dead_letters
        self.gaps += batch.gaps
        for at, offset in batch.next_offsets.items():
            self.offsets.pop((at.topic, at.number, at.incarnation), None)  # the latest is the last
            self.offsets[at.topic, at.number, at.incarnation] = offset

    @property
    def texts(self) -> list[str]:
        """The texts that came, in order."""
        return [document.text for document in self.documents]


def settings(broker: Broker, *topics: str, **options: Any) -> StreamsSettings:
    """Settings for plain-text topics; quick to rebalance, and a group of their own."""
    defaults: dict[str, Any] = {
        "bootstrap_servers": (broker.bootstrap,),
        "group_id": f"group-{uuid4().hex[:8]}",
        "topics": tuple(TopicSettings(name=topic, format="text") for topic in topics),
        "session_timeout_seconds": 3,
        "heartbeat_seconds": 0.3,
        "metadata_seconds": 1,
        "connect_seconds": 2,
    }
    return StreamsSettings.model_validate({**defaults, **options})


class Ingest:
    """A source, its store, and the loop between them, one turn at a time."""

    def __init__(self, settings: StreamsSettings, store: KeptStore | None = None, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.settings = settings
        self.store = store or KeptStore()
        self.source = KafkaSource(settings, self.store, StreamsMetrics(self.registry), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def turn(self, timeout_s: float = 0.2) -> Batch | None:
        """Poll once, store, acknowledge."""
        batch = self.source.poll(timeout_s)
        if batch is not None:
            self.store.append(batch)
            self.source.acknowledge(batch)
        return batch

    def until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Go on until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {self.store.texts[-5:]}"
            self.turn()

    def turns(self, seconds: float) -> None:
        """Go on for some time, to see that nothing more comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now; 0 where there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0


def only_apache(broker: Broker, why: str) -> None:
    """Skip on the embedded broker what it has not."""
    if broker.name == "embedded":
        pytest.skip(why)


def numbered(start: int, stop: int, word: str = "text") -> list[bytes]:
    """Texts that tell their number."""
    return [f"{word} {n}".encode() for n in range(start, stop)]


def words(values: list[bytes]) -> list[str]:
    """The texts of records."""
    return [value.decode() for value in values]


@contextmanager
def beside(ingest: Ingest) -> Iterator[Ingest]:
    """Let a replica run in a thread of its own."""
    done = threading.Event()

    def run() -> None:
        with ingest:
            while not done.is_set():
                ingest.turn()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield ingest
        finally:
            done.set()
            running.result(timeout=30)
