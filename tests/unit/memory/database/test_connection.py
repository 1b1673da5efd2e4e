"""A file in use: what is durable, and turns at it."""

import threading
from pathlib import Path

import pytest

from memory.database.connection import Database
from memory.errors import (
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreMissing,
    StoreUnreadable,
    WrongState,
)
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Partition
from tests.unit.memory.helpers import Stream, open_store, text

SETTINGS = MemorySettings(busy_timeout_s=0.05)


def pragma(database: Database, name: str) -> object:
    """A pragma's value on the writer."""
    with database.exclusive() as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_commits_are_durable_and_readers_do_not_wait(tmp_path: Path) -> None:
    """WAL, synchronous FULL (2) and secure_delete are on; only the owner may read the file."""
    with Database.open(tmp_path / "a.db", SETTINGS, read_only=False) as database:
        assert pragma(database, "journal_mode") == "wal"
        assert pragma(database, "synchronous") == 2
        assert pragma(database, "secure_delete") == 1
        assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0
        assert (tmp_path / "a.db-wal").stat().st_mode & 0o077 == 0


def test_reading_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    """A read-only opening fails clearly and leaves no file."""
    with pytest.raises(StoreMissing, match="no store at"):
        Store.open(tmp_path / "a.db", SETTINGS, read_only=True)
    assert not (tmp_path / "a.db").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error says what to look at, not only that a file is missing."""
    with pytest.raises(StoreUnreadable, match="may write to the folder"):
        Store.open(tmp_path / "nowhere" / "a.db", SETTINGS)


def test_readers_see_what_is_committed_while_a_writer_writes(tmp_path: Path, stream: Stream) -> None:
    """A reader inside another's transaction neither waits nor sees half of it."""
    with open_store(tmp_path / "a.db") as store:
        with store.file.database.write() as tx:
            tx.execute("UPDATE facts SET value = 9.0 WHERE name = 'bytes_per_token'")
            assert store.counts().bytes_per_token == 4.0
        assert store.counts().bytes_per_token == 9.0


def test_a_second_writer_waits_and_then_says_who_is_busy(tmp_path: Path, stream: Stream) -> None:
    """Two processes take turns; one that waits too long is told."""
    path = tmp_path / "a.db"
    with open_store(path) as one, Store.open(path, SETTINGS) as other:
        with one.file.database.write(), pytest.raises(StoreBusy, match="busy_timeout_s"):
            other.append(stream.of([text(1)]))
        assert other.append(stream.of([text(1)])).redelivered == 0


def test_a_full_file_undoes_the_write_as_a_whole(store: Store, stream: Stream) -> None:
    """A limit on pages stands for a full disk: the error says so, and what was there stays."""
    store.append(stream.of([text(n) for n in range(50)]))
    before = store.counts()
    with store.file.database.exclusive() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    batch = stream.of([text(n) for n in range(1_000, 3_000)])
    with pytest.raises(StoreFull, match=r"Free space .* a backfill goes on where it stopped"):
        store.append(batch)
    assert store.counts() == before
    with store.file.database.exclusive() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert store.append(batch).redelivered == 0


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Closing twice is harmless; using what is closed is an error with a name."""
    store = open_store(tmp_path / "a.db")
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.counts()


def test_a_store_opened_for_reading_refuses_to_write(tmp_path: Path, stream: Stream) -> None:
    """Read-only means it."""
    open_store(tmp_path / "a.db").close()
    with Store.open(tmp_path / "a.db", SETTINGS, read_only=True) as store:
        assert store.generations.serving() == 0
        with pytest.raises(WrongState, match="reading only"):
            store.append(stream.of([text(1)]))


def test_many_threads_may_use_one_store(store: Store) -> None:
    """Eight threads append and read at once; everything lands."""
    streams = [Stream(partition(n)) for n in range(8)]
    failures: list[Exception] = []

    def work(stream: Stream, number: int) -> None:
        try:
            for step in range(5):
                store.append(stream.of([text(number * 1_000 + step * 10 + n) for n in range(10)]))
                store.counts()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(stream, n)) for n, stream in enumerate(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    counts = store.counts()
    assert counts.fresh_samples + counts.holdout_samples + sum(counts.tallies.values()) == 400


def partition(number: int) -> Partition:
    """A partition of its own for each thread."""
    return Partition("threads", number)
