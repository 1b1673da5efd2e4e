"""Keys of categories: found by their share, split by content, without a quota."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.identity import categories
from memory.identity.categories import KEYS_COUNTED, NOTHING_COUNTED
from memory.samples.records import Role
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, column, open_store, text, value, with_anchor

FEW = ["en", "de", "fr"]


def hash_of(store: Store, key: str) -> int:
    """By which a store knows a key."""
    return store.file.intake.key_hash(key)


def keyed_by(names: list[str], count: int) -> list[str | None]:
    """Keys in turn."""
    return [names[n % len(names)] for n in range(count)]


@given(st.lists(st.lists(st.integers(0, 400).map(lambda n: n * n // 400), max_size=300), max_size=8))
def test_a_count_is_never_too_high_and_never_much_too_low(batches: list[list[int]]) -> None:
    """The bound of Misra and Gries, however the documents came in batches."""
    counted, true = NOTHING_COUNTED, Counter[int]()
    for batch in batches:
        counted = counted.plus(np.array(batch, np.int64))
        true.update(batch)
    known = dict(zip(counted.keys.tolist(), counted.counts.tolist(), strict=True))
    assert len(known) <= KEYS_COUNTED
    assert counted.documents == true.total()
    for key, documents in true.items():
        assert documents - true.total() / (KEYS_COUNTED + 1) <= known.get(key, 0) <= documents


def test_a_change_of_keys_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old counts fade: keys that are gone are no categories for ever."""
    monkeypatch.setattr(categories, "RECENT_DOCUMENTS", 4_000)
    counted = NOTHING_COUNTED
    for _ in range(10):
        counted = counted.plus(np.full(1_000, 7))
    assert counted.categories(200).tolist() == [7]
    for start in range(100, 20_100, 1_000):
        counted = counted.plus(np.arange(start, start + 1_000))
    assert counted.categories(200).tolist() == []


def test_a_source_of_few_keys_is_held_out_in_part_and_learned_whole(store: Store, stream: Stream) -> None:
    """Languages as keys neither hold the gate up for want of held-out text nor cost the text that is over a quota."""
    with_anchor(store)
    for at in range(0, 3_000, 500):
        store.append(stream.of([text(n) for n in range(at, at + 500)], keys=keyed_by(FEW, 500)))
    held = store.counts().holdout_samples
    assert store.counts().open_holdout >= 60
    draw = begin(store)
    accept(store, draw)
    assert len(draw.fresh) > 2_000
    assert value(store, "SELECT value FROM tallies WHERE name = 'over_quota'") in (None, 0)
    assert held < 1_500


@pytest.mark.parametrize("share", [10, 2])
def test_one_busy_author_among_many_keeps_the_quota(store: Store, stream: Stream, share: int) -> None:
    """Half of a source under one key, where the others are people, is one author's."""
    with_anchor(store)
    for at in range(0, 5_000, 500):
        keys = ["busy" if n % share == 0 else f"person {at + n}" for n in range(500)]
        store.append(stream.of([text(n) for n in range(at, at + 500)], keys=keys))
    roles = column(store, "SELECT DISTINCT role FROM samples WHERE key_hash = ?", hash_of(store, "busy"))
    assert len(roles) == 1
    draw = begin(store)
    busy = [one for one in draw.fresh + draw.early_stop if one.key_hash == hash_of(store, "busy")]
    assert roles == [Role.HOLDOUT] or len(busy) == 200


def test_the_counts_outlive_a_restart_and_are_shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What another process counted is taken into account by this one."""
    path = tmp_path_factory.mktemp("store") / "riverkeep.db"
    stream = Stream()
    with open_store(path) as one, open_store(path) as other:
        one.append(stream.of([text(n) for n in range(500)], keys=keyed_by(FEW, 500)))
        other.append(stream.of([text(n) for n in range(500, 1_000)], keys=keyed_by(FEW, 500)))
        one.append(stream.of([text(n) for n in range(1_000, 1_500)], keys=keyed_by(FEW, 500)))
    with open_store(path) as again:
        assert value(again, "SELECT documents FROM key_counts") == 1_500
