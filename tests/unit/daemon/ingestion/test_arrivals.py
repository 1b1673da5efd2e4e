"""What is counted of the streams: what was stored and nothing else, within the time and the bounds that are told."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.answers.streams import StreamsAnswer
from daemon.control.streams_facts import streams_answer
from daemon.ingestion.arrivals import HOUR, MINUTE, ArrivalCounter, ArrivedSum
from daemon.ingestion.ingest import Ingest
from daemon.lifecycle.supervised_threads import Part
from memory.intake.records import Appended
from memory.samples.records import Role
from streams.backoff import Backoff
from streams.document import Arrived, Batch, DeadLetter, Document, Gap, GapReason, Partition, Reason, RecordForm
from tests.docs.json_page import mistakes
from tests.unit.daemon.kept import Kept

NEWS = Partition("news", 0, "topic-id")


class Clock:
    """Seconds that pass when the test says so."""

    now = 10_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def came(documents: int, *, letters: int = 0, size: int = 0, partition: Partition = NEWS) -> Batch:
    """A batch of which only the count matters."""
    forms = Counter({RecordForm.JSON_TEXT: documents} if documents else {})
    return Batch((), (), (), {}, arrived={partition: Arrived(size, forms, Counter({RecordForm.OTHER: letters}))})


def counting(clock: Clock) -> ArrivalCounter:
    """By that clock."""
    return ArrivalCounter(clock, clock)


@given(st.lists(st.tuples(st.floats(0, 900), st.integers(1, 50)), max_size=60))
def test_a_window_holds_what_came_within_it_and_says_how_long_it_is(steps: list[tuple[float, int]]) -> None:
    """Whatever came within the seconds that are told, and nothing from before them."""
    clock, told = Clock(), []
    arrivals, began = counting(clock), clock.now
    for seconds, number in steps:
        clock.now += seconds
        arrivals.count(came(number), Appended())
        told.append((clock.now, number))
    so_far = arrivals.so_far()
    assert so_far.in_all.documents == sum(number for _, number in told)
    for lately, longest in ((so_far.minute, MINUTE), (so_far.hour, HOUR)):
        assert lately.seconds <= min(longest, clock.now - began) + 1e-6
        assert lately.seconds >= min(longest - longest / 60, clock.now - began) - 1e-6
        since = clock.now - lately.seconds
        assert lately.amount.documents == sum(number for at, number in told if at >= since - 1e-6)


def test_of_more_partitions_than_are_counted_alone_the_totals_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pattern of topics without end takes no memory without end."""
    monkeypatch.setattr("daemon.ingestion.arrivals.MOST_PARTITIONS", 2)
    arrivals = counting(Clock())
    for number in (0, 1, 2, 3, 3, 0):
        arrivals.count(came(1, partition=Partition(f"topic-{number}", number)), Appended())
    so_far = arrivals.so_far()
    assert so_far.in_all == ArrivedSum(documents=6)
    assert {where: of.in_all.documents for where, of in so_far.partitions.items()} == {
        ("topic-0", 0): 2,
        ("topic-1", 1): 1,
    }
    assert so_far.left_out == 2
    assert so_far.topics.keys() == {"topic-0", "topic-1"}


def test_an_offset_that_moved_alone_is_nothing_that_came() -> None:
    """A marker, or a gap."""
    arrivals = counting(Clock())
    arrivals.count(came(0), Appended(gaps=1))
    assert not arrivals.so_far().partitions


class Source:
    """Brings batches, each once; the last ends the loop."""

    trouble = schemas_missing = ""

    def __init__(self, batches: list[Batch], stop: Callable[[], object]) -> None:
        self.batches, self.stop = batches, stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def poll(self, timeout_s: float) -> Batch | None:
        """The next."""
        if len(self.batches) == 1:
            self.stop()
        return self.batches.pop(0)

    def acknowledge(self, batch: Batch) -> None:
        """Nothing to tell."""

    def lag(self) -> dict[Partition, int]:
        """Three behind."""
        return {NEWS: 3}

    paused_partitions = unanswered = dict
    missing_topics = tuple


def arriving(first: int, texts: list[str], *, letters: int = 0) -> Batch:
    """Documents and dead letters from an offset on."""
    documents = tuple(Document(text, "news", None, None, None, 1.0, NEWS, first + at) for at, text in enumerate(texts))
    at = first + len(texts)
    dead = tuple(DeadLetter(NEWS, at + n, Reason.NOT_JSON, "why", None, b"x", 1, 1.0) for n in range(letters))
    forms = Counter({RecordForm.JSON_TEXT: len(texts)}), Counter({RecordForm.OTHER: letters})
    arrived = Arrived(sum(map(len, texts)) + letters, *forms, Counter({"zstd": len(texts) + letters}))
    return Batch(documents, dead, (), {NEWS: at + letters}, arrived={NEWS: arrived})


def test_figures_are_those_of_the_store(tmp_path: Path) -> None:
    """What was counted is what the store has: kept, duplicates, dead letters, offsets and gaps."""
    kept = Kept(tmp_path)
    texts = [f"the river number {n} rises over its banks in the spring of the year {n * n}" for n in range(40)]
    again = arriving(0, texts[:5])
    gap = Batch((), (), (Gap(NEWS, 63, 69, GapReason.RETENTION),), {NEWS: 70})
    batches = [arriving(0, texts), again, arriving(40, [texts[7], texts[8]], letters=3), gap]
    with kept.store as store:
        part: Any = Part("ingest", lambda _: None, backoff=Backoff(0.01, 0.01))
        source = Source(batches, part.stop.set)
        ingest = Ingest(open_source=cast("Any", lambda: source), store=store, why_full=lambda: None)
        ingest.run(part)
        counts = store.counts()
        answer = streams_answer(store, None, ingest.arrived())
        assert list(mistakes(answer, StreamsAnswer)) == []
        since, became = answer["since_start"], answer["became"]
        assert since is not None
        # Five came a second time, and the store says so.
        assert since["documents"] - became["redelivered"] == 42
        stored = sum(line.samples for line in counts.by_role_and_source)
        assert sum(became.get(role.name.lower(), 0) for role in Role if role is not Role.ASIDE) == stored
        assert became["duplicates"] == counts.tallies["duplicates"] == 2
        assert became["dead_letters"] == counts.quarantine_rows == since["dead_letters"] == 3
        assert answer["dead_letter_reasons"] == {"not_json": 3} == answer["topics"][0]["reasons"]
        (line,) = answer["partitions"]
        assert (line["next_offset"], line["gap_offsets"]) == (store.next_offset("news", 0, "topic-id"), 7)
        assert answer["gap_offsets"] == 7
        assert since["bytes"] == sum(map(len, texts)) + sum(map(len, texts[:5])) + len(texts[7]) + len(texts[8]) + 3
        assert answer["topics"][0]["packed"] == {"zstd": 50}


def test_of_files_no_partition_is_told(tmp_path: Path) -> None:
    """Nor of feedback; of a topic the incarnation that was read last."""
    kept = Kept(tmp_path)
    with kept.store as store:
        places = [
            ("file:/a.jsonl", "", 5),
            ("stdin:x", "", 6),
            ("(feedback)", "", 7),
            ("news", "z", 90),
            ("news", "a", 4),
        ]
        for topic, incarnation, offset in places:
            store.append(Batch((), (), (), {Partition(topic, 0, incarnation): offset}))
        positions = store.topic_positions()
    assert [(each.topic, each.next_offset) for each in positions] == [("news", 4)]
