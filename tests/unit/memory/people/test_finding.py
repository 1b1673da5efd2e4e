"""What is known of a person and of what never came is found without changing anything."""

from pathlib import Path

from memory.samples.records import Role
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch
from tests.unit.memory.helpers import NOW, Stream, accept, begin, open_store, text

KEY = "user-1"


def mixed(stream: Stream, at: int, size: int = 60) -> Batch:
    """A batch in which every fifth document is the person's."""
    numbers = range(at, at + size)
    keys = [KEY if n % 5 == 0 else f"other {n % 7}" for n in numbers]
    return stream.of([text(n) for n in numbers], keys=keys)


def test_a_person_is_found_with_what_saw_the_text(store: Store, stream: Stream) -> None:
    """What is kept by role, where it came from, and the same rounds and generations that an erasure names."""
    store.append(mixed(stream, 0))
    store.append(stream.batch(letters=[stream.letter(b'{"id": "user-1"}')]))
    accept(store, begin(store))
    store.append(mixed(stream, 60))
    found = store.people.find(KEY)
    assert sum(found.by_role.values()) == len(found.samples) == 24
    assert {one.offset for one in found.samples} == {n if n < 60 else n + 1 for n in range(0, 120, 5)}
    assert {one.partition for one in found.samples} == {stream.partition}
    assert len(found.dead_letters) == 1
    assert (set(found.rounds), found.erased_at) == ({1}, None)
    forgotten = store.people.forget(KEY)
    assert (forgotten.samples, forgotten.dead_letters) == (24, 1)
    assert forgotten.rounds == tuple(found.rounds)
    assert (forgotten.generations, forgotten.clean_generation) == (found.generations, found.clean_generation)


def test_finding_erases_nothing(tmp_path: Path, stream: Stream) -> None:
    """It works on a store that is open for reading only, and again and again."""
    with open_store(tmp_path / "a.db") as store:
        store.append(mixed(stream, 0))
    with Store.open(tmp_path / "a.db", MemorySettings(), read_only=True) as store:
        assert store.people.find(KEY) == store.people.find(KEY)
        assert store.people.find(KEY).is_anything


def test_what_was_found_comes_in_pages(store: Store, stream: Stream) -> None:
    """Each sample once, by id, and all of them counted on every page."""
    store.append(mixed(stream, 0, 100))
    first = store.people.find(KEY, limit=15)
    rest = store.people.find(KEY, limit=15, after=first.samples[-1].sample.id)
    assert [len(page.samples) for page in (first, rest)] == [15, 5]
    assert first.by_role == rest.by_role
    assert sum(first.by_role.values()) == 20
    ids = [one.sample.id for one in first.samples + rest.samples]
    assert ids == sorted(set(ids))


def test_after_an_erasure_the_rounds_are_still_known(store: Store, stream: Stream) -> None:
    """The text is gone; that it was there, and what it went into, is not."""
    store.append(mixed(stream, 0))
    accept(store, begin(store))
    before = store.people.find(KEY)
    store.people.forget(KEY)
    after = store.people.find(KEY)
    assert (after.by_role, after.samples, after.erased_at) == ({}, (), NOW)
    assert (after.rounds, after.generations) == (before.rounds, before.generations)
    assert after.is_anything


def test_of_a_stranger_nothing_is_known(store: Store, stream: Stream) -> None:
    """Also of one whose key is the beginning of another's."""
    store.append(mixed(stream, 0))
    for key in ("user", "user-11", "", "\ud800"):
        assert not store.people.find(key).is_anything


def test_parts_tell_what_the_text_was_used_for(store: Store, stream: Stream) -> None:
    """Trained on or judged on: a person stands on one side of the split."""
    store.append(mixed(stream, 0, 200))
    accept(store, begin(store))
    found = store.people.find(KEY)
    parts = found.rounds[1]
    assert (Role.HOLDOUT in found.by_role) == ("slice" in parts)
    assert bool(found.generations) == bool({"fresh", "replay"} & set(parts))


def test_gaps_come_newest_first_in_pages(store: Store, stream: Stream) -> None:
    """With their reasons and when they were noted."""
    for length in (1, 2, 3):
        store.append(stream.batch(gaps=[stream.gap(length)]))
    newest = store.quarantine.gaps(limit=2)
    assert [one.gap.last - one.gap.first + 1 for one in newest] == [3, 2]
    assert {(one.gap.reason, one.recorded_at) for one in newest} == {("retention", NOW)}
    assert [one.gap.first for one in store.quarantine.gaps(before=newest[-1].id)] == [0]


def test_a_rounds_samples_come_in_pages(store: Store, stream: Stream) -> None:
    """By id, each once; together they are what the round was given."""
    store.append(mixed(stream, 0))
    begin(store)
    everything = store.rounds.samples(1)
    first = store.rounds.samples(1, limit=10)
    assert first == everything[:10]
    assert store.rounds.samples(1, limit=len(everything), after=first[-1].sample_id) == everything[10:]
    assert store.rounds.lineage_from() == 1
