"""Text that no step of an accepted round touched: it stays fresh, and nothing says that a generation has seen it."""

from pathlib import Path

import pytest

from memory.ledger.records import DrawSpec, RoundDraw, Trained
from memory.samples.records import Role
from memory.store import Store
from streams.document import Partition
from tests.unit.memory.helpers import EVERYTHING, Stream, accept, begin, column, open_store, text, with_anchor


def fed(path: Path, count: int = 100, **settings: float) -> Store:
    """A store with an anchor and fresh text, each document of a person of its own."""
    store = open_store(path / "memory.db", holdout_share=0.2, **settings)
    with_anchor(store)
    store.append(Stream().of([text(n) for n in range(count)], keys=[f"person {n}" for n in range(count)]))
    return store


def fresh(store: Store) -> list[int]:
    """Ids of the fresh samples, oldest first."""
    return column(store, "SELECT id FROM samples WHERE role = 2 ORDER BY id")


def touched(draw: RoundDraw, count: int) -> Trained:
    """The oldest samples of the draw, and the first that is replayed."""
    return Trained(frozenset([one.id for one in draw.fresh][:count] + [one.id for one in draw.replay][:1]))


def test_what_no_step_touched_stays_fresh_and_is_drawn_first(tmp_path: Path) -> None:
    """With what was kept apart to tell when to stop; what was trained on settles."""
    with fed(tmp_path) as store:
        draw = begin(store)
        trained = touched(draw, 10)
        accept(store, draw, trained=trained)
        left = [one.id for one in (*draw.fresh, *draw.early_stop) if one.id not in trained.touched]
        assert draw.early_stop
        assert fresh(store) == sorted(left)
        assert store.counts().fresh_samples == len(left)
        assert set(column(store, "SELECT sample FROM replay")) >= {one.id for one in draw.fresh[:10]}
        again = begin(store, seed=2)
        assert {one.id for one in (*again.fresh, *again.early_stop)} == set(left)


def test_lineage_names_what_was_trained_on_alone(tmp_path: Path) -> None:
    """By sample, by person and at an erasure; replayed text too."""
    with fed(tmp_path) as store:
        draw = begin(store)
        generation = accept(store, draw, trained=touched(draw, 10))
        parts = {one.sample_id: one.part for one in store.rounds.samples(draw.number)}
        assert {parts[one.id] for one in draw.fresh[:10]} == {"fresh"}
        assert {parts[one.id] for one in draw.fresh[10:]} == {"untouched"}
        assert [parts[one.id] for one in draw.replay].count("replay") == 1
        numbers = {one.id: n for one in draw.fresh for n in range(100) if one.text == text(n)}
        seen, unseen = (f"person {numbers[one.id]}" for one in (draw.fresh[0], draw.fresh[-1]))
        assert store.people.find(seen).generations == (generation,)
        assert store.people.find(unseen).generations == ()
        assert store.people.find(unseen).rounds == {draw.number: {"untouched": 1}}
        erased = store.people.forget(unseen)
        assert (erased.generations, erased.rounds) == ((), (draw.number,))
        assert store.people.saw_erased_text() == {}
        assert store.people.forget(seen).generations == (generation,)


def test_a_river_that_trains_a_little_each_time_leaves_nothing_behind(tmp_path: Path) -> None:
    """The oldest go first, so that each document is trained on after as many rounds as it takes."""
    with fed(tmp_path, 60) as store:
        trained_on: list[int] = []
        for seed in range(1, 40):
            if not fresh(store):
                break
            draw = begin(store, seed)
            trained = touched(draw, 5)
            accept(store, draw, trained=trained)
            trained_on += [one.id for one in draw.fresh[:5]]
        assert not fresh(store)
        assert len(trained_on) == len(set(trained_on))


def test_text_that_nothing_can_be_trained_on_does_not_come_again(tmp_path: Path) -> None:
    """It settles, and lineage does not say that it was trained on."""
    with fed(tmp_path) as store:
        draw = begin(store)
        empty = draw.fresh[0].id
        accept(store, draw, trained=Trained(frozenset(one.id for one in draw.fresh[1:]), frozenset({empty})))
        assert empty not in fresh(store)
        assert {one.part for one in store.rounds.samples(draw.number) if one.sample_id == empty} == {"untouched"}


@pytest.mark.parametrize("spec", [EVERYTHING, DrawSpec(fresh_tokens=1_500)])
def test_held_out_text_stays_newest_with_the_fresh_text_that_it_arrived_with(tmp_path: Path, spec: DrawSpec) -> None:
    """Its slice closes when that is trained on: what arrived up to the youngest that was trained on closes now."""
    with fed(tmp_path) as store:
        draw = begin(store, spec=spec)
        before = {one.id for part in draw.slices if part.kind == "newest" for one in part.samples}
        trained = touched(draw, 20)
        accept(store, draw, trained=trained)
        youngest = max(one.id for one in draw.fresh if one.id in trained.touched)
        kept = "SELECT sample FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state = ?"
        assert set(column(store, kept, "closed")) == {one for one in before if one < youngest}
        assert set(column(store, kept, "open")) == {one for one in before if one > youngest}
        assert store.counts().open_holdout == len(column(store, kept, "open"))
        again = begin(store, seed=2, spec=spec)
        newest = {one.id for part in again.slices if part.kind == "newest" for one in part.samples}
        assert newest == {one for one in before if one > youngest}
        assert {part.kind for part in again.slices} == {"anchor", "newest", "period"}


def test_where_all_was_trained_on_the_slice_closes_whole(tmp_path: Path) -> None:
    """Held-out text that is younger than the youngest trained on has no fellows that are fresh."""
    with fed(tmp_path) as store:
        draw = begin(store, spec=DrawSpec(early_stop_share=0.0))
        accept(store, draw, trained=Trained(frozenset(one.id for one in (*draw.fresh, *draw.replay))))
        assert store.counts().open_holdout == 0
        assert {one.role for one in store.counts().by_role_and_source} == {Role.REPLAY, Role.HOLDOUT}


def test_held_out_text_that_stays_joins_what_has_arrived_meanwhile(tmp_path: Path) -> None:
    """Within the bound of a slice."""
    with fed(tmp_path, slice_documents=8) as store:
        draw = begin(store)
        store.append(Stream(Partition("other", 0)).of([text(n) for n in range(1_000, 1_100)]))
        accept(store, draw, trained=touched(draw, 20))
        sizes = column(store, "SELECT count(*) FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state = 'open'")
        assert sizes == [8]
