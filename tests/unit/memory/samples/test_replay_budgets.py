"""Replay within its budgets: balanced, uniform, the same after a restart."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.ledger.records import DrawSpec
from memory.samples.records import Role
from memory.store import Store
from streams.document import Partition
from tests.unit.memory.helpers import Stream, accept, begin, column, open_store, round_of, text, value


def replay_by(store: Store, column_name: str) -> Counter[int]:
    """How many samples of replay have each value of a column."""
    with store.file.database.read() as tx:
        return Counter(dict(tx.execute(f"SELECT {column_name}, count(*) FROM replay GROUP BY 1")))


def test_fresh_text_settles_once_a_round_is_accepted(store: Store, stream: Stream) -> None:
    """Not before; and all of it that was drawn, what early stopping looked at too."""
    store.append(stream.of([text(n) for n in range(200)]))
    fresh = store.counts().fresh_samples
    draw = begin(store)
    assert store.counts().replay_samples == 0
    accept(store, draw)
    assert (store.counts().fresh_samples, store.counts().replay_samples) == (0, fresh)


def test_sources_share_replay_evenly_though_one_floods(tmp_path: Path) -> None:
    """A source with ten times the text gets no more than its share."""
    with open_store(tmp_path / "a.db", replay_samples=100, key_quota=10**6) as store:
        flood, trickle = Stream(), Stream(Partition("trickle", 0))
        for start in range(0, 2_000, 500):
            store.append(flood.of([text(n) for n in range(start, start + 500)], source="flood"))
            store.append(trickle.of([text(10_000 + start + n) for n in range(80)], source="trickle"))
            accept(store, begin(store))
        assert sorted(replay_by(store, "source").values()) == [50, 50]


def test_no_period_of_time_dies_out(tmp_path: Path, stream: Stream) -> None:
    """After twelve rounds of very different sizes each period has its even share."""
    with open_store(tmp_path / "a.db", replay_samples=120) as store:
        at = 0
        for size in (300, 30, 30, 400, 30, 30, 30, 300, 30, 30, 30, 30):
            round_of(store, stream, [text(n) for n in range(at, at + size)])
            at += size
        eras = replay_by(store, "era")
        assert eras.total() == 120
        assert len(eras) == 12
        assert max(eras.values()) - min(eras.values()) <= 1


def test_periods_merge_beyond_their_bound(tmp_path: Path, stream: Stream) -> None:
    """Twenty rounds in at most six eras, all text still there."""
    with open_store(tmp_path / "a.db", replay_eras=6) as store:
        store.append(stream.of([text(n) for n in range(5_000, 5_020)]), before_stream=True)
        for number in range(20):
            round_of(store, stream, [text(n) for n in range(number * 10, number * 10 + 10)])
        eras = replay_by(store, "era")
        assert len(eras) <= 6
        assert 0 in eras
        assert eras.total() == store.counts().replay_samples == value(store, "SELECT sum(samples) FROM strata")


def test_labels_share_replay_evenly(tmp_path: Path, stream: Stream) -> None:
    """A rare class keeps all it has, the others share what is left."""
    with open_store(tmp_path / "a.db", replay_samples=100) as store:
        labels = (["common"] * 8 + ["usual"] * 4 + ["rare"]) * 30
        round_of(store, stream, [text(n) for n in range(len(labels))], labels=labels)
        by_label = sorted(replay_by(store, "label").values())
        assert sum(by_label) == 100
        assert by_label[0] >= 20
        assert by_label[2] - by_label[1] <= 1


def test_a_key_never_exceeds_its_quota(tmp_path: Path, stream: Stream) -> None:
    """Over many rounds one person's text stays below an absolute number, in a draw and in replay."""
    with open_store(tmp_path / "a.db", key_quota=7, holdout_share=0.01) as store:
        for number in range(4):
            texts = [text(n) for n in range(number * 100, number * 100 + 100)]
            store.append(stream.of(texts, keys=["flooder"] * 60 + [None] * 40))
            # All of replay is drawn: what a key has there counts with what is new of it.
            spec = DrawSpec(replay_ratio=0.9)
            draw = begin(store, spec=spec)
            assert Counter(one.key_hash is None for one in draw.fresh + draw.early_stop)[False] <= 7
            assert Counter(one.key_hash is None for one in draw.fresh + draw.replay)[False] <= 7
            assert len(draw.replay) >= 30 * number
            accept(store, draw)
            assert store.counts().fresh_samples == 0
        assert max(column(store, "SELECT count(*) FROM replay WHERE key_hash IS NOT NULL GROUP BY key_hash")) == 7
        assert store.counts().tallies["over_quota"] == 4 * 53


def test_a_source_never_exceeds_its_quota(tmp_path: Path, stream: Stream) -> None:
    """An absolute number, though the budget has room."""
    with open_store(tmp_path / "a.db", source_quota=20) as store:
        round_of(store, stream, [text(n) for n in range(100)])
        assert store.counts().replay_samples == 20


def test_what_is_kept_of_a_long_stream_is_uniform(tmp_path: Path, stream: Stream) -> None:
    """4,000 texts in batches into 400 places: each tenth of them keeps its tenth (chi-square, p = 0.9999)."""
    with open_store(tmp_path / "a.db", replay_samples=400, key_quota=10**6) as store:
        for start in range(0, 4_000, 250):
            store.append(stream.of([text(n, words=8) for n in range(start, start + 250)]), before_stream=True)
        kept = Counter(
            offset // 400 for offset in column(store, "SELECT offset FROM samples WHERE role = ?", Role.REPLAY)
        )
        assert kept.total() == 400
        assert sum((kept[part] - 40) ** 2 / 40 for part in range(10)) < 34


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(st.integers(1, 60), max_size=15), st.booleans()),
        max_size=8,
    ),
    st.integers(0, 40),
    st.integers(0, 800),
)
def test_budgets_are_never_exceeded(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[str, list[int], bool]],
    samples: int,
    tokens: int,
) -> None:
    """In samples and in tokens, whatever arrives and settles."""
    stream, seed = Stream(), 0
    path = tmp_path_factory.mktemp("store") / "a.db"
    with open_store(path, replay_samples=samples, replay_tokens=tokens) as store:
        for source, lengths, before in batches:
            store.append(
                stream.of([text(seed + n, words) for n, words in enumerate(lengths)], source=source),
                before_stream=before,
            )
            seed += len(lengths)
            draw = store.rounds.begin(trigger="test", recipe={}, seed=seed)
            if draw:
                accept(store, draw)
            counts = store.counts()
            assert counts.replay_samples <= samples
            assert value(store, "SELECT coalesce(sum(bytes), 0) FROM replay") <= tokens * counts.bytes_per_token


def test_a_smaller_budget_takes_effect_at_the_next_round(tmp_path: Path, stream: Stream) -> None:
    """Settings may change between starts."""
    with open_store(tmp_path / "a.db", replay_samples=100) as store:
        round_of(store, stream, [text(n) for n in range(100)])
    with open_store(tmp_path / "a.db", replay_samples=10) as store:
        round_of(store, stream, [text(n) for n in range(100, 120)])
        assert store.counts().replay_samples == 10


def test_a_restart_keeps_and_draws_what_it_would_have(tmp_path: Path) -> None:
    """One store runs through; its copy is closed and opened between all steps: same replay, same draws."""
    path, copy = tmp_path / "a.db", tmp_path / "b.db"
    open_store(path).close()
    copy.write_bytes(path.read_bytes())
    how = {"replay_samples": 60, "slice_documents": 8}
    histories = []
    for file, restarting in ((path, False), (copy, True)):
        stream, history = Stream(), []
        store = open_store(file, **how)
        for number in range(5):
            store.append(stream.of([text(n) for n in range(number * 50, number * 50 + 50)]))
            if restarting:
                store.close()
                store = open_store(file, **how)
            draw = begin(store, seed=number)
            history.append([[one.id for one in part] for part in (draw.fresh, draw.early_stop, draw.replay)])
            history.append([[one.id for one in part.samples] for part in draw.slices])
            accept(store, draw)
        history.append(column(store, "SELECT sample FROM replay ORDER BY slot"))
        store.close()
        histories.append(history)
    assert histories[0] == histories[1]
