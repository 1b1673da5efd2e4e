"""A person's text is erased for good, and what had seen it is named."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database as UtilsDatabase

from memory.database import schema, sqlite
from memory.errors import StoreBusy
from memory.intake.records import Appended
from memory.ledger import retention
from memory.ledger.records import DrawSpec
from memory.people.erasure import Forgotten
from memory.store import Store
from streams.document import Batch, DeadLetter
from tests.unit.memory.helpers import Stream, accept, begin, column, judge, open_store, refuse, text, value

KEY = "user-1"
NO_REPLAY = DrawSpec(replay_ratio=0)


def secret_text(number: int, words: int = 40) -> str:
    """Text of the person to be forgotten; each bears a mark to search for."""
    return f"MARKED{number:05d} " + text(number, words).replace(" ", f" s{number}p ")


def raw_bytes(path: Path) -> bytes:
    """All bytes of the database's files."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def named(stream: Stream, *keys: str) -> DeadLetter:
    """A dead letter whose bytes were cut before they name these keys."""
    return replace(stream.letter(b'{"text": "it beg'), named_keys=keys)


def mixed(stream: Stream, at: int, size: int = 60) -> Batch:
    """A batch in which every fifth document is the person's."""
    texts = [secret_text(n) if n % 5 == 0 else text(n) for n in range(at, at + size)]
    keys = [KEY if n % 5 == 0 else f"other {n % 7}" for n in range(at, at + size)]
    return stream.of(texts, keys=keys)


def test_no_byte_of_the_text_stays_in_the_files(tmp_path: Path, stream: Stream) -> None:
    """Fresh, replayed, evicted, held out, aside: after an erasure the raw files hold none of it."""
    path = tmp_path / "a.db"
    with open_store(path, replay_samples=100, slice_documents=8, key_quota=30, refusals_until_aside=1) as store:
        store.append(mixed(stream, 5_000, 300), before_stream=True)
        for number in range(4):
            store.append(mixed(stream, number * 60))
            (refuse if number == 2 else accept)(store, begin(store))
        store.append(mixed(stream, 1_000))
        assert b"MARKED" in raw_bytes(path)
        forgotten = store.people.forget(KEY)
        assert forgotten.samples > 0
        assert b"MARKED" not in raw_bytes(path)
        assert value(store, "PRAGMA integrity_check") == "ok"
    assert b"MARKED" not in raw_bytes(path)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(1, 900), st.booleans(), st.booleans()), min_size=1, max_size=5)
)
def test_no_history_leaves_a_copy_behind(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool, bool]]
) -> None:
    """Short and long texts, evictions and moved pages in between: the files hold none of it."""
    path, stream, at = tmp_path_factory.mktemp("store") / "a.db", Stream(), 0
    with open_store(path, replay_samples=30, slice_documents=8, holdout_share=0.3) as store:
        for size, words, before, settle in steps:
            texts = [secret_text(at + n, words) if n % 2 else text(at + n, words) for n in range(size)]
            keys = [KEY if n % 2 else None for n in range(size)]
            store.append(stream.of(texts, keys=keys), before_stream=before)
            at += size
            draw = store.rounds.begin(trigger="test", recipe={}, seed=1) if settle else None
            if draw:
                accept(store, draw)
        store.people.forget(KEY)
        assert b"MARKED" not in raw_bytes(path)


def test_sketches_of_what_was_trained_on_go_whole(store: Store, stream: Stream) -> None:
    """Neither its signature nor a hash of a part of it stays; those of other people's text do."""
    store.append(mixed(stream, 0, 100))
    accept(store, begin(store))
    store.people.forget(KEY)
    assert value(store, "SELECT count(*) FROM trained") > 0
    assert value(store, "SELECT count(*) FROM trained_bands WHERE document NOT IN (SELECT id FROM trained)") == 0


def test_other_peoples_text_stays(store: Store, stream: Stream) -> None:
    """Only the key's samples go, and the counters agree."""
    store.append(mixed(stream, 0, 100))
    before = store.counts()
    forgotten = store.people.forget(KEY)
    after = store.counts()
    assert forgotten.samples == len(forgotten.sample_ids) == 20
    kept = after.fresh_samples + after.holdout_samples
    assert kept == before.fresh_samples + before.holdout_samples - 20
    assert value(store, "SELECT count(*) FROM samples") == kept


def test_a_redelivery_is_not_stored_again(tmp_path: Path, stream: Stream) -> None:
    """Not at once, not after a restart, not by another process; other keys are."""
    path = tmp_path / "a.db"
    with open_store(path) as store, open_store(path) as other:
        other.append(stream.of([text(1)]))
        store.append(mixed(stream, 0))
        store.people.forget(KEY)
        for number, one in enumerate((store, other)):
            appended = one.append(mixed(stream, 1_000 + number * 100))
            assert appended.forgotten == 12
            assert appended.fresh + appended.holdout == 48
    with open_store(path) as store:
        assert store.append(stream.of(["anything at all"], keys=[KEY])).forgotten == 1
        letter = stream.letter(b"{", key=KEY.encode())
        assert store.append(stream.batch(letters=[letter])).forgotten == 1
        assert store.quarantine.dead_letters() == []


def test_a_dead_letter_that_names_the_key_is_not_stored_again(store: Store, stream: Stream) -> None:
    """Also where the key is in the record alone, and no Kafka key tells; delivered again it counts once."""
    store.people.forget(KEY)
    batch = stream.batch(letters=[named(stream, KEY), named(stream, "user-2"), named(stream, "user-2", KEY)])
    assert store.append(batch) == Appended(dead_letters=1, forgotten=2)
    assert store.append(batch) == Appended(redelivered=3)
    assert [letter.offset for letter in store.quarantine.dead_letters()] == [1]


def test_dead_letters_that_were_cut_before_the_key_are_found(store: Store, stream: Stream) -> None:
    """Which keys the whole record named stays known."""
    store.append(stream.batch(letters=[named(stream, KEY), named(stream, "user-2"), named(stream, "a", KEY)]))
    assert store.people.forget(KEY).dead_letters == 2
    assert [letter.offset for letter in store.quarantine.dead_letters()] == [1]


def test_dead_letters_of_the_key_go_too(store: Store, stream: Stream) -> None:
    """By their key or by their bytes, as a whole word and in JSON's spelling; others stay."""
    letters = [
        stream.letter(b"{", key=b"user-1"),
        stream.letter(b'{"user": "user-1", "text": 5'),
        stream.letter(b'{"user": "user-12"'),
        stream.letter(b'{"user": "my-user-1x"'),
        stream.letter(b"{", key=b"user-2"),
    ]
    store.append(stream.batch(letters=letters))
    assert store.people.forget(KEY).dead_letters == 2
    assert [letter.offset for letter in store.quarantine.dead_letters()] == [2, 3, 4]
    assert store.counts().quarantine_rows == 3
    store.append(stream.batch(letters=[stream.letter(b'{"user": "J\\u00fcrgen"'), stream.letter("Jürgen".encode())]))
    assert store.people.forget("Jürgen").dead_letters == 2


def test_binary_keys_are_forgotten_by_their_hex(store: Store, stream: Stream) -> None:
    """As documents bear them, so do dead letters: those that lie there go, and no further one is kept."""
    store.append(stream.batch(letters=[stream.letter(b"{", key=b"\xff\x01"), stream.letter(b"{", key=b"\xff\x02")]))
    assert store.people.forget("0xff01").dead_letters == 1
    assert store.append(stream.batch(letters=[stream.letter(b"{", key=b"\xff\x01")])).forgotten == 1


@pytest.mark.parametrize("spelling", [rb"\u00E9/x", rb"\u00e9/x", rb"\u00e9\/x", "é/x".encode()])
def test_every_json_writers_spelling_of_a_key_is_found(store: Store, stream: Stream, spelling: bytes) -> None:
    """Java escapes with capital hex digits, PHP escapes the slash."""
    store.append(stream.batch(letters=[stream.letter(b'{"user": "' + spelling + b'"')]))
    assert store.people.forget("é/x").dead_letters == 1


def test_where_lineage_no_longer_reaches_nothing_but_the_base_is_called_clean(tmp_path: Path, stream: Stream) -> None:
    """The rounds that are past it may have seen the text; the answer says from which on it knows."""
    with open_store(tmp_path / "a.db", lineage_rounds=2) as store:
        for number in range(4):
            store.append((mixed if number == 0 else plain)(stream, number * 60))
            accept(store, begin(store, spec=NO_REPLAY))
        forgotten = store.people.forget(KEY)
        assert (forgotten.rounds, forgotten.generations, forgotten.lineage_from) == ((), (), 3)
        assert forgotten.clean_generation == 0


def test_within_lineage_a_later_generation_can_be_clean(tmp_path: Path, stream: Stream) -> None:
    """As long as it reaches back to the base's first round."""
    with open_store(tmp_path / "a.db", lineage_rounds=4) as store:
        for number in range(4):
            store.append((mixed if number == 3 else plain)(stream, number * 60))
            accept(store, begin(store, spec=NO_REPLAY))
        forgotten = store.people.forget(KEY)
        assert (forgotten.generations, forgotten.lineage_from, forgotten.clean_generation) == ((4,), 1, 3)


def plain(stream: Stream, at: int, size: int = 60) -> Batch:
    """A batch of other people's text."""
    return stream.of([text(n) for n in range(at, at + size)])


def test_rounds_and_generations_that_saw_the_text_are_named(store: Store, stream: Stream) -> None:
    """Trained on it, carried on from those, and the last clean one to build from."""
    for number, key in enumerate([None, KEY, None]):
        at = number * 100
        texts = [text(n) for n in range(at, at + 60)]
        store.append(stream.of(texts, keys=[key] * 60))
        draw = store.rounds.begin(trigger="test", recipe={}, seed=1, spec=DrawSpec(replay_ratio=0.0))
        assert draw is not None
        accept(store, draw)
    forgotten = store.people.forget(KEY)
    assert forgotten == Forgotten(
        samples=60,
        dead_letters=0,
        sample_ids=forgotten.sample_ids,
        rounds=(2,),
        generations=(2,),
        descendants=(3,),
        clean_generation=1,
        lineage_from=1,
    )


def test_generations_that_saw_erased_text_stay_known(tmp_path: Path, stream: Stream) -> None:
    """After the warning has scrolled by, and when lineage and ledger reach back no further; none before an erasure."""
    spec = DrawSpec(replay_ratio=0.0)
    with open_store(tmp_path / "a.db") as store:
        for number, key in enumerate([None, KEY, None]):
            at = number * 100
            store.append(stream.of([text(n) for n in range(at, at + 60)], keys=[key] * 60))
            draw = store.rounds.begin(trigger="test", recipe={}, seed=1, spec=spec)
            assert draw is not None
            accept(store, draw)
        assert store.people.saw_erased_text() == {}
        store.people.forget(KEY)
        assert store.people.saw_erased_text() == {2: True, 3: False}
        store.generations.rollback(1)
        store.append(stream.of([text(n) for n in range(400, 460)]))
        accept(store, begin(store))
        assert store.people.saw_erased_text() == {2: True, 3: False}
        with store.file.database.write() as tx:
            tx.execute("DELETE FROM round_samples")
            tx.execute(
                "INSERT INTO past_generations SELECT number, parent, round, digest, 0.0 FROM generations "
                "WHERE number = 2"
            )
            tx.execute("DELETE FROM generations WHERE number = 2")
            retention._forget_generations(tx, 2)
        assert store.people.saw_erased_text() == {2: True, 3: False}
        with store.file.database.write() as tx:
            tx.execute("DELETE FROM past_generations")
            retention._forget_generations(tx, 2)
        assert column(store, "SELECT round FROM erased_rounds") == []


def test_a_store_with_erasures_learns_which_rounds_saw_the_text(tmp_path: Path) -> None:
    """A migration of what was erased before; a held-out document trained nothing."""
    path = tmp_path / "a.db"
    bare = sqlite.connect(str(path))
    schema.migrations.apply(UtilsDatabase(bare), stop_before="0005_erased_rounds")
    rows = [(1, 1, "fresh", 1, 0, 77), (2, 1, "slice", 1, 0, 77), (3, 2, "replay", 1, 1, 78)]
    bare.executemany("INSERT INTO round_samples VALUES (?, ?, ?, ?, ?, ?)", rows)
    bare.executemany("INSERT INTO generations VALUES (?, 'accepted', 0, ?, 'd', '', 0.0)", [(1, 1), (2, 2), (3, 3)])
    bare.execute("INSERT INTO forgotten(key_hash, at) VALUES (77, 0.0)")
    bare.commit()
    bare.close()
    with open_store(path) as store:
        assert store.people.saw_erased_text() == {1: True}


def test_what_was_refused_trained_no_generation(store: Store, stream: Stream) -> None:
    """Its round directory holds the text, so the round is named."""
    store.append(mixed(stream, 0))
    judge(store, begin(store).number)
    store.generations.reserve(1)
    store.rounds.refuse(1, verdict={}, report={})
    forgotten = store.people.forget(KEY)
    assert forgotten.rounds == (1,)
    assert (forgotten.generations, forgotten.descendants, forgotten.clean_generation) == ((), (), 0)


def test_generations_are_named_when_the_text_is_long_gone(tmp_path: Path, stream: Stream) -> None:
    """Lineage knows keys by their hash, after replay has dropped the text."""
    with open_store(tmp_path / "a.db", replay_samples=0) as store:
        store.append(mixed(stream, 0))
        accept(store, begin(store))
        forgotten = store.people.forget(KEY)
        assert forgotten.generations == (1,)


def test_a_retired_generation_is_no_clean_one(store: Store, stream: Stream) -> None:
    """Nothing can be built from files that are gone."""
    for keys in (None, None, [KEY] * 60):
        at = stream.offset
        store.append(stream.of([text(n) for n in range(at, at + 60)], keys=keys))
        accept(store, begin(store))
    store.generations.retire([2])
    assert store.people.forget(KEY).clean_generation == 1


def test_forgetting_an_unknown_key_keeps_it_out_all_the_same(store: Store, stream: Stream) -> None:
    """A person may ask before their text arrives; asking twice is harmless."""
    for _ in range(2):
        assert store.people.forget(KEY).samples == 0
    assert store.append(stream.of([text(1)], keys=[KEY])).forgotten == 1


def test_a_reader_that_pins_the_log_is_reported(tmp_path: Path, stream: Stream) -> None:
    """The rows are gone, but the message says that copies may linger, and to run it again."""
    with open_store(tmp_path / "a.db", busy_timeout_s=0.05) as store:
        store.append(mixed(stream, 0))
        with store.file.database.read() as reader:
            reader.execute("SELECT count(*) FROM samples").fetchone()
            store.append(mixed(stream, 100))
            with pytest.raises(StoreBusy, match="again"):
                store.people.forget(KEY)
        store.people.forget(KEY)
        assert b"MARKED" not in raw_bytes(tmp_path / "a.db")
