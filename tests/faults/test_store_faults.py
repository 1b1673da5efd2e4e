"""The store through kills, a full disk and a damaged file."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite

from memory.errors import StoreDamaged, StoreError, StoreFull
from memory.ledger.states import RoundState
from memory.settings import MemorySettings
from memory.store import Store
from tests.disks import small_disk
from tests.faults import store_worker
from tests.faults.whole import assert_rounds_are_whole

ROOT = Path(__file__).parents[2]
KILLS = 10

SCHEMA_BYTES = 4096
"""Of the first page, at least."""


def start(path: Path, what: str, *steps: str) -> subprocess.Popen[str]:
    """A worker on this store."""
    command = [sys.executable, "-m", "tests.faults.store_worker", str(path), what, *steps]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def lines_until_death(worker: subprocess.Popen[str]) -> list[int]:
    """What the worker confirmed before it killed itself."""
    with worker:
        output, _ = worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGKILL
    return [int(line) for line in output.splitlines()]


def assert_whole(store: Store) -> None:
    """Every offset below the next one landed exactly once, and the counters agree."""
    store.file.database.check()
    with store.file.database.read() as tx:
        letters = [row[0] for row in tx.execute("SELECT offset FROM dead_letters ORDER BY offset")]
        by_counter = set(tx.execute("SELECT * FROM counters WHERE samples != 0"))
        by_count = set(tx.execute("SELECT role, source, label, count(*), sum(bytes) FROM samples GROUP BY 1, 2, 3"))
        offsets = [row[0] for row in tx.execute("SELECT offset FROM samples ORDER BY offset")]
    end = store.next_offset("faults", 0) or 0
    assert letters == list(range(0, end, 10))
    assert by_counter == by_count
    assert len(set(offsets)) == len(offsets)
    gone = sum(store.counts().tallies.get(cause, 0) for cause in ("near_duplicates", "surplus", "evicted"))
    assert len(offsets) + gone == end - len(letters)


@pytest.mark.slow
def test_killed_at_any_point_of_an_append_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """What was confirmed is there; what was not is there wholly or not at all; the next process goes on."""
    path, numbers = tmp_path / "a.db", random.Random(1)
    for _ in range(KILLS):
        confirmed = lines_until_death(start(path, "append", str(numbers.randrange(1, 1_500))))
        with Store.open(path, store_worker.SETTINGS) as store:
            reached = store.next_offset("faults", 0) or 0
            assert reached >= max(confirmed, default=0)
            assert reached % store_worker.BATCH == 0
            assert_whole(store)
    assert reached > 0


@pytest.mark.slow
def test_killed_from_outside_while_writing(tmp_path: Path) -> None:
    """The same with a signal that knows nothing of SQLite's steps."""
    path, numbers = tmp_path / "a.db", random.Random(2)
    for _ in range(KILLS // 2):
        with start(path, "append") as worker:
            assert worker.stdout is not None
            confirmed = [int(next(worker.stdout)) for _ in range(numbers.randrange(1, 40))]
            worker.kill()
            confirmed += map(int, worker.stdout)
        with Store.open(path, store_worker.SETTINGS) as store:
            assert (store.next_offset("faults", 0) or 0) >= confirmed[-1]
            assert_whole(store)


@pytest.mark.slow
def test_killed_at_any_point_of_a_round_it_took_effect_wholly_or_not_at_all(tmp_path: Path) -> None:
    """Accepted: pointer, generation and settled text. Not accepted: none of them, and its text is still fresh."""
    path, numbers = tmp_path / "a.db", random.Random(3)
    for _ in range(KILLS):
        confirmed = lines_until_death(start(path, "round", str(numbers.randrange(1, 4_000))))
        with Store.open(path, store_worker.SETTINGS) as store:
            assert_whole(store)
            assert_rounds_are_whole(store)
            assert all(store.rounds.read(number).state is RoundState.ACCEPTED for number in confirmed)
    assert store_rounds(path) > 0


def store_rounds(path: Path) -> int:
    """How many rounds were accepted in all."""
    with Store.open(path, store_worker.SETTINGS, read_only=True) as store:
        return store.rounds.by_state()["accepted"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    with small_disk(tmp_path / "disk", megabytes=4) as folder:
        yield folder


def append_until_full(store: Store, confirmed: list[int]) -> None:
    """Take in batch after batch; each offset that is durable is noted."""
    while confirmed[-1] < 100_000:
        store.append(store_worker.batch(confirmed[-1]))
        confirmed.append(confirmed[-1] + store_worker.BATCH)


def test_a_full_disk_loses_nothing_and_goes_on_once_there_is_room(disk: Path) -> None:
    """The error says what to do; nothing confirmed is lost; the same store writes again when space is freed."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * 2**20)
    confirmed = [0]
    with Store.open(disk / "a.db", MemorySettings()) as store:
        with pytest.raises(StoreFull, match="Free space"):
            append_until_full(store, confirmed)
        assert store.next_offset("faults", 0) == confirmed[-1] > 0
        filler.unlink()
        store.append(store_worker.batch(confirmed[-1]))
        assert_whole(store)
    with Store.open(disk / "a.db", MemorySettings()) as store:
        assert store.next_offset("faults", 0) == confirmed[-1] + store_worker.BATCH


def test_an_erasure_without_room_says_what_is_left_to_do(disk: Path) -> None:
    """The rows go, the file cannot be rewritten: never "undone as a whole", and with room the same erasure ends it."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * 2**21)
    with Store.open(disk / "a.db", MemorySettings()) as store:
        with pytest.raises(StoreFull, match="Free space"):
            append_until_full(store, [0])
        filler.write_bytes(b"x" * (2**21 - 2**18))
        with pytest.raises(StoreFull, match="erased from every table"):
            store.people.forget("user-1")
        filler.unlink()
        store.people.forget("user-1")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A closed store with some text."""
    path = tmp_path / "a.db"
    with Store.open(path, store_worker.SETTINGS) as store:
        for number in range(30):
            store.append(store_worker.batch(number * store_worker.BATCH))
    return path


def flip(path: Path, position: int, bit: int) -> None:
    """Flip one bit of the file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def test_a_flipped_bit_in_a_page_is_found_at_the_start_and_the_message_says_what_to_do(filled: Path) -> None:
    """The kind of the page where the samples begin no longer makes sense."""
    with closing(sqlite.connect(filled)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'samples'").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
    flip(filled, (root - 1) * page, 3)
    with pytest.raises(StoreDamaged, match=r"(?s)is damaged.*elsewhere.*copy of the database.*\.recover"):
        Store.open(filled, store_worker.SETTINGS)


def test_wherever_a_bit_flips_the_store_opens_or_says_why_not(filled: Path) -> None:
    """Never a raw error of SQLite, nor a crash; a store that opens takes text in or says why not."""
    whole, numbers, found = filled.read_bytes(), random.Random(4), 0
    for turn in range(150):
        for leftover in filled.parent.iterdir():
            leftover.unlink()
        filled.write_bytes(whole)
        # Every other one where the schema lies: most pages hold little that a store reads when it is opened.
        flip(filled, numbers.randrange(len(whole) if turn % 2 else SCHEMA_BYTES), numbers.randrange(8))
        try:
            with Store.open(filled, store_worker.SETTINGS) as store:
                store.append(store_worker.batch(store.next_offset("faults", 0) or 0))
        except StoreError:
            found += 1
    assert found > 0
