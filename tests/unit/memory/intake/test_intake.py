"""What becomes of arriving text."""

from collections import Counter
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.errors import MisplacedText
from memory.intake.records import Appended
from memory.samples.records import Role
from memory.store import Store
from streams.document import Batch, Document, Partition
from tests.unit.memory.helpers import NOW, TOPIC, Stream, accept, begin, column, edited, open_store, refuse, text, value

LONG = 60


def held_out_texts(store: Store) -> list[str]:
    """Texts that are held out."""
    return column(store, "SELECT text FROM samples WHERE role = ? ORDER BY id", Role.HOLDOUT)


def test_a_document_is_kept_as_it_came(store: Store, stream: Stream) -> None:
    """Text, source, label, times and size, in one role or the other."""
    document = Document("Ein Dökument\n", "wiki", "user 7", "sport", 5.5, NOW, TOPIC, 0)
    stream.offset = 1
    store.append(stream.batch([document]))
    entry = store.counts().by_role_and_source[0]
    assert (entry.source, entry.label, entry.samples) == ("wiki", "sport", 1)
    assert value(store, "SELECT text FROM samples") == document.text
    assert value(store, "SELECT bytes FROM samples") == len(document.text.encode())
    assert value(store, "SELECT event_time FROM samples") == 5.5
    assert b"user 7" not in b"".join(file.read_bytes() for file in store.file.database.path.parent.iterdir())


def test_the_share_of_held_out_documents_is_kept(store: Store, stream: Stream) -> None:
    """Of 2,000 documents about a twentieth is held out (five standard deviations)."""
    appended = store.append(stream.of([text(n) for n in range(2_000)]))
    assert abs(appended.holdout - 100) < 5 * (2_000 * 0.05 * 0.95) ** 0.5
    assert appended.fresh + appended.holdout == 2_000


def test_all_documents_of_a_key_are_on_one_side(store: Store, stream: Stream) -> None:
    """However many a person writes, they are all trained on or all held out."""
    keys = [f"user {n % 40}" for n in range(800)]
    store.append(stream.of([text(n) for n in range(800)], keys=keys))
    roles = column(store, "SELECT count(DISTINCT role) FROM samples GROUP BY key_hash")
    assert set(roles) == {1}
    assert 0 < len(held_out_texts(store)) < 800


def test_the_side_of_a_group_does_not_depend_on_when_it_arrives(tmp_path: Path) -> None:
    """Text in two orders over several batches: the same is held out."""
    sides = []
    path = tmp_path / "a.db"
    open_store(path).close()
    empty = path.read_bytes()
    for order in (1, -1):
        path.write_bytes(empty)
        stream = Stream()
        with open_store(path) as store:
            for start in range(0, 400, 100):
                store.append(stream.of([text(n) for n in range(400)][::order][start : start + 100]))
            sides.append(set(held_out_texts(store)))
    assert sides[0] == sides[1]


def test_exact_duplicates_are_dropped_and_counted(store: Store, stream: Stream) -> None:
    """Within a batch, between batches, in another layout; not the same text under another label."""
    first = store.append(stream.of([text(1), text(1), text(2)]))
    second = store.append(stream.of([text(1), text(2).upper(), "  " + text(1).replace(" ", "\n ")]))
    assert (first.duplicates, second.duplicates) == (1, 3)
    assert store.counts().tallies["duplicates"] == 4
    labelled = store.append(stream.of([text(3), text(3), text(3)], labels=["a", "b", "a"]))
    assert labelled.duplicates == 1


def test_duplicates_are_known_after_a_restart_and_in_another_process(tmp_path: Path, stream: Stream) -> None:
    """What arrived lies in the store, not in the memory of a process."""
    path = tmp_path / "a.db"
    with open_store(path) as store:
        store.append(stream.of([text(n) for n in range(100)]))
    with open_store(path) as store, open_store(path) as other:
        assert store.append(stream.of([text(n) for n in range(100)])).duplicates == 100
        other.append(stream.of([text(n) for n in range(100, 110)]))
        assert store.append(stream.of([text(n) for n in range(105, 115)])).duplicates == 5
        assert other.append(stream.of([text(n) for n in range(110, 116)])).duplicates == 5


def test_the_oldest_contents_are_forgotten_beyond_the_window(tmp_path: Path, stream: Stream) -> None:
    """The window is bounded on disk and in memory; what is recent is still known."""
    with open_store(tmp_path / "a.db", duplicate_window=1_000) as store:
        for start in range(0, 6_000, 500):
            store.append(stream.of([text(n, words=3) for n in range(start, start + 500)]))
        assert value(store, "SELECT sum(length(hashes)) FROM seen") <= 8 * 3_000
        assert store.append(stream.of([text(n, words=3) for n in range(5_900, 6_000)])).duplicates == 100
        assert store.append(stream.of([text(n, words=3) for n in range(100)])).duplicates == 0


def test_training_text_close_to_held_out_text_is_dropped(store: Store, stream: Stream) -> None:
    """Held-out text leaks into training not even as an edited copy, in the same batch or a later one."""
    store.append(stream.of([text(n, LONG) for n in range(600)]))
    held = held_out_texts(store)
    copies = [edited(one, n) for n, one in enumerate(held)]
    appended = store.append(stream.of(copies))
    assert appended.fresh == 0
    assert appended.near_duplicates + appended.holdout + appended.surplus >= len(copies) * 0.95


def test_held_out_text_is_known_to_another_process_and_after_a_restart(tmp_path: Path, stream: Stream) -> None:
    """A backfill beside the daemon compares with what the daemon holds out."""
    path = tmp_path / "a.db"
    with open_store(path) as daemon, open_store(path) as backfill:
        backfill.append(stream.of([text(1)]))
        daemon.append(stream.of([text(n, LONG) for n in range(1_000, 1_600)]))
        copies = [edited(one, n) for n, one in enumerate(held_out_texts(daemon))]
        assert backfill.append(stream.of(copies)).fresh == 0
    with open_store(path) as store:
        assert store.append(stream.of([edited(one, 99) for one in copies])).fresh <= len(copies) * 0.1


def test_held_out_text_close_to_trained_text_is_dropped(store: Store, stream: Stream) -> None:
    """What a generation was trained on cannot be measured on later, not even edited: the next round drops it."""
    store.append(stream.of([text(n, LONG) for n in range(400)]))
    accept(store, begin(store))
    trained = column(store, "SELECT text FROM samples WHERE role = ?", Role.REPLAY)
    copies = store.append(stream.of([edited(one, n) for n, one in enumerate(trained)])).holdout
    assert copies >= 5
    draw = begin(store)
    judged_on = {one.text for part in draw.slices if part.kind == "newest" for one in part.samples}
    assert len(judged_on) <= 1
    assert store.counts().tallies["near_duplicates"] >= copies - 1
    assert len(column(store, "SELECT id FROM samples WHERE role = ?", Role.REPLAY)) == len(trained)


def test_text_from_before_the_stream_goes_to_replay_and_to_the_anchor(store: Store, stream: Stream) -> None:
    """Nothing of it is fresh; its held-out part is the anchor."""
    appended = store.append(stream.of([text(n) for n in range(1_000)]), before_stream=True)
    assert appended.fresh == 0
    assert appended.replay + appended.holdout == 1_000
    store.append(stream.of([text(n) for n in range(5_000, 5_050)]))
    anchor = begin(store).slices[0]
    assert (anchor.name, anchor.kind, len(anchor.samples)) == ("anchor", "anchor", appended.holdout)


def test_what_was_delivered_again_is_skipped(store: Store, stream: Stream) -> None:
    """A batch twice, and a batch that overlaps: each offset lands once."""
    batch = stream.of([text(n) for n in range(50)])
    store.append(batch)
    assert store.append(batch) == Appended(redelivered=50)
    overlap = Batch(batch.documents[30:] + stream.documents([text(99)]), (), (), {TOPIC: 51})
    again = store.append(overlap)
    assert (again.redelivered, again.fresh + again.holdout) == (20, 1)
    assert store.next_offset("news", 0, "id-1") == 51


def test_a_redelivered_batch_never_moves_the_offset_back(store: Store, stream: Stream) -> None:
    """The store's offset is the furthest that was durable."""
    early = stream.of([text(1)])
    store.append(stream.of([text(2)]))
    store.append(early)
    assert store.next_offset("news", 0, "id-1") == 2


def test_offsets_are_kept_for_each_partition_and_incarnation(store: Store) -> None:
    """A topic made anew starts from its own beginning."""
    for incarnation in ("one", "two"):
        again = Stream(Partition("t", 3, incarnation))
        assert store.next_offset("t", 3, incarnation) is None
        assert store.append(again.of([text(n) for n in range(5)])).redelivered == 0
        assert store.next_offset("t", 3, incarnation) == 5
    assert store.next_offset("t", 3) is None


def test_the_incarnation_that_was_read_last_is_known(store: Store) -> None:
    """By it a topic that was made anew while nothing ran is noticed."""
    assert store.latest_incarnation("t", 3) is None
    for incarnation in ("one", "two"):
        store.append(Stream(Partition("t", 3, incarnation)).of([text(1)]))
        assert store.latest_incarnation("t", 3) == incarnation
    assert store.latest_incarnation("t", 2) is None


def test_a_batch_without_documents_moves_the_offset(store: Store, stream: Stream) -> None:
    """Control records and filtered ones take offsets too."""
    stream.offset = 17
    assert store.append(stream.batch()) == Appended()
    assert store.next_offset("news", 0, "id-1") == 17


def test_a_batch_that_contradicts_itself_changes_nothing(store: Store, stream: Stream) -> None:
    """A document beyond its batch's end would be read again: better to stop."""
    document = stream.documents([text(1)])[0]
    for wrong in (document._replace(offset=1), document._replace(partition=Partition("other", 0))):
        with pytest.raises(MisplacedText, match="nothing was stored"):
            store.append(Batch((document, wrong), (), (), {TOPIC: 1}))
    assert store.next_offset("news", 0, "id-1") is None
    assert store.counts().by_role_and_source == ()


def test_a_text_with_lone_surrogates_is_refused_by_name(store: Store, stream: Stream) -> None:
    """The filters stop it earlier; if they do not, nothing is stored half."""
    with pytest.raises(MisplacedText, match="not valid Unicode"):
        store.append(stream.of(["\ud800"]))
    assert store.append(stream.of([text(1)])).redelivered == 0


def test_a_failed_append_leaves_no_trace_in_memory(
    store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a batch is undone its contents are not duplicates afterwards, and its source has no wrong number."""
    batch = stream.of([text(n) for n in range(30)], source="new source")
    with monkeypatch.context() as patch:
        patch.setattr("memory.samples.counters.tally", failing)
        with pytest.raises(RuntimeError):
            store.append(batch)
    appended = store.append(batch)
    assert appended.fresh + appended.holdout == 30
    assert {entry.source for entry in store.counts().by_role_and_source} == {"new source"}


def failing(*_: object) -> None:
    """Stands for any fault late in a transaction."""
    raise RuntimeError("late")


def test_sources_beyond_the_bound_share_a_name(tmp_path: Path, stream: Stream) -> None:
    """A source per record must not grow every table."""
    with open_store(tmp_path / "a.db", max_sources=3) as store:
        for n in range(8):
            store.append(stream.of([text(n)], source=f"source {n}"))
        names = {entry.source for entry in store.counts().by_role_and_source}
        assert names <= {"source 0", "source 1", "source 2", "other"}
        assert "other" in names


def test_labels_are_counted_for_each_source(store: Store, stream: Stream) -> None:
    """A classifier's replay is balanced by these counts."""
    store.append(stream.of([text(n) for n in range(300)], labels=["a", "b", None] * 100))
    counted: Counter[str | None] = Counter()
    for entry in store.counts().by_role_and_source:
        counted[entry.label] += entry.samples
    assert counted == {"a": 100, "b": 100, None: 100}


BATCHES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 60), max_size=20),
        st.booleans(),
        st.sampled_from(["news", "wiki"]),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from(["append", "append", "accept", "refuse", "reopen"]),
    ),
    max_size=10,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
def test_every_document_is_counted_once_and_counters_are_true(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[int], bool, str, str | None, str]]
) -> None:
    """Through appends, rounds and restarts: what a batch became adds up, and counters equal COUNT(*)."""
    path = tmp_path_factory.mktemp("store") / "a.db"
    how = {"replay_samples": 25, "key_quota": 6, "slice_documents": 8, "anchor_minimum": 1, "holdout_documents": 64}
    stream, store = Stream(), open_store(path, holdout_share=0.3, **how)
    try:
        for numbers, before, source, label, action in batches:
            keys = [f"k{n}" if n % 3 == 0 else None for n in numbers]
            batch = stream.of([text(n) for n in numbers], source=source, keys=keys, labels=[label] * len(numbers))
            appended = store.append(batch, before_stream=before)
            assert sum(astuple(appended)) == len(numbers)
            assert_counters_are_true(store)
            if action == "reopen":
                store.close()
                store = open_store(path, holdout_share=0.3, **how)
            elif action != "append":
                end_a_round(store, action)
            assert_counters_are_true(store)
    finally:
        store.close()


def end_a_round(store: Store, action: str) -> None:
    """Begin a round where there is something fresh, and end it one way or the other."""
    draw = store.rounds.begin(trigger="test", recipe={}, seed=1)
    if draw is not None:
        (accept if action == "accept" else refuse)(store, draw)


def assert_counters_are_true(store: Store) -> None:
    """Counters, strata, slots and slices agree with the samples."""
    with store.file.database.read() as tx:
        by_counter = set(tx.execute("SELECT * FROM counters WHERE samples != 0"))
        by_count = set(tx.execute("SELECT role, source, label, count(*), sum(bytes) FROM samples GROUP BY 1, 2, 3"))
        strata = set(tx.execute("SELECT * FROM strata"))
        in_replay = set(tx.execute("SELECT source, era, label, count(*), sum(bytes) FROM replay GROUP BY 1, 2, 3"))
        slots = [row[0] for row in tx.execute("SELECT slot FROM replay ORDER BY slot")]
        members = {
            Role.REPLAY: {row[0] for row in tx.execute("SELECT sample FROM replay")},
            Role.HOLDOUT: {row[0] for row in tx.execute("SELECT sample FROM holdout")},
            Role.ASIDE: {row[0] for row in tx.execute("SELECT sample FROM aside")},
        }
        roles = tx.execute("SELECT id, role FROM samples").fetchall()
    assert by_counter == by_count
    assert strata == in_replay
    assert slots == list(range(len(slots)))
    assert len(slots) <= 25
    for role, ids in members.items():
        assert ids == {sample for sample, its_role in roles if its_role == role}
