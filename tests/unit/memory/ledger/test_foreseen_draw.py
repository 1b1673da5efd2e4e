"""What a round would be given is what it is then given; and how old what is kept is."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.errors import WrongState
from memory.ledger.records import DrawSpec
from memory.samples.records import Role
from memory.settings import MemorySettings
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, open_store, refuse, text, with_anchor

arrivals = st.lists(
    st.tuples(st.sampled_from(["news", "code"]), st.integers(1, 40), st.sampled_from(["accept", "refuse"])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals, st.none() | st.integers(50, 2_000), st.sampled_from([0.0, 0.3, 0.6]), st.sampled_from([0.0, 0.2]))
def test_a_round_is_given_what_was_foreseen(
    tmp_path_factory: pytest.TempPathFactory,
    came: list[tuple[str, int, str]],
    tokens: int | None,
    ratio: float,
    early: float,
) -> None:
    """Sample by sample, with what is left out; replay too, where the round has the seed that was foreseen."""
    spec, stream, seen = DrawSpec(tokens, ratio, early, 5), Stream(), 0
    with open_store(tmp_path_factory.mktemp("store") / "memory.db", holdout_share=0.2) as store:
        with_anchor(store)
        for source, count, end in came:
            keys = [f"key-{number % 3}" for number in range(count)]
            store.append(stream.of([text(seen + n) for n in range(count)], source=source, keys=keys))
            seen += count
            before = store.counts()
            foreseen, over_quota = store.rounds.foreseen_draw(spec)
            assert store.counts() == before
            if not before.fresh_samples:
                assert not foreseen.fresh
                continue
            draw = begin(store, seed=foreseen.seed, spec=spec)
            assert (foreseen.number, foreseen.parent_generation) == (draw.number, draw.parent_generation)
            for part in ("fresh", "replay", "early_stop"):
                assert [one.id for one in getattr(foreseen, part)] == [one.id for one in getattr(draw, part)], part
                assert [one.tokens for one in getattr(foreseen, part)] == [one.tokens for one in getattr(draw, part)]
            assert [part for part in draw.left_out if part.what != "holdout"] == list(foreseen.left_out)
            assert len(over_quota) == sum(part.documents for part in draw.left_out if part.what == "over_quota")
            accept(store, draw) if end == "accept" else refuse(store, draw)


def test_without_a_generation_nothing_can_be_foreseen(tmp_path: Path) -> None:
    """It says so, as beginning a round does."""
    with (
        Store.open(tmp_path / "memory.db", MemorySettings()) as store,
        pytest.raises(WrongState, match="No base model"),
    ):
        store.rounds.foreseen_draw(DrawSpec())


def test_ages_are_those_of_what_is_kept(tmp_path: Path) -> None:
    """By source: replay by the round that it settled in, held-out text by its slice; in all as many as are counted."""
    stream = Stream()
    with open_store(tmp_path / "memory.db", holdout_share=0.3) as store:
        with_anchor(store)
        for round_number in range(3):
            texts = [text(100 * round_number + n) for n in range(40)]
            store.append(stream.of(texts, source="news" if round_number < 2 else "code"))
            accept(store, begin(store))
        assert store.fresh_since() is None
        ages, counts = store.ages(), store.counts()
        of_role: Counter[Role] = Counter()
        for age in ages:
            of_role[age.role] += age.samples
        assert of_role == {Role.REPLAY: counts.replay_samples, Role.HOLDOUT: counts.holdout_samples}
        assert sum(age.tokens or 0 for age in ages) == pytest.approx(counts.replay_tokens, abs=len(ages))
        replay = [(age.source, age.first_round) for age in ages if age.role is Role.REPLAY]
        assert {("news", 1), ("news", 2), ("code", 3)} <= set(replay)
        assert [age.first_round for age in ages] == sorted(age.first_round for age in ages)
        store.append(stream.of([text(999)], source="news"))
        assert store.fresh_since() is not None or store.counts().fresh_samples == 0
