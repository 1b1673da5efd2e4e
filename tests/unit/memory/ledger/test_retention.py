"""The ledger over years: everything is bounded, and what something hangs on stays."""

import random
from pathlib import Path

import pytest

from memory.errors import AsideFull, UnknownGeneration, UnknownRound, WrongState
from memory.ledger import retention
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import GenerationState, RoundDraw, SliceScore, lineage
from memory.ledger.scorings import Scoring
from memory.ledger.skills.skill_scores import SkillScore
from memory.ledger.states import RoundState
from memory.samples import offsets
from memory.store import Store
from memory.views.session import Session
from streams.document import Batch, Partition
from tests.unit.memory.helpers import (
    Stream,
    accept,
    begin,
    column,
    judge,
    open_store,
    refuse,
    round_of,
    text,
    value,
)

SMALL = {
    "lineage_rounds": 20,
    "audit_rows": 1_000,
    "slice_documents": 8,
    "holdout_documents": 64,
    "anchor_documents": 8,
    "anchor_minimum": 4,
    "recent_slices": 2,
    "holdout_share": 0.4,
    "holdout_share_most": 0.5,
    "remembered_sides": 1_000,
    "replay_samples": 50,
    "replay_eras": 4,
    "key_quota": 1_000,
    "max_sources": 2,
    "aside_samples": 60,
    "duplicate_window": 1_000,
    "trained_documents": 1_000,
    "quarantine_rows": 20,
    "gaps_kept": 10,
}


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches."""
    monkeypatch.setattr(retention, "ROUNDS", 60)
    monkeypatch.setattr(retention, "REPORTS", 30)
    monkeypatch.setattr(retention, "R_ROWS", 15)
    monkeypatch.setattr(retention, "PAST_GENERATIONS", 200)
    monkeypatch.setattr(offsets, "MOST_STREAMS", 40)


BOUNDS = {
    "facts": 20,
    "streams": 45 + 180,  # each sample that is kept may come from another
    "sources": 4,
    "labels": 5,
    "samples": 300,
    "replay": 50,
    "strata": 50,
    "eras": 4,
    "slices": 2 * 20 + 2,
    "holdout": 64 + 8,
    "counters": 4 * 2 * 3,
    "tallies": 40,
    "seen": 3,
    "trained": 1_200,
    "trained_bands": 1_200 * 8,
    "forgotten": 0,
    "erased_rounds": 0,
    "dead_letters": 21,
    "gaps": 10,
    "rounds": 90,
    "round_offsets": 90 * 5,
    "round_samples": 30 * 120,
    "refusals": 120,
    "aside": 120,
    "generations": 80,
    "past_generations": 200,
    "scores": 30 * 60,
    "document_scores": 15 * 80,
    "key_counts": 2 * 4,
    "key_dresses": 0,
    "pending_erasures": 0,
    "scorings": 4,
    "sides": 3,
    "arrivals": 2 * 4,
    "earlier_keys": 0,
    "too_large": 0,  # no learner runs out of memory here
    "skill_scores": 2 * 30,
    "canaries": 40,
    "audit": 1_010,
    "feedback": 0,  # nobody says anything of an answer here
    "corrections": 0,  # nor corrects it
    "picks": 0,  # nor of two
}
"""Rows at most, under the small bounds; nobody asks for an erasure here, each of which would be in `forgotten`."""


SCORED = Scoring("cpu", "float32", 512, 2)


class Years:
    """A store and a person, through rounds that end in every way."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.streams = [Stream(Partition("news", 0, "id-0"))]
        self.texts = 0
        self.generation = 0
        self.made: dict[int, int] = {}
        self.waiting: list[int] = []
        self.exhausted: set[int] = set()
        self.on_disk = {0}

    def arrive(self) -> None:
        """Text, a dead letter, a gap; now and then from a file or a topic made anew."""
        if self.chance.random() < 0.2:
            number = len(self.streams)
            kind = self.chance.choice(["file:/old", "news"])
            self.streams = [*self.streams[-3:], Stream(Partition(kind, number, f"id-{number}-{self.texts}"))]
        stream = self.chance.choice(self.streams)
        self.texts += 5
        documents = stream.documents(
            [text(n, words=14) for n in range(self.texts - 5, self.texts)],
            source=self.chance.choice(["wiki", "news"]),
            labels=self.chance.choices(["calm", "flood"], k=5),
        )
        letters = [] if self.store.quarantine.is_full() else [stream.letter()]
        self.store.append(stream.batch(documents, letters, [stream.gap(2)]))
        if self.chance.random() < 0.05:
            self.store.quarantine.drop()

    def round(self) -> None:
        """One round, with whatever end; a person looks after what waits now and then."""
        self.arrive()
        try:
            draw = self._drawn()
        except AsideFull:
            return self.decide()
        if draw is None:
            return None
        end = self.chance.choices([self._accept, self._refuse, self._fail, self._hold], [60, 20, 15, 5])[0]
        end(draw)
        if self.chance.random() < 0.02:
            self.decide()
        if self.chance.random() < 0.02 and self.store.generations.serving():
            self.store.generations.rollback()
        return None

    def _drawn(self) -> RoundDraw | None:
        approved = [one.number for one in self.store.rounds.approved() if one.number not in self.exhausted]
        released = approved[0] if approved else None
        draw = self.store.rounds.begin(trigger="test", recipe={"steps": 3}, seed=1, released_from=released)
        if draw is None and released is not None:
            self.exhausted.add(released)
        return draw

    def _accept(self, draw: RoundDraw) -> None:
        plan = CanaryPlan("canary", 0.1) if draw.number % 4 == 0 else None
        nll, report = self.chance.uniform(1, 3), {"filler": "x" * 2_000}
        number = accept(self.store, draw, nll=nll, report=report, canary=plan)
        if plan is not None:
            self.store.canaries.promote(number, {"filler": "x" * 2_000}, by="its watch")
        assert number > self.generation
        for name in ("sums", "names"):
            rights = "".join(self.chance.choices("01", k=40))
            self.store.generations.save_skill_scores(number, {name: SkillScore("v", rights)}, scored=SCORED)
        self.generation = number
        self.made[number] = draw.number
        kept = {0, number, draw.parent_generation, *range(number - 2, number)}
        self.on_disk.add(number)
        self.store.generations.retire(sorted(self.on_disk - kept))
        self.on_disk &= kept

    def _refuse(self, draw: RoundDraw) -> None:
        self.generation = max(self.generation, self.store.generations.reserve(draw.number))
        refuse(self.store, draw)

    def _fail(self, draw: RoundDraw) -> None:
        self.store.rounds.fail(draw.number, reason="killed")

    def _hold(self, draw: RoundDraw) -> None:
        judge(self.store, draw.number)
        self.store.rounds.hold(draw.number, verdict={"wait": True}, report={"filler": "x"})
        self.waiting.append(draw.number)

    def decide(self) -> None:
        """A person's word for all that is aside but the round that waits longest."""
        for group in self.store.aside.groups():
            if group.round not in self.waiting:
                self.store.aside.drop(round_number=group.round)
        while len(self.waiting) > 1 or (self.waiting and self.store.counts().aside_is_full):
            number = self.waiting.pop()
            (self.store.rounds.release if self.chance.random() < 0.5 else self.store.rounds.drop)(number)


def rows(store: Store) -> dict[str, int]:
    """How many rows each table has."""
    tables = column(store, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'")
    return {table: value(store, f"SELECT count(*) FROM {table}") for table in tables}


def assert_what_is_needed_is_there(years: Years) -> None:
    """What waits, what is aside, what serves and where it came from, what is listed and what was best."""
    store = years.store
    for number in years.waiting:
        assert store.rounds.read(number).report
        assert store.rounds.samples(number)
    assert all(store.rounds.read(group.round) for group in store.aside.groups())
    serving, listed = store.generations.read(store.generations.serving() or 0), store.generations.listed()
    assert {0, serving.number, serving.parent or 0} <= {one.number for one in listed}
    assert all(store.rounds.read(one.round).recipe for one in listed if one.round is not None)
    best = column(store, "SELECT DISTINCT generation FROM document_scores")
    assert set(best) <= {row.generation for row in store.generations.score_matrix()}
    slices = value(store, "SELECT count(*) FROM slices WHERE state IN ('anchor', 'closed')")
    assert len({row.slice for row in store.generations.score_matrix()}) <= slices
    for number in (one for one in years.made if one > years.generation - 200):
        one = store.generations.read(number)
        assert (one.round, one.digest) == (years.made[number], f"digest {number}")


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
def test_twelve_hundred_rounds_leave_a_store_no_larger_than_six_hundred(tmp_path: Path) -> None:
    """No table grows for ever, nor does the file; numbers are never used again; the file is sound."""
    with open_store(tmp_path / "a.db", **SMALL) as store:
        with store.file.database.exclusive() as writer:
            writer.execute("PRAGMA synchronous = OFF")
        years, sizes = Years(store, seed=1), []
        assert rows(store).keys() == BOUNDS.keys()
        for number in range(1_200):
            years.round()
            if number % 200 == 199:
                assert {name: count for name, count in rows(store).items() if count > BOUNDS[name]} == {}
                assert_what_is_needed_is_there(years)
            if number % 600 == 599:
                sizes.append(store.file_bytes()["database"])
        assert sizes[1] <= 1.1 * sizes[0]
        assert value(store, "PRAGMA integrity_check") == "ok"
        assert store.rounds.listed(limit=1)[0].number > 1_000


def rounds(store: Store, stream: Stream, number: int) -> None:
    """So many accepted rounds; but for the latest their generations lose their files, as in a daemon."""
    for _ in range(number):
        at = stream.offset
        draw = round_of(store, stream, [text(n) for n in range(at, at + 30)])
        store.generations.retire(range(1, value(store, "SELECT generation FROM rounds WHERE number = ?", draw.number)))


def test_of_a_generation_long_gone_it_stays_known_where_it_came_from(
    store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line leaves the list; at last it goes altogether, its number never to be used again."""
    monkeypatch.setattr(retention, "ROUNDS", 3)
    monkeypatch.setattr(retention, "PAST_GENERATIONS", 6)
    store = Store(
        Session(store.file.database, store.file.settings.model_copy(update={"lineage_rounds": 1}), store.file.clock)
    )
    rounds(store, stream, 10)
    assert [one.number for one in store.generations.listed()] == [0, 8, 9, 10]
    past = store.generations.read(5)
    assert (past.state, past.parent, past.round, past.digest) == (GenerationState.RETIRED, 4, 5, "digest 5")
    with pytest.raises(UnknownGeneration, match="There is no generation 3"):
        store.generations.read(3)
    with pytest.raises(UnknownRound):
        store.rounds.read(5)
    with pytest.raises(WrongState, match="retired"):
        store.generations.rollback(5)


def test_numbers_do_not_hang_on_what_is_left(store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest number was given up and its line is gone: the next is another one."""
    monkeypatch.setattr(retention, "ROUNDS", 1)
    store = Store(
        Session(store.file.database, store.file.settings.model_copy(update={"lineage_rounds": 1}), store.file.clock)
    )
    store.append(stream.of([text(n) for n in range(60)]))
    for expected in (1, 2, 3):
        draw = begin(store)
        assert [one.number for one in store.generations.listed()] == [0]
        assert store.generations.reserve(draw.number) == expected
        store.rounds.fail(draw.number, reason="killed")


def test_a_round_that_waits_outlives_every_bound(store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who comes back after months finds its figures, and its text can still be drawn by name."""
    for bound in ("ROUNDS", "REPORTS", "R_ROWS"):
        monkeypatch.setattr(retention, bound, 1)
    store = Store(
        Session(store.file.database, store.file.settings.model_copy(update={"lineage_rounds": 1}), store.file.clock)
    )
    store.append(stream.of([text(n) for n in range(9_000, 9_060)]))
    waiting = begin(store)
    judge(store, waiting.number)
    store.rounds.hold(waiting.number, verdict={"why": "odd"}, report={"loss": 9})
    rounds(store, stream, 5)
    assert [one.number for one in store.rounds.listed()] == [6, 5, 1]
    assert store.rounds.read(1).report == {"loss": 9}
    assert store.rounds.waiting() == [1]
    store.rounds.release(1)
    assert store.rounds.waiting() == []
    rounds_before = value(store, "SELECT value FROM facts WHERE name = 'rounds_begun'")
    drawn = begin(store, released_from=1)
    ids = [{one.id for one in draw.fresh + draw.early_stop} for draw in (waiting, drawn)]
    assert ids[0] == ids[1]
    accept(store, drawn)
    rounds(store, stream, 3)
    with pytest.raises(UnknownRound):
        store.rounds.read(1)
    assert store.rounds.listed()[0].number == rounds_before + 4


def test_text_that_is_aside_keeps_its_round(store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed, released and dropped by that number."""
    monkeypatch.setattr(retention, "ROUNDS", 1)
    settings = store.file.settings.model_copy(update={"lineage_rounds": 1, "refusals_until_aside": 1})
    store = Store(Session(store.file.database, settings, store.file.clock))
    store.append(stream.of([text(n) for n in range(9_000, 9_060)]))
    assert refuse(store, begin(store)) > 0
    rounds(store, stream, 3)
    assert store.rounds.read(1).state is RoundState.REFUSED
    assert store.aside.release(round_number=1) > 0


def test_the_latest_rows_of_r_stay_and_those_of_the_base_and_the_best(
    store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared with, and what is shown; the others leave R, not the ledger."""
    monkeypatch.setattr(retention, "R_ROWS", 3)
    store.generations.save_scores(0, {"anchor": SliceScore(4.0, 10, 1)})
    for nll in (3.0, 1.0, 2.9, 2.8, 2.7, 2.6, 2.5):
        at = stream.offset
        store.append(stream.of([text(n) for n in range(at, at + 100)]))
        number = accept(store, begin(store), nll)
        store.generations.retire(range(1, number))
    begin_with(store, stream)
    assert {row.generation for row in store.generations.score_matrix()} == {0, 2, 5, 6, 7}
    assert [one.number for one in store.generations.listed()] == list(range(8))


def begin_with(store: Store, stream: Stream) -> RoundDraw:
    """Some text, and a round begun with it."""
    store.append(stream.of([text(n) for n in range(stream.offset, stream.offset + 30)]))
    return begin(store)


def test_a_line_that_the_ledger_has_let_go_of_comes_from_the_base() -> None:
    """Its measures are taken against what everything started from."""
    assert lineage({0: None, 7: 6, 8: 7}, 8) == [0, 7, 8]
    assert lineage({0: None, 1: 0}, 1) == [0, 1]
    assert lineage({0: None}, 5) == []


def test_streams_are_bounded_and_files_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a partition stands outlives a flood of files; what kept text came from keeps its name."""
    monkeypatch.setattr(offsets, "MOST_STREAMS", 10)
    idle, text_of = Partition("idle", 0, "id"), Stream(Partition("file:/kept", 0, "id"))
    store.append(Batch((), (), (), {idle: 7}))
    store.append(text_of.of([text(1), text(2)]))
    for number in range(40):
        store.append(Batch((), (), (), {Partition(f"file:/{number}", 0, "id"): 5}))
    assert store.next_offset("idle", 0, "id") == 7
    assert store.next_offset("file:/kept", 0, "id") == 2
    assert value(store, "SELECT count(*) FROM streams") <= 11
    assert store.next_offset("file:/0", 0, "id") is None
    assert store.next_offset("file:/39", 0, "id") == 5


def test_lineage_from_a_stream_that_is_forgotten_can_be_read(
    store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offsets stay; the partition's name is gone."""
    draw = round_of(store, stream, [text(n) for n in range(30)])
    store.append(Batch((), (), (), {Partition("other", 0): 5}))
    with store.file.database.write() as tx:
        tx.execute("DELETE FROM streams WHERE topic = ?", (stream.partition.topic,))
    assert {one.partition for one in store.rounds.samples(draw.number)} == {offsets.GONE}
    assert store.rounds.read(draw.number).offsets == {offsets.GONE: (0, 29)}
