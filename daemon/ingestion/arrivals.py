"""How much has come by the streams lately, and written as what: counted once it is stored, within bounds."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from memory.intake.records import Appended
from streams.document import Batch, Partition, RecordForm

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
SLOTS: Final = 60
"""Of a window: the oldest makes room, so that a window is as long as it says but for one of them."""
MOST_PARTITIONS: Final = 1_000
"""Partitions, and topics, that are counted one by one; what comes of more is in the totals alone."""

Where = tuple[str, int]
"""A topic and the number of its partition."""


@dataclass(frozen=True, slots=True)
class ArrivedSum:
    """How much came.

    Attributes:
        value_bytes: of the records' values.
    """

    documents: int = 0
    dead_letters: int = 0
    value_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Lately:
    """How much came within the latest `seconds`."""

    seconds: float
    amount: ArrivedSum


@dataclass(frozen=True, slots=True)
class OfPartition:
    """How much came of one partition."""

    in_all: ArrivedSum
    minute: Lately
    hour: Lately


@dataclass(frozen=True, slots=True)
class OfTopic:
    """How much came of one topic, and written as what; see `streams.document.Arrived`."""

    in_all: ArrivedSum
    documents: Mapping[RecordForm, int]
    dead_letters: Mapping[RecordForm, int]
    reasons: Mapping[str, int]
    packed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ArrivedSoFar:
    """What has been counted.

    Attributes:
        since: when counting began, unix seconds.
        in_all: since then, as `partitions` and `topics`.
        appended: what the store made of all of it, in numbers by the names of `Appended`.
        left_out: partitions and topics that are not told one by one.
    """

    since: float
    in_all: ArrivedSum
    minute: Lately
    hour: Lately
    partitions: Mapping[Where, OfPartition]
    topics: Mapping[str, OfTopic]
    appended: Mapping[str, int]
    left_out: int


class _Window:
    """Sums over the latest seconds, in slots of equal length."""

    __slots__ = ("_amounts", "_each", "_places")

    def __init__(self, seconds: float) -> None:
        self._each = seconds / SLOTS
        self._places = [-1] * SLOTS
        self._amounts = [[0, 0, 0] for _ in range(SLOTS)]

    def add(self, now: float, amount: ArrivedSum) -> None:
        place = int(now // self._each)
        at = place % SLOTS
        if self._places[at] != place:
            self._places[at], self._amounts[at] = place, [0, 0, 0]
        slot = self._amounts[at]
        slot[0] += amount.documents
        slot[1] += amount.dead_letters
        slot[2] += amount.value_bytes

    def sum(self, now: float, began: float) -> Lately:
        first = int(now // self._each) - SLOTS + 1
        kept = [amount for place, amount in zip(self._places, self._amounts, strict=True) if place >= max(first, 0)]
        # From the beginning of the oldest slot that counts, or from that of counting where that was later.
        seconds = now - max(first * self._each, began)
        return Lately(seconds, ArrivedSum(*map(sum, zip(*kept, strict=True))) if kept else ArrivedSum())


class _Tally:
    """How much came since the beginning, and lately."""

    __slots__ = ("amount", "hour", "minute")

    def __init__(self) -> None:
        self.amount = ArrivedSum()
        self.minute, self.hour = _Window(MINUTE), _Window(HOUR)

    def add(self, now: float, amount: ArrivedSum) -> None:
        self.amount = _sum(self.amount, amount)
        self.minute.add(now, amount)
        self.hour.add(now, amount)

    def told(self, now: float, began: float) -> OfPartition:
        return OfPartition(self.amount, self.minute.sum(now, began), self.hour.sum(now, began))


@dataclass(slots=True)
class _Forms:
    amount: ArrivedSum = ArrivedSum()
    documents: Counter[RecordForm] = field(default_factory=Counter)
    dead_letters: Counter[RecordForm] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    packed: Counter[str] = field(default_factory=Counter)

    def told(self) -> OfTopic:
        return OfTopic(
            self.amount, dict(self.documents), dict(self.dead_letters), dict(self.reasons), dict(self.packed)
        )


class ArrivalCounter:
    """Counts batches that are stored. `count` is for one thread, `so_far` for any.

    It begins with nothing whenever the service begins: what has come ever, the store tells.

    Args:
        clock: unix seconds.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since, self._began = clock(), monotonic()
        self._lock = threading.Lock()
        self._all = _Tally()
        self._partitions: dict[Where, _Tally] = {}
        self._topics: dict[str, _Forms] = {}
        self._appended: Counter[str] = Counter()
        self._left_out: set[Where] = set()

    def count(self, batch: Batch, appended: Appended) -> None:
        """Count a batch, and what the store made of it."""
        now = self._monotonic()
        with self._lock:
            for partition, arrived in batch.arrived.items():
                documents, letters = arrived.documents.total(), arrived.dead_letters.total()
                amount = ArrivedSum(documents, letters, arrived.value_bytes)
                # A gap alone, or an offset that went on past markers.
                if not documents and not letters:
                    continue
                self._all.add(now, amount)
                self._count_partition(partition, amount, now)
                forms = self._forms_of(partition.topic)
                if forms is not None:
                    forms.amount = _sum(forms.amount, amount)
                    forms.documents += arrived.documents
                    forms.dead_letters += arrived.dead_letters
                    forms.packed += arrived.packed
            for letter in batch.dead_letters:
                if (of_topic := self._topics.get(letter.partition.topic)) is not None:
                    of_topic.reasons[letter.reason.value] += 1
            for each in fields(appended):
                self._appended[each.name] += getattr(appended, each.name)

    def _count_partition(self, partition: Partition, amount: ArrivedSum, now: float) -> None:
        where = partition.topic, partition.number
        if where not in self._partitions:
            if len(self._partitions) >= MOST_PARTITIONS:
                if len(self._left_out) < MOST_PARTITIONS:
                    self._left_out.add(where)
                return
            self._partitions[where] = _Tally()
        self._partitions[where].add(now, amount)

    def _forms_of(self, topic: str) -> _Forms | None:
        if topic not in self._topics and len(self._topics) < MOST_PARTITIONS:
            self._topics[topic] = _Forms()
        return self._topics.get(topic)

    def so_far(self) -> ArrivedSoFar:
        """What has been counted until now."""
        with self._lock:
            now = self._monotonic()
            overall = self._all.told(now, self._began)
            return ArrivedSoFar(
                since=self._since,
                in_all=overall.in_all,
                minute=overall.minute,
                hour=overall.hour,
                partitions={where: tally.told(now, self._began) for where, tally in self._partitions.items()},
                topics={topic: forms.told() for topic, forms in self._topics.items()},
                appended=dict(self._appended),
                left_out=len(self._left_out),
            )


def _sum(first: ArrivedSum, second: ArrivedSum) -> ArrivedSum:
    return ArrivedSum(
        first.documents + second.documents,
        first.dead_letters + second.dead_letters,
        first.value_bytes + second.value_bytes,
    )
