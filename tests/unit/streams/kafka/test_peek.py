"""The bounds of a look into Kafka, with a fake consumer that hands over what the test says."""

from collections.abc import Mapping, Sequence

import pytest
from kafka.structs import TopicPartition

from streams.chunk import Chunk, UnreadableBatch
from streams.kafka import peek as peeking
from streams.kafka.peek import PeekPlace, _Look

NEWS = TopicPartition("news", 0)


class FakeConsumer:
    """A partition in which records lie at some offsets alone, a chunk a record."""

    def __init__(self, records: Mapping[int, bytes], end: int, damaged: Sequence[int] = ()) -> None:
        self.records, self.end, self.damaged = records, end, damaged
        self.at = 0
        self.sought: list[int] = []

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """The one that there is."""
        assert list(partitions) == [NEWS]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Note it."""
        assert partition == NEWS
        self.at = offset
        self.sought.append(offset)

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Chunk]]:
        """The next record; nothing where there is none."""
        assert (timeout_ms > 0, max_records) == (True, 1)
        first = self.at
        offset = next((at for at in sorted(self.records) if at >= first), None)
        if first in self.damaged:
            return {NEWS: [Chunk(NEWS, first, first, damaged=UnreadableBatch(first, first, "damaged", b"", 9))]}
        if offset is None:
            self.at = self.end
            return {NEWS: [Chunk(NEWS, first, self.end)]} if first < self.end else {}
        self.at = offset + 1
        row = (offset, 1_000 + offset, None, self.records[offset])
        return {NEWS: [Chunk(NEWS, first, self.at, [row], packed=[("none", 1)])]}


def look(consumer: FakeConsumer, count: int, seconds: Sequence[float] = ()) -> _Look:
    """A look that has so many seconds left, each time that it is asked; then for ever."""
    left = iter(seconds)
    place = PeekPlace("news", 0, None, count)
    return _Look(consumer, place, {0: (0, consumer.end)}, lambda: next(left, 1.0) if seconds else 1.0)


def offsets(of: _Look) -> list[int]:
    """Of the newest records that it finds."""
    return [row[0] for part in of.newest([NEWS]) for row in part.rows]


def test_it_looks_further_back_until_there_are_enough() -> None:
    """Where compaction or transactions left holes; never before the first offset, and no further than it has to."""
    consumer = FakeConsumer({3: b"a", 500: b"b", 999: b"c"}, end=1_000)
    assert offsets(look(consumer, 2)) == [500, 999]
    assert consumer.sought == [998, 968, 488]
    few = look(FakeConsumer({3: b"a", 999: b"c"}, end=1_000), 2)
    assert offsets(few) == [999]
    assert few.cut == "only the latest 512 offsets were looked at"
    whole = look(FakeConsumer({3: b"a"}, end=100), 2)
    assert (offsets(whole), whole.cut) == ([3], "")
    close = FakeConsumer({998: b"b", 999: b"c"}, end=1_000)
    assert offsets(look(close, 2)) == [998, 999]
    assert close.sought == [998]
    assert offsets(look(FakeConsumer({}, end=0), 2)) == []


def test_what_is_large_ends_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it says so; what came is shown."""
    monkeypatch.setattr(peeking, "MOST_BYTES", 100)
    one = look(FakeConsumer(dict.fromkeys(range(90, 100), b"x" * 60), end=100), 10)
    assert offsets(one) == [90, 91]
    assert one.cut.startswith("more than")


def test_when_its_time_is_over_it_shows_what_was_nearest_to_the_end() -> None:
    """Not what lies further back, of which it had read a part."""
    consumer = FakeConsumer({0: b"a", 1: b"b", 999: b"c"}, end=1_000)
    # The first look ends; of the next, further back, each poll takes a second.
    one = look(consumer, 4, [9.0, 8.0, 7.0, 6.0, 0.0])
    assert offsets(one) == [999]
    assert "within 10 s" in one.cut


def test_a_damaged_batch_is_told_and_not_read_for_ever() -> None:
    """The service reads it three times; a look says what is there."""
    one = look(FakeConsumer({}, end=100, damaged=[98]), 2)
    (part,) = one.newest([NEWS])
    assert [bad.first for bad in part.bad] == [98]
