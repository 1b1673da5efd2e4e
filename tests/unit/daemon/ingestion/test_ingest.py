"""The ingest loop, between a source and a store that note in which order they are called."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.ingestion.ingest import Full, Ingest, why_full
from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from memory.intake.records import Appended
from memory.settings import MemorySettings
from memory.store import Store
from streams.backoff import Backoff
from streams.document import Batch, DeadLetter, Partition, Pause, Reason
from tests.harness import wait_until

WIKI = Partition("wiki", 0)
NEWS = Partition("news", 1)
FULL = Full(Pause.MEMORY_FULL, "the fresh buffer is full")


def batch(next_offset: int) -> Batch:
    """A batch of which only the offset matters."""
    return Batch((), (), (), {WIKI: next_offset})


class Recorder:
    """Source and store in one; notes every call."""

    def __init__(self, batches: list[Batch]) -> None:
        self.calls: list[str] = []
        self.batches = batches
        self.fails: list[Exception] = []
        self.opened = 0
        self.full: Full | None = None
        self.evicts = 0
        self.trouble = self.schemas = ""
        self.missing: tuple[str, ...] = ()
        self.silent: dict[tuple[str, int], str] = {}
        self.read: dict[Partition, int] = {WIKI: 7}
        self.paused: dict[Partition, str] = {}
        self.asked = threading.Event()

    @contextmanager
    def open(self) -> Iterator["Recorder"]:
        """Enter as a source."""
        self.opened += 1
        yield self
        self.calls.append("close")

    def append(self, given: Batch, *, keep_unpublished: bool) -> Appended:
        """Keep, or fail as told."""
        if self.fails:
            raise self.fails.pop()
        self.calls.append(f"append {given.next_offsets[WIKI]}" + " and keep letters" * keep_unpublished)
        return Appended(dead_letters_evicted=self.evicts)

    def poll(self, timeout_s: float) -> Batch | None:
        """The first batch that is left."""
        if self.calls[-1:] == ["pause memory_full"] or not self.batches:
            self.asked.wait(0.01)
            return None
        return self.batches[0]

    def acknowledge(self, given: Batch) -> None:
        """Note, and hand it over no more."""
        self.calls.append(f"acknowledge {given.next_offsets[WIKI]}")
        self.batches.remove(given)

    def pause_all(self, why: Pause) -> None:
        """Note."""
        self.calls.append(f"pause {why}")

    def resume_all(self) -> None:
        """Note."""
        self.calls.append("resume")

    def resume(self, partition: Partition) -> None:
        """Note."""
        self.calls.append(f"resume {partition.topic}")

    @property
    def schemas_missing(self) -> str:
        """As told."""
        return self.schemas

    def missing_topics(self) -> tuple[str, ...]:
        """As told."""
        return self.missing

    def unanswered(self) -> Mapping[tuple[str, int], str]:
        """As told."""
        return self.silent

    def lag(self) -> Mapping[Partition, int]:
        """As told."""
        return self.read

    def paused_partitions(self) -> Mapping[Partition, str]:
        """As told."""
        return self.paused


@contextmanager
def running(recorder: Recorder, **options: Any) -> Iterator[tuple[Ingest, Part]]:
    """An ingest loop at work."""
    ingest = Ingest(
        open_source=cast("Callable[[], Any]", recorder.open),
        store=cast("Store", recorder),
        why_full=lambda: recorder.full,
        **options,
    )
    part = Part("ingest", ingest.run, backoff=Backoff(0.01, 0.01))
    shutdown = Shutdown(grace_seconds=10, round_grace_seconds=0)
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        yield ingest, part


def test_what_is_acknowledged_was_stored() -> None:
    """Each batch is durable before its offset is acknowledged, and they keep their order."""
    recorder = Recorder([batch(10), batch(20)])
    with running(recorder):
        wait_until(lambda: not recorder.batches)
    assert recorder.calls[:4] == ["append 10", "acknowledge 10", "append 20", "acknowledge 20"]


def test_a_failed_write_acknowledges_nothing_and_reads_anew() -> None:
    """After a disk error the loop begins again with a new source, at the store's offset."""
    recorder = Recorder([batch(10)])
    recorder.fails = [OSError(28, "No space left on device")]
    with running(recorder):
        wait_until(lambda: not recorder.batches)
    assert recorder.opened == 2
    assert recorder.calls[:2] == ["append 10", "acknowledge 10"]


def test_a_full_store_pauses_and_keeps_polling() -> None:
    """While the buffer is full nothing comes, the loop turns on, and it resumes by itself."""
    recorder = Recorder([])
    recorder.full = FULL
    with running(recorder) as (ingest, part):
        wait_until(lambda: ingest.paused)
        assert part.health().state is State.RUNNING
        recorder.full = None
        wait_until(lambda: not ingest.paused)
    assert recorder.calls[:2] == ["pause memory_full", "resume"]


def test_partitions_that_wait_for_their_schemas_are_told() -> None:
    """With what the registry answered, and as waiting where nothing else is read."""
    recorder = Recorder([])
    recorder.schemas, recorder.paused = "the registry answers HTTP 401", {WIKI: Pause.SCHEMA_REGISTRY_AWAY}
    with running(recorder) as (_, part):
        wait_until(lambda: part.health().detail == recorder.schemas)
        assert part.health().state is State.WAITING
        recorder.read[Partition("news", 0)] = 0
        wait_until(lambda: part.health().state is State.RUNNING)
        assert part.health().detail == recorder.schemas


def test_another_reason_to_pause_is_told() -> None:
    """A round made room, but the quarantine is full by now: a person must not be sent the wrong way."""
    recorder = Recorder([])
    recorder.full = FULL
    with running(recorder) as (ingest, _):
        wait_until(lambda: ingest.paused == "the fresh buffer is full")
        recorder.full = Full(Pause.DEAD_LETTERS_WAIT, "the quarantine is full")
        wait_until(lambda: ingest.paused == "the quarantine is full")
    assert recorder.calls[:2] == ["pause memory_full", "pause dead_letters_wait"]


@pytest.mark.parametrize("keep_unpublished", [False, True])
def test_letters_are_held_back_only_where_they_wait_for_a_topic(tmp_path: Path, *, keep_unpublished: bool) -> None:
    """Elsewhere the oldest make room, however many come: nothing stops."""
    with Store.open(tmp_path / "db", MemorySettings(quarantine_rows=3)) as store:
        for offset in range(0, 6, 2):
            letters = tuple(
                DeadLetter(WIKI, n, Reason.NOT_JSON, "", None, b"{", 1, 0.0) for n in range(offset, offset + 2)
            )
            store.append(Batch((), letters, (), {WIKI: offset + 2}), keep_unpublished=keep_unpublished)
        full = why_full(store, keep_unpublished=keep_unpublished)
        if not keep_unpublished:
            assert (full, len(store.quarantine.dead_letters())) == (None, 3)
            return
        assert full is not None
        assert (full.pause, len(store.quarantine.dead_letters())) == (Pause.DEAD_LETTERS_WAIT, 6)
        assert "dead-letters drop" in full.sentence


def test_the_store_is_told_whether_letters_wait_for_a_topic() -> None:
    """It evicts none of them then."""
    recorder = Recorder([batch(10)])
    with running(recorder, keep_unpublished=True):
        wait_until(lambda: not recorder.batches)
    assert recorder.calls[0] == "append 10 and keep letters"


def test_letters_that_make_room_are_told_of_now_and_then() -> None:
    """With how many there were since the last time, and what to do; not with each batch."""
    recorder, times = Recorder([batch(n) for n in range(1, 5)]), [0.0, 10.0, 599.0, 601.0]
    recorder.evicts = 5
    # The clock of the batch that is the first not to be stored yet.
    with capture_logs() as logs, running(recorder, monotonic=lambda: times[max(0, 3 - len(recorder.batches))]):
        wait_until(lambda: len(recorder.calls) == 8)
    told = [line for line in logs if line["event"] == "dead_letters_evicted"]
    assert [line["letters"] for line in told] == [5, 15]
    assert "dead_letter_topic" in told[0]["remedy"]


def test_records_that_are_refused_leave_a_line_in_the_log() -> None:
    """Long before there are so many that they pause a partition."""
    letter = DeadLetter(WIKI, 9, Reason.UNKNOWN_LABEL, "", None, b"x", 1, 0.0)
    recorder = Recorder([Batch((), (letter,), (), {WIKI: 10})])
    with capture_logs() as logs, running(recorder):
        wait_until(lambda: any(line["event"] == "records_refused" for line in logs))


def test_a_broker_that_is_away_is_no_silent_matter() -> None:
    """The part says so and is not ok, though its loop turns; when the broker is back, it is."""
    recorder = Recorder([])
    recorder.trouble = "no broker has answered for 12 s"
    with running(recorder) as (_, part):
        wait_until(lambda: part.health().state is State.WAITING)
        assert (part.health().ok, part.health().detail) == (False, "no broker has answered for 12 s")
        recorder.trouble = ""
        wait_until(lambda: part.health().ok)
    assert recorder.opened == 1


def test_a_topic_that_does_not_exist_shows_beside_those_that_do() -> None:
    """The part runs, and says what it cannot read."""
    recorder = Recorder([])
    recorder.missing = ("nwes",)
    with running(recorder) as (ingest, part):
        wait_until(lambda: "nwes cannot be read" in part.health().detail)
        assert part.health().ok
        assert ingest.unread == ["nwes cannot be read: there is no such topic"]
        recorder.missing = ()
        wait_until(lambda: not part.health().detail)


@pytest.mark.parametrize("read", [{}, {WIKI: 7}], ids=["alone", "beside one that is read"])
def test_a_partition_whose_place_no_broker_tells_shows(read: dict[Partition, int]) -> None:
    """The part names it and what came instead; it runs as long as another partition is read."""
    recorder = Recorder([])
    recorder.read = read
    recorder.silent = {("news", 3): "timed out", ("news", 4): "timed out"}
    with running(recorder) as (ingest, part):
        wait_until(lambda: "news/3 and 1 more cannot be read" in part.health().detail)
        assert [sentence.partition(", as")[0] for sentence in ingest.unread] == ["news/3 and 1 more cannot be read"]
        assert "(timed out)" in part.health().detail
        assert part.health().ok == bool(read)
        recorder.silent = {}
        wait_until(lambda: "cannot be read" not in part.health().detail)


@pytest.mark.parametrize(("asked", "resumed"), [("wiki/0", ["wiki/0"]), (None, ["news/1", "wiki/0"]), ("gone/3", [])])
def test_a_person_resumes_flooded_partitions(asked: str | None, resumed: list[str]) -> None:
    """The loop's own thread does it; the answer names what it concerns."""
    recorder = Recorder([])
    recorder.read = {WIKI: 7, NEWS: 0, Partition("calm", 0): 0}
    recorder.paused = dict.fromkeys((WIKI, NEWS), "dead_letter_flood")
    with running(recorder) as (ingest, part):
        wait_until(lambda: part.health().state is State.RUNNING)
        assert ingest.resume(asked) == resumed
        wait_until(lambda: len(recorder.calls) == len(resumed))
    assert {call.removeprefix("resume ") for call in recorder.calls[:-1]} == {name[:4] for name in resumed}


def test_without_a_partition_it_waits_and_that_shows() -> None:
    """At the start at once; where the group shares anew, only when it takes longer than that does."""
    recorder, now = Recorder([]), [100.0]
    recorder.read = {}
    with running(recorder, monotonic=lambda: now[0]) as (_, part):
        wait_until(lambda: part.health().state is State.WAITING)
        assert part.health().detail.startswith("waiting for partitions")
        recorder.read = {WIKI: 7}
        wait_until(lambda: part.health().ok and not part.health().detail)
        recorder.read = {}
        wait_until(lambda: part.health().detail.startswith("waiting for partitions"))
        assert part.health().ok
        now[0] += 60
        wait_until(lambda: not part.health().ok)


def test_a_flood_says_what_to_do() -> None:
    """The part runs as long as some partition flows; where none does, it waits for a person."""
    recorder = Recorder([])
    recorder.read, recorder.paused = {WIKI: 7, NEWS: 0}, {NEWS: "dead_letter_flood"}
    with running(recorder) as (_, part):
        wait_until(
            lambda: (
                "paused news/1: when it is mended, run `riverkeep memory dead-letters resume`" in part.health().detail
            )
        )
        assert part.health().ok
        recorder.paused = dict.fromkeys((WIKI, NEWS), "dead_letter_flood")
        wait_until(lambda: part.health().state is State.WAITING)


def test_without_a_source_there_is_no_lag() -> None:
    """Before the loop runs, and after it, nothing is claimed."""
    recorder = Recorder([])
    with running(recorder) as (ingest, _):
        wait_until(lambda: ingest.lag() == {WIKI: 7})
    assert ingest.lag() == {}
    assert ingest.paused_partitions() == {}
