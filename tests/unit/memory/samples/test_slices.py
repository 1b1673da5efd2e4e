"""Slices: bounded, uniform, merged with age; and the frozen anchor."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memory.ledger.records import SliceScore
from memory.samples.records import Role
from memory.samples.slices import SliceRow, merges
from memory.store import Store
from tests.unit.memory.helpers import (
    Stream,
    accept,
    begin,
    column,
    open_store,
    refuse,
    round_of,
    text,
    value,
    with_anchor,
)


def closed(number: int, first: int, last: int) -> SliceRow:
    """A closed slice of one source."""
    return SliceRow(number, "closed", 1, first, last, 0)


@given(st.integers(1, 200), st.integers(1, 6))
def test_old_slices_merge_into_few_age_buckets(rounds: int, recent: int) -> None:
    """Round by round: all rounds stay covered, the latest stay apart, and the number grows as the logarithm."""
    rows: list[SliceRow] = []
    for number in range(1, rounds + 1):
        rows.append(closed(number, number, number))
        for older, newer in merges(rows, recent):
            assert older.last_round + 1 == newer.first_round
            place = [row.first_round for row in rows].index(older.first_round)
            rows[place : place + 2] = [rows[place]._replace(last_round=newer.last_round)]
    assert rows[0].first_round == 1
    assert rows[-1].last_round == rounds
    assert all(one.last_round + 1 == two.first_round for one, two in pairwise(rows))
    assert all(row.first_round == row.last_round for row in rows[-recent:])
    assert len(rows) <= recent + 2 * rounds.bit_length()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 100), st.integers(1, 6))
@example([1, 2], 100, 4)
def test_uneven_periods_merge_into_few_age_buckets_too(pattern: list[int], times: int, recent: int) -> None:
    """Refused rounds make periods of several rounds: whatever their order, the number grows as the logarithm."""
    rows: list[SliceRow] = []
    end = 0
    for span in pattern * times:
        rows.append(closed(len(rows), end + 1, end + span))
        end += span
        for older, newer in merges(rows, recent):
            place = [row.first_round for row in rows].index(older.first_round)
            rows[place : place + 2] = [rows[place]._replace(last_round=newer.last_round)]
    assert (rows[0].first_round, rows[-1].last_round) == (1, end)
    assert all(one.last_round + 1 == two.first_round for one, two in pairwise(rows))
    assert len(rows) <= recent + 2 * end.bit_length() + 2


def test_older_buckets_are_longer() -> None:
    """After a hundred rounds spans do not grow towards the present."""
    rows: list[SliceRow] = []
    for number in range(1, 101):
        rows.append(closed(number, number, number))
        for older, newer in merges(rows, 4):
            place = [row.first_round for row in rows].index(older.first_round)
            rows[place : place + 2] = [rows[place]._replace(last_round=newer.last_round)]
    ranks = [(row.last_round - row.first_round + 1).bit_length() for row in rows]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] >= 5


def test_a_slice_is_the_held_out_text_between_two_rounds(store: Store, stream: Stream) -> None:
    """Of one source and one period; the newest is what the round trains towards."""
    for number in range(3):
        store.append(stream.of([text(n) for n in range(number * 400, number * 400 + 400)], source="news"))
        store.append(stream.of([text(9_000 + n) for n in range(number * 200, number * 200 + 200)], source="wiki"))
        draw = begin(store)
        accept(store, draw)
    names = [(part.name, part.kind) for part in draw.slices if part.source == "news"]
    assert names == [("news@1-1", "period"), ("news@2-2", "period"), ("news@3-3", "newest")]
    assert {part.source for part in draw.slices} == {"", "news", "wiki"}


def test_a_refused_period_joins_the_next(store: Store, stream: Stream) -> None:
    """Until a round is accepted, all text since the last accepted one is the newest slice."""
    with_anchor(store)
    round_of(store, stream, [text(n) for n in range(300)])
    store.append(stream.of([text(n) for n in range(300, 600)]))
    refuse(store, begin(store))
    store.append(stream.of([text(n) for n in range(600, 900)]))
    draw = begin(store)
    newest = [part for part in draw.slices if part.kind == "newest"]
    assert [(part.name, part.first_round, part.last_round) for part in newest] == [("news@2-3", 2, 3)]
    held = column(
        store, "SELECT id FROM samples WHERE role = ? AND stream = 2 AND offset >= 300 ORDER BY id", Role.HOLDOUT
    )
    assert sorted(one.id for one in newest[0].samples) == held


def test_text_that_arrives_during_a_round_is_of_the_next_period(store: Store, stream: Stream) -> None:
    """The candidate is not judged on text that its parent could not have been judged on."""
    store.append(stream.of([text(n) for n in range(300)]))
    draw = begin(store)
    late = store.append(stream.of([text(n) for n in range(300, 600)])).holdout
    accept(store, draw)
    assert value(store, "SELECT count(*) FROM holdout JOIN slices ON id = slice WHERE state = 'open'") == late
    assert begin(store).slices[-1].name == "news@2-2"


def test_a_slice_keeps_a_bounded_uniform_sample(tmp_path: Path, stream: Stream) -> None:
    """Of about 1,500 documents 100 are kept, evenly over time (chi-square, p = 0.9999); the rest is counted."""
    with open_store(tmp_path / "a.db", slice_documents=100, holdout_share=0.5) as store:
        kept = surplus = 0
        for start in range(0, 3_000, 250):
            appended = store.append(stream.of([text(n, words=8) for n in range(start, start + 250)]))
            kept, surplus = kept + appended.holdout, surplus + appended.surplus
        offsets = column(store, "SELECT offset FROM samples WHERE role = ?", Role.HOLDOUT)
        assert len(offsets) == 100
        parts = [sum(part * 300 <= offset < part * 300 + 300 for offset in offsets) for part in range(10)]
        assert sum((count - 10) ** 2 / 10 for count in parts) < 34
        tallies = store.counts().tallies
        assert tallies["surplus"] == surplus
        assert tallies["evicted"] == kept - 100


def test_all_slices_together_are_bounded_and_the_anchor_is_spared(tmp_path: Path, stream: Stream) -> None:
    """The fullest give up text first; a frozen anchor must not change."""
    bounds = {"slice_documents": 50, "holdout_documents": 90, "anchor_documents": 30, "holdout_share": 0.4}
    with open_store(tmp_path / "a.db", **bounds) as store:
        store.append(stream.of([text(n) for n in range(9_000, 9_200)]), before_stream=True)
        sizes = set()
        for number in range(6):
            round_of(store, stream, [text(n) for n in range(number * 150, number * 150 + 150)])
            assert store.counts().holdout_samples <= 90
            sizes.add(value(store, "SELECT count(*) FROM holdout JOIN slices ON id = slice WHERE state = 'anchor'"))
        assert sizes == {30}


def test_merging_keeps_the_uniform_sample(tmp_path: Path, stream: Stream) -> None:
    """After many rounds each slice holds exactly what of its period has a priority up to its threshold."""
    with open_store(tmp_path / "a.db", slice_documents=16, holdout_share=0.3, recent_slices=1) as store:
        for number in range(9):
            round_of(store, stream, [text(n) for n in range(number * 80, number * 80 + 80)])
        assert value(store, "SELECT count(*) FROM slices WHERE last_round > first_round AND state = 'closed'") >= 2
        assert value(store, "SELECT count(*) FROM holdout JOIN slices ON id = slice WHERE priority > threshold") == 0
        sizes = "SELECT count(*) FROM holdout JOIN slices ON id = slice WHERE state = 'closed' GROUP BY slice"
        assert max(column(store, sizes)) <= 16


def test_the_anchor_comes_from_before_the_stream_and_is_frozen(store: Store, stream: Stream) -> None:
    """Once a round has begun, later text from before the stream adds to replay only."""
    store.append(stream.of([text(n) for n in range(9_000, 10_000)]), before_stream=True)
    store.append(stream.of([text(n) for n in range(100)]))
    draw = begin(store)
    anchor = [one.id for one in draw.slices[0].samples]
    accept(store, draw)
    later = store.append(stream.of([text(n) for n in range(10_000, 10_400)]), before_stream=True)
    assert later.holdout == 0
    assert later.surplus > 0
    store.append(stream.of([text(n) for n in range(100, 200)]))
    assert [one.id for one in begin(store).slices[0].samples] == anchor


def test_without_text_from_before_the_stream_the_first_text_is_the_anchor(tmp_path: Path, stream: Stream) -> None:
    """Half of the first held-out text; it grows round by round until it is large enough, then never again."""
    with open_store(tmp_path / "a.db", anchor_minimum=20, holdout_share=0.2) as store:
        sizes = []
        for number in range(5):
            draw = round_of(store, stream, [text(n) for n in range(number * 60, number * 60 + 60)])
            sizes.append(len(draw.slices[0].samples))
            assert {part.name for part in draw.slices} >= {"anchor", f"news@{number + 1}-{number + 1}"}
    assert 0 < sizes[0] < sizes[1]
    assert sizes[-1] == sizes[-2] >= 20


def test_scores_follow_their_slices_when_these_merge(tmp_path: Path, stream: Stream) -> None:
    """R's columns of both become one: the mean over tokens of what it was made of, where both are known."""
    with open_store(tmp_path / "a.db", recent_slices=1, anchor_minimum=1) as store:
        for number in range(3):
            store.append(stream.of([text(n) for n in range(number * 200, number * 200 + 200)]))
            accept(store, begin(store), nll=2.0 + number)
        parts = store.generations.read(3).scores
        store.append(stream.of([text(n) for n in range(600, 800)]))
        accept(store, begin(store), nll=5.0)
        one, two = parts["news@1-1"], parts["news@2-2"]
        merged = store.generations.read(3).scores["news@1-2"]
        assert merged.mean_nll == pytest.approx(4.0)
        assert (merged.tokens, merged.documents) == (one.tokens + two.tokens, one.documents + two.documents)
        assert {row.generation for row in store.generations.score_matrix() if row.slice == "news@1-2"} == {2, 3, 4}
        assert {row.slice for row in store.generations.score_matrix()} == {"anchor", "news@1-2", "news@3-3", "news@4-4"}


def test_scores_of_a_round_that_was_cut_off_leave_r_when_its_period_goes_on(store: Store, stream: Stream) -> None:
    """The next round's newest slice has another name; nothing would ever be compared with the old one."""
    store.append(stream.of([text(n) for n in range(300)]))
    begin(store)
    store.generations.save_scores(0, {"news@1-1": SliceScore(3.0, 10, 1)})
    store.rounds.fail(1, reason="killed")
    draw = begin(store)
    assert [part.name for part in draw.slices if part.kind == "newest"] == ["news@1-2"]
    assert store.generations.score_matrix() == []
