"""What a round would be judged on is what it is then given."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.ledger.records import Slice, SliceOutline
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, open_store, refuse, text, with_anchor

arrivals = st.lists(
    st.tuples(st.sampled_from(["news", "code", "talk"]), st.integers(1, 40), st.sampled_from(["accept", "refuse", ""])),
    min_size=1,
    max_size=5,
)


def drawn(parts: tuple[Slice, ...]) -> set[tuple[str, str, int, str | None]]:
    """Which documents are in a slice of which kind and source."""
    return {(part.kind, part.source, one.id, one.label) for part in parts for one in part.samples}


def outlined(parts: tuple[SliceOutline, ...]) -> set[tuple[str, str, int, str | None]]:
    """The same of outlines."""
    return {(part.kind, part.source, one.id, one.label) for part in parts for one in part.samples}


def open_small(path: Path, **settings: int) -> Store:
    """A store whose slices and anchor are full soon."""
    small = {"slice_documents": 8, "anchor_documents": 12, "anchor_minimum": 10, "holdout_share": 0.4}
    return open_store(path, **(small | settings))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals, st.booleans(), st.integers(8, 30))
def test_a_round_is_judged_on_what_was_foreseen(
    tmp_path_factory: object, came: list[tuple[str, int, str]], before_stream: bool, evaluation: int
) -> None:
    """The anchor's share, merged and full slices, bounds of the draw: all are counted as they will be drawn."""
    path = tmp_path_factory.mktemp("store") / "memory.db"  # type: ignore[attr-defined]
    stream, seed = Stream(), 0
    with open_small(path, evaluation_documents=evaluation) as store:
        if before_stream:
            with_anchor(store)
        for source, count, end in came:
            store.append(stream.of([text(seed + n) for n in range(count)], source=source, labels=["a"] * count))
            seed += count
            found = outlined(store.rounds.foreseen_slices())
            if not store.counts().fresh_samples:
                continue
            draw = begin(store)
            assert drawn(draw.slices) == found
            if end == "accept":
                accept(store, draw)
            elif end == "refuse":
                refuse(store, draw)
            else:
                store.rounds.fail(draw.number, reason="a test")


def test_to_foresee_changes_nothing(tmp_path: Path) -> None:
    """It is asked every second, and without a daemon too."""
    with open_small(tmp_path / "memory.db") as store:
        store.append(Stream().of([text(n) for n in range(60)]))
        first, counts = store.rounds.foreseen_slices(), store.counts()
        assert store.rounds.foreseen_slices() == first
        assert store.counts() == counts


def test_a_round_that_cannot_be_judged_is_not_begun(tmp_path: Path) -> None:
    """Nothing is numbered or sealed, and the same text begins one once it can."""
    with open_small(tmp_path / "memory.db") as store:
        store.append(Stream().of([text(n) for n in range(60)]))
        asked: list[int] = []

        def never(parts: object, fresh: object) -> bool:
            asked.append(1)
            return False

        assert store.rounds.begin(trigger="test", recipe={}, seed=1, judgeable=never) is None
        assert asked == [1]
        assert store.rounds.listed() == []
        assert store.rounds.begin(trigger="test", recipe={}, seed=1, judgeable=lambda *_: True) is not None
