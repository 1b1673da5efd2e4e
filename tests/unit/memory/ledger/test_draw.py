"""What a round is given."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from memory.errors import AsideFull, UnknownRound, WrongState
from memory.ledger.records import DrawSpec, LeftOut
from memory.ledger.states import RoundState
from memory.metrics import MemoryMetrics
from memory.samples.records import Role
from memory.store import Store
from streams.document import Partition
from tests.unit.memory.helpers import (
    NOW,
    Stream,
    accept,
    begin,
    column,
    edited,
    open_store,
    refuse,
    round_of,
    text,
)


def test_no_round_begins_without_fresh_text(store: Store, stream: Stream) -> None:
    """And its number is not used up, nor its period closed."""
    assert store.rounds.begin(trigger="test", recipe={}, seed=1) is None
    store.append(stream.of([text(n) for n in range(20)]))
    assert begin(store).number == 1


def test_no_round_begins_before_a_base_is_known(tmp_path: Path, stream: Stream) -> None:
    """There is nothing to start from."""
    from memory.settings import MemorySettings

    with Store.open(tmp_path / "a.db", MemorySettings()) as store:
        store.append(stream.of([text(1)]))
        with pytest.raises(WrongState, match="No base model"):
            store.rounds.begin(trigger="test", recipe={}, seed=1)


def test_never_two_rounds_at_once(store: Store, stream: Stream) -> None:
    """The second is refused by name of the first."""
    store.append(stream.of([text(n) for n in range(20)]))
    begin(store)
    with pytest.raises(WrongState, match="Round 1 is drawn"):
        begin(store)


def test_fresh_text_is_drawn_oldest_first_up_to_its_tokens(store: Store, stream: Stream) -> None:
    """What is left waits for the next round."""
    store.append(stream.of([text(n) for n in range(100)]))
    ids = column(store, "SELECT id FROM samples WHERE role = ? ORDER BY id", Role.FRESH)
    draw = begin(store, spec=DrawSpec(fresh_tokens=1_000))
    drawn = sorted(one.id for one in draw.fresh + draw.early_stop)
    assert drawn == ids[: len(drawn)]
    assert 0.8 * 1_000 <= sum(one.tokens for one in draw.fresh + draw.early_stop) <= 1_000
    accept(store, draw)
    assert store.counts().fresh_samples == len(ids) - len(drawn)


def test_a_document_larger_than_the_limit_is_drawn_alone(store: Store, stream: Stream) -> None:
    """It must not stop the river."""
    store.append(stream.of([text(n, words=500) for n in range(5)]))
    draw = begin(store, spec=DrawSpec(fresh_tokens=10))
    assert len(draw.fresh) == 1
    assert draw.early_stop == ()


def test_the_parts_of_a_draw_do_not_overlap(store: Store, stream: Stream) -> None:
    """Nothing is trained on and measured on, early stopping and the gate's slices included."""
    for number in range(3):
        round_of(store, stream, [text(n) for n in range(number * 300, number * 300 + 300)])
    store.append(stream.of([text(n) for n in range(5_000, 5_300)]))
    draw = begin(store)
    parts = [draw.fresh, draw.replay, draw.early_stop, *(part.samples for part in draw.slices)]
    ids = Counter(one.id for part in parts for one in part)
    assert max(ids.values()) == 1
    assert {one.role for part in draw.slices for one in part.samples} == {Role.HOLDOUT}
    assert 0 < len(draw.early_stop) <= 64


def test_replay_takes_its_share_of_tokens(store: Store, stream: Stream) -> None:
    """Of all training tokens a share of the replay ratio, within a document's length."""
    store.append(stream.of([text(n) for n in range(5_000, 6_500)]), before_stream=True)
    store.append(stream.of([text(n) for n in range(300)]))
    draw = begin(store, spec=DrawSpec(replay_ratio=0.6))
    fresh, replay = (sum(one.tokens for one in part) for part in (draw.fresh, draw.replay))
    assert replay / (fresh + replay) == pytest.approx(0.6, abs=0.01)


def test_replay_is_all_there_is_where_that_is_less(store: Store, stream: Stream) -> None:
    """A young memory replays what it has."""
    store.append(stream.of([text(n) for n in range(5_000, 5_020)]), before_stream=True)
    store.append(stream.of([text(n) for n in range(300)]))
    assert len(begin(store).replay) == store.counts().replay_samples


def test_replay_is_drawn_uniformly(store: Store, stream: Stream) -> None:
    """Twenty of 200, two thousand times: each sample comes equally often (chi-square, p = 0.9999)."""
    store.append(stream.of([text(n, words=8) for n in range(200)]), before_stream=True)
    size = store.counts().replay_samples
    drawn: Counter[int] = Counter()
    for seed in range(2_000):
        drawn.update(one.id for one in store.sample_replay(20, seed=seed))
    expected = 2_000 * 20 / size
    statistic = sum((count - expected) ** 2 for count in drawn.values()) / (expected * (1 - 20 / size))
    degrees = size - 1
    assert len(drawn) == size
    assert statistic < degrees + 3.72 * np.sqrt(2 * degrees)


def test_the_same_seed_draws_the_same(store: Store, stream: Stream) -> None:
    """And another seed otherwise."""
    store.append(stream.of([text(n, words=8) for n in range(300)]), before_stream=True)
    draws = [[one.id for one in store.sample_replay(50, seed=seed)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_fresh_text_close_to_held_out_text_that_came_later_is_not_drawn(store: Store, stream: Stream) -> None:
    """The check at arrival cannot know the future; the one at the draw does."""
    texts = [text(n, words=60) for n in range(300)]
    store.append(stream.of(texts))
    store.append(stream.of([edited(one, n) for n, one in enumerate(texts)]))
    held = column(store, "SELECT offset - 300 FROM samples WHERE role = ? AND offset >= 300", Role.HOLDOUT)
    fresh = column(store, "SELECT offset FROM samples WHERE role = ? AND offset < 300", Role.FRESH)
    too_close = set(held) & set(fresh)
    draw = begin(store)
    drawn = set(column(store, "SELECT offset FROM samples WHERE role = ?", Role.FRESH))
    assert len(too_close) >= 5
    assert len(too_close & drawn) <= 1
    assert len(draw.fresh) + len(draw.early_stop) == len(drawn)
    assert store.counts().tallies["near_duplicates"] >= len(too_close) - 1


def test_held_out_text_that_arrives_during_a_round_is_checked_before_it_is_used(store: Store, stream: Stream) -> None:
    """A copy of what is being trained on must not become a measure in the next round."""
    texts = [text(n, words=60) for n in range(300)]
    store.append(stream.of(texts))
    draw = begin(store)
    copies = store.append(stream.of([edited(one.text, n) for n, one in enumerate(draw.fresh)])).holdout
    assert copies >= 3
    accept(store, draw)
    newest = [part for part in begin(store).slices if part.kind == "newest"]
    assert sum(len(part.samples) for part in newest) <= 1


def test_the_offsets_of_the_fresh_text_are_told(store: Store, stream: Stream) -> None:
    """First and last of each partition."""
    other = Stream(Partition("other", 2))
    other.offset = 70
    store.append(stream.of([text(n) for n in range(50)]))
    store.append(other.of([text(n) for n in range(50, 100)]))
    draw = begin(store)
    assert draw.offsets.keys() == {stream.partition, other.partition}
    first, last = draw.offsets[other.partition]
    assert 70 <= first < last <= 119
    assert store.rounds.read(1).offsets == draw.offsets


def with_many_slices(path: Path, stream: Stream) -> None:
    """Six accepted rounds and newest text."""
    with open_store(path, holdout_share=0.3) as store:
        for number in range(6):
            round_of(store, stream, [text(n) for n in range(number * 400, number * 400 + 400)])
        store.append(stream.of([text(n) for n in range(5_000, 5_400)]))


def test_the_evaluation_is_bounded(tmp_path: Path, stream: Stream) -> None:
    """However many slices there are; the anchor and the newest text keep their part beside many old slices."""
    with_many_slices(tmp_path / "a.db", stream)
    with open_store(tmp_path / "a.db", evaluation_documents=48) as store:
        draw = begin(store)
    documents = Counter[str]()
    for part in draw.slices:
        documents[part.kind] += len(part.samples)
    assert documents == {"anchor": 16, "newest": 16, "period": 16}
    (left,) = (part for part in draw.left_out if part.what == "holdout")
    assert left.setting == "memory.evaluation_documents"
    assert left.documents > 100


@pytest.mark.parametrize("bound", [8, 40, 500])
def test_a_slice_is_judged_on_all_that_its_setting_allows(tmp_path: Path, stream: Stream, bound: int) -> None:
    """No number of its own stands behind `slice_documents`, and a lower one counts for slices that are fuller."""
    with open_store(tmp_path / "a.db", holdout_share=0.5, slice_documents=500) as store:
        round_of(store, stream, [text(n) for n in range(900)])
        held = store.counts().holdout_samples
    with open_store(tmp_path / "a.db", slice_documents=bound) as store:
        store.append(stream.of([text(n) for n in range(5_000, 5_040)]))
        draw = begin(store)
        (period,) = (part for part in draw.slices if part.kind == "period")
        anchor = sum(len(part.samples) for part in draw.slices if part.kind == "anchor")
    assert len(period.samples) == min(bound, held - anchor)
    assert any(part.setting == "memory.slice_documents" for part in draw.left_out) is (bound < held - anchor)


def test_the_anchor_is_judged_on_as_far_as_its_setting_allows(tmp_path: Path, stream: Stream) -> None:
    """It keeps more than other slices, and is worth no less in a verdict."""
    with open_store(tmp_path / "a.db", slice_documents=8, anchor_documents=100, holdout_share=0.5) as store:
        store.append(stream.of([text(n) for n in range(400)]), before_stream=True)
        store.append(stream.of([text(n) for n in range(5_000, 5_100)]))
        draw = begin(store)
        assert {part.kind: len(part.samples) for part in draw.slices} == {"anchor": 100, "newest": 8}


def test_a_round_draws_the_tokens_that_its_setting_allows_and_says_what_waits(tmp_path: Path, stream: Stream) -> None:
    """The store's own budget, or the recipe's where that is lower; the line of the round keeps what was left."""
    with open_store(tmp_path / "a.db", round_tokens=3_000) as store:
        store.append(stream.of([text(n) for n in range(300)]))
        for spec, most, setting in (
            (DrawSpec(replay_ratio=0.0), 3_000, "memory.round_tokens"),
            (DrawSpec(fresh_tokens=1_000, replay_ratio=0.0), 1_000, "learner.recipe.max_tokens"),
            (DrawSpec(fresh_tokens=10**9, replay_ratio=0.0), 3_000, "memory.round_tokens"),
        ):
            fresh = store.counts().fresh_samples
            draw = begin(store, spec=spec)
            assert 0.8 * most <= sum(one.tokens for one in draw.fresh) <= most
            assert draw.left_out == (LeftOut("fresh", fresh - len(draw.fresh), setting),)
            assert store.rounds.read(draw.number).left_out == draw.left_out
            store.rounds.fail(draw.number, reason="a test")


def test_a_rounds_line_tells_what_it_was_given(store: Store, stream: Stream) -> None:
    """Trigger, recipe, seed, parent, time and sizes."""
    store.append(stream.of([text(n) for n in range(100)]))
    draw = begin(store, seed=9)
    line = store.rounds.read(1)
    assert (line.state, line.trigger, line.recipe, line.seed) == (RoundState.DRAWN, "test", {"steps": 3}, 9)
    assert (line.parent_generation, line.base_generation, line.begun_at) == (0, 0, NOW)
    assert line.fresh_samples == len(draw.fresh)
    assert line.fresh_tokens == pytest.approx(sum(one.tokens for one in draw.fresh), abs=len(draw.fresh))


def test_no_round_begins_while_too_much_is_aside(tmp_path: Path, stream: Stream) -> None:
    """The bound on what is set aside is loud."""
    with open_store(tmp_path / "a.db", aside_samples=10, refusals_until_aside=1) as store:
        registry = CollectorRegistry()
        MemoryMetrics(registry, store)
        store.append(stream.of([text(n) for n in range(50)]))
        refuse(store, begin(store))
        store.append(stream.of([text(n) for n in range(50, 60)]))
        assert store.counts().aside_is_full
        assert registry.get_sample_value("riverkeep_memory_aside_full") == 1
        with pytest.raises(AsideFull, match="release or drop"):
            begin(store)
        store.aside.drop(round_number=1)
        assert begin(store).number == 2


def test_only_a_released_round_is_drawn_by_name(store: Store, stream: Stream) -> None:
    """A person's word is needed first."""
    store.append(stream.of([text(n) for n in range(50)]))
    refuse(store, begin(store))
    with pytest.raises(WrongState, match="not released"):
        begin(store, released_from=1)
    with pytest.raises(UnknownRound):
        begin(store, released_from=7)


def test_held_out_documents_of_one_key_are_drawn_as_one_voice(tmp_path: Path, stream: Stream) -> None:
    """In all slices together: an author writes in more than one."""
    with open_store(tmp_path / "a.db", holdout_share=0.4, anchor_minimum=4) as store:
        keys = [f"author {n % 12}" if n % 4 else None for n in range(240)]
        for start in (0, 120):
            store.append(stream.of([text(n) for n in range(start, start + 120)], keys=keys[start : start + 120]))
            draw = begin(store)
            outlined = {part.kind: dict(part.keys) for part in store.rounds.foreseen_slices()}
            if start == 0:
                accept(store, draw)
        by_key: dict[int, set[int]] = {}
        for part in draw.slices:
            for one in part.samples:
                number = part.keys.get(one.id, one.id)
                by_key.setdefault(number, set()).add(-one.id if one.key_hash is None else one.key_hash)
        assert all(len(hashes) == 1 for hashes in by_key.values())
        hashes = [next(iter(each)) for each in by_key.values()]
        assert len(set(hashes)) == len(hashes)
        assert any(part.keys for part in draw.slices)
        assert {part.kind: dict(part.keys) for part in draw.slices if part.kind == "anchor"}["anchor"] == outlined[
            "anchor"
        ]


def test_an_anchor_of_few_keys_is_not_frozen_yet(tmp_path: Path, stream: Stream) -> None:
    """A hundred documents of three authors are too few to judge by, for ever."""
    with open_store(tmp_path / "a.db", holdout_share=0.5, anchor_minimum=8) as store:
        before = Stream(Partition("before", 0))
        keys = [f"author {n % 8}" for n in range(160)]
        store.append(before.of([text(5_000 + n) for n in range(160)], keys=keys), before_stream=True)
        store.append(stream.of([text(n) for n in range(60)]))
        refuse(store, begin(store))
        later = [text(9_000 + n) for n in range(60)]
        assert store.append(before.of(later), before_stream=True).holdout > 0


def test_an_anchor_that_was_frozen_with_too_few_takes_more_again(tmp_path: Path, stream: Stream) -> None:
    """A version before asked for fewer: no round could be judged by it, and nobody could add to it."""
    before = Stream(Partition("before", 0))
    with open_store(tmp_path / "a.db", holdout_share=0.5, anchor_minimum=8) as store:
        store.append(before.of([text(5_000 + n) for n in range(40)]), before_stream=True)
        store.append(stream.of([text(n) for n in range(60)]))
        refuse(store, begin(store))
        assert store.append(before.of([text(7_000 + n) for n in range(40)]), before_stream=True).holdout == 0
    with open_store(tmp_path / "a.db", holdout_share=0.5, anchor_minimum=60) as store:
        assert store.append(before.of([text(9_000 + n) for n in range(40)]), before_stream=True).holdout > 0


def test_what_comes_from_some_topics_counts_more(store: Store, stream: Stream) -> None:
    """In every part that is drawn and in the lineage, also once it is replayed; what is drawn without counts as all."""
    corrections = Stream(Partition("(feedback)", 0))
    spec = DrawSpec(early_stop_share=0.3, early_stop_documents=64, weights={"(feedback)": 2.5, "never seen": 9.0})
    for first in (0, 1_000):
        store.append(stream.of([text(n) for n in range(first, first + 60)]))
        store.append(corrections.of([text(n) for n in range(first + 500, first + 560)], source="feedback"))
        draw = begin(store, spec=spec)
        parts = {"fresh": draw.fresh, "replay": draw.replay, "early_stop": draw.early_stop}
        noted = {one.sample_id: one for one in store.rounds.samples(draw.number)}
        for part, samples in parts.items():
            assert bool(samples) is (part != "replay" or first > 0)
            for one in samples:
                assert one.weight == (2.5 if one.source == "feedback" else 1)
                assert (noted[one.id].part, noted[one.id].weight) == (part, one.weight)
        assert {one.weight for one in noted.values() if one.part == "slice"} <= {1}
        accept(store, draw)
    store.append(corrections.of([text(n) for n in range(3_000, 3_060)], source="feedback"))
    assert {one.weight for one in begin(store).fresh} == {1}
