"""Which files are opened, and how those of earlier versions are brought up to date."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sqlite_utils import Database as UtilsDatabase

from memory.database import facts, schema, sqlite
from memory.database.connection import Database
from memory.database.first_tables import FIRST_TABLES
from memory.database.opening import refuse_old_sqlite
from memory.errors import (
    NotAStore,
    SqliteTooOld,
    StoreDamaged,
    StoreTooNew,
    StoreTooOld,
)
from memory.identity.earlier_keys import EarlierKeys, SplitByShare, split_by_share
from memory.identity.known_sides import Zone, find_zone
from memory.ledger.scorings import Scoring
from memory.settings import MemorySettings
from memory.store import Store
from tests.unit.memory.helpers import Stream, text

SETTINGS = MemorySettings(busy_timeout_s=0.05)


def test_an_old_sqlite_is_refused_and_the_message_says_why() -> None:
    """3.51.2 corrupts databases; the refusal names the fault and the package that mends it."""
    with pytest.raises(SqliteTooOld, match=r"3\.51\.2 can corrupt .* pysqlite3"):
        refuse_old_sqlite((3, 51, 2))
    refuse_old_sqlite((3, 51, 3))


def test_the_library_in_use_is_not_the_standard_one_by_chance() -> None:
    """What the store runs on is new enough."""
    assert sqlite.sqlite_version_info >= sqlite.OLDEST


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """A file with foreign tables is refused and unchanged."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs(x)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(NotAStore):
        Store.open(path, SETTINGS)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    """The message says what to do."""
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreDamaged, match="recover"):
        Store.open(path, SETTINGS)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A migration that this version does not know names itself."""
    path = tmp_path / "a.db"
    with Database.open(path, SETTINGS, read_only=False) as database, database.write() as tx:
        tx.execute("INSERT INTO _sqlite_migrations(migration_set, name, applied_at) VALUES ('riverkeep', '9999_x', '')")
    with pytest.raises(StoreTooNew, match="9999_x"):
        Store.open(path, SETTINGS)


def test_reading_an_unmigrated_store_says_to_start_once(tmp_path: Path) -> None:
    """A read-only opening migrates nothing."""
    path = tmp_path / "a.db"
    path.touch()
    with pytest.raises(StoreTooOld, match="migration"):
        Store.open(path, SETTINGS, read_only=True)
    assert path.stat().st_size == 0


def test_a_store_of_the_first_version_goes_on_where_it_was(tmp_path: Path) -> None:
    """Numbers follow its latest, and what was known of its rounds stays known."""
    path = tmp_path / "a.db"
    bare = sqlite.connect(str(path))
    schema.migrations.apply(UtilsDatabase(bare), stop_before="0002_bounds")
    bare.execute("INSERT INTO generations VALUES (4, 'accepted', 0, 9, 'digest', '', 0.0)")
    bare.execute("INSERT INTO round_samples VALUES (8, 1, 'fresh', 1, 0, NULL)")
    bare.commit()
    bare.close()
    with Store.open(path, SETTINGS) as store, store.file.database.read() as tx:
        assert (facts.get_int(tx, "generations_numbered"), facts.get_int(tx, "lineage_from")) == (5, 8)


def test_scores_of_a_store_of_an_earlier_version_know_the_length_of_their_sequences(tmp_path: Path) -> None:
    """An accepted round took its own generation's, its parent's and the base's; the rest is not known of any."""
    path = tmp_path / "a.db"
    bare = sqlite.connect(str(path))
    schema.migrations.apply(UtilsDatabase(bare), stop_before="0011_scorings")
    bare.execute("INSERT INTO facts VALUES ('base', 0)")
    rounds = ((1, 512, 1), (2, 512, 2), (3, 128, 3))
    for number, length, made in rounds:
        bare.execute(
            "INSERT INTO rounds(number, state, trigger, recipe, seed, parent_generation, base_generation, generation, "
            "begun_at, detail, verdict, report, fresh_samples, fresh_bytes, replay_samples, replay_bytes, "
            "early_stop_samples) VALUES (?, 'accepted', '', ?, 0, 0, 0, ?, 0.0, '', '{}', '{}', 0, 0, 0, 0, 0)",
            (number, f'{{"sequence_length": {length}}}', made),
        )
    for number, parent, its_round in ((0, None, None), (1, 0, 1), (2, 1, 2), (3, 2, 3), (9, 3, 9)):
        bare.execute(
            "INSERT INTO generations VALUES (?, 'accepted', ?, ?, 'digest', '', 0.0)", (number, parent, its_round)
        )
        bare.execute("INSERT INTO scores VALUES (?, 'anchor', 3.0, 10, 1, NULL, NULL)", (number,))
        bare.execute("INSERT INTO document_scores(generation, sample, nll, tokens) VALUES (?, 7, 3.0, 10)", (number,))
    bare.commit()
    bare.close()
    short, long = (Scoring("", "", length, 1) for length in (128, 512))
    with Store.open(path, SETTINGS) as store:
        found = {row.generation: row.scored for row in store.generations.score_matrix()}
        assert found == {0: short, 1: long, 2: short, 3: short, 9: None}
        assert list(store.generations.scores_by_way(1)) == [long]
        assert store.generations.document_scores(9)[7].nll == 3.0


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and the note of the migration come together or not at all, and the next opening starts anew."""
    path = tmp_path / "a.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "FIRST_TABLES", FIRST_TABLES + "; CREATE TABLE facts(again)")
        with pytest.raises(sqlite.DatabaseError, match="already exists"):
            Store.open(path, SETTINGS)
    bare = sqlite.connect(str(path))
    assert bare.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    bare.close()
    with Store.open(path, SETTINGS) as store:
        assert store.counts().fresh_samples == 0


def test_opening_twice_migrates_once_and_keeps_the_secret(tmp_path: Path) -> None:
    """The split of a group must never change."""
    path = tmp_path / "a.db"
    secrets = []
    for _ in range(2):
        with Database.open(path, SETTINGS, read_only=False) as database, database.read() as tx:
            secrets.append(tx.execute("SELECT value FROM facts WHERE name = 'secret'").fetchone()[0])
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == 32


def make_store_of_an_earlier_version(
    path: Path, *, lineage_from: int = 1, first_seen: int = 1, labels: int = 0
) -> None:
    """One that stored text and ran a round before sides were remembered: keys 1 to 3, the last of them held out."""
    bare = sqlite.connect(str(path))
    schema.migrations.apply(UtilsDatabase(bare), stop_before="0014_sides")
    bare.execute("UPDATE facts SET value = 9 WHERE name = 'next_sample'")
    bare.execute("UPDATE facts SET value = ? WHERE name = 'lineage_from'", (lineage_from,))
    bare.execute("INSERT INTO seen(id, hashes) VALUES (?, x'0000000000000001')", (first_seen,))
    bare.executemany("INSERT INTO labels(name) VALUES (?)", [(str(label),) for label in range(labels)])
    bare.executemany(
        "INSERT INTO round_samples VALUES (1, ?, ?, 1, 0, ?)", [(1, "fresh", 1), (2, "replay", 2), (3, "slice", 3)]
    )
    bare.executemany(
        "INSERT INTO samples VALUES (?, ?, 4, 1, 0, 9, ?, ?, NULL, 0.0, 'text')", [(4, 2, 4, 4), (5, 4, 5, 5)]
    )
    bare.commit()
    bare.close()


def test_keys_of_a_store_of_an_earlier_version_stay_on_their_sides(tmp_path: Path) -> None:
    """Also those whose text is gone, by its lineage."""
    make_store_of_an_earlier_version(tmp_path / "a.db")
    keys, keyed = np.arange(1, 7), np.array([True] * 5 + [False])
    with Store.open(tmp_path / "a.db", SETTINGS) as store, store.file.database.read() as tx:
        earlier = EarlierKeys()
        earlier.load(tx)
    assert earlier.split_by_share is SplitByShare.NOTHING
    assert earlier.keep_sides(keys, keyed, np.ones(6, bool)).tolist() == [False, False, True, False, True, True]
    assert earlier.keep_sides(keys, keyed, np.zeros(6, bool)).tolist() == [False, False, True, False, True, False]


@pytest.mark.parametrize(
    ("known", "fixed", "end"),
    [
        ({"lineage_from": 2}, SplitByShare.EVERYTHING, 0.07),
        ({"first_seen": 2}, SplitByShare.CONTENTS, 0.5),
        ({"labels": 1}, SplitByShare.CONTENTS, 0.5),
    ],
)
def test_what_an_earlier_version_does_not_tell_goes_on_being_split_by_its_share(
    tmp_path: Path, known: dict[str, int], fixed: SplitByShare, end: float
) -> None:
    """Keys of rounds that have left the lineage, contents that were let go, text that may come again otherwise."""
    make_store_of_an_earlier_version(tmp_path / "a.db", **known)
    memory, stream = MemorySettings(holdout_share=0.07, slice_documents=2_000), Stream()
    with Store.open(tmp_path / "a.db", memory) as store:
        store.ask_for_held_out(500)
        store.append(stream.of([text(n) for n in range(2_000)]))
        held = store.counts().holdout_samples
        store.append(stream.of([text(n) for n in range(3_000, 5_000)], keys=[f"k{n}" for n in range(2_000)]))
        held_of_keys = store.counts().holdout_samples - held
        with store.file.database.read() as tx:
            assert split_by_share(tx) is fixed
            assert find_zone(tx) == Zone(0.07 if fixed is SplitByShare.EVERYTHING else 0.0, end)
    assert 0.05 * 2_000 < held < 0.1 * 2_000
    assert (held_of_keys > 0.13 * 2_000) is (fixed is SplitByShare.CONTENTS)
