"""A tombstone erases what came of its key before it, once, and nothing that comes after."""

from dataclasses import replace
from pathlib import Path

from memory.store import Store
from streams.document import Batch, Document, Erasure, Reason
from tests.unit.memory.helpers import Stream, accept, begin, column, open_store, text, value


def batch(stream: Stream, *parts: tuple[str, list[int]] | str) -> Batch:
    """Documents of keys, and keys whose tombstones stand between them."""
    documents: list[Document] = []
    letters, erasures = [], []
    for part in parts:
        if isinstance(part, str):
            erasures.append(Erasure(stream.partition, stream.offset, part))
            letters.append(stream.letter(b"", part.encode(), Reason.TOMBSTONE))
        else:
            key, numbers = part
            documents += stream.documents([text(n) for n in numbers], keys=[key] * len(numbers))
    return replace(stream.batch(documents, letters), erasures=tuple(erasures))


def kept(store: Store) -> set[str]:
    """The last words of all texts."""
    return {one.split()[-1] for one in column(store, "SELECT text FROM samples")}


def test_what_came_before_goes_and_what_comes_after_stays(store: Store, stream: Stream) -> None:
    """Across batches, and within one; others' text is untouched."""
    store.append(batch(stream, ("u-1", [1, 2]), ("u-2", [3])))
    appended = store.append(batch(stream, ("u-1", [4]), "u-1", ("u-1", [5]), ("u-2", [6])))
    assert (appended.withdrawn, appended.dead_letters) == (1, 1)
    assert store.people.tombstones_wait()
    assert kept(store) == {"end1", "end2", "end3", "end5", "end6"}
    forgotten = store.people.apply_tombstones(scrub=False)
    assert (forgotten.samples, forgotten.rounds) == (2, ())
    assert kept(store) == {"end3", "end5", "end6"}
    assert not store.people.tombstones_wait()
    assert store.append(batch(stream, ("u-1", [7]))).forgotten == 0
    assert store.people.apply_tombstones(scrub=True).samples == 0
    assert kept(store) == {"end3", "end5", "end6", "end7"}
    assert store.counts().tallies["erased_by_tombstone"] == 3


def test_a_tombstone_that_is_delivered_again_erases_nothing_more(store: Store, stream: Stream) -> None:
    """Its offset and the erasure are one transaction."""
    store.append(batch(stream, ("u-1", [1])))
    again = batch(stream, "u-1")
    store.append(again)
    store.people.apply_tombstones(scrub=False)
    store.append(batch(stream, ("u-1", [2])))
    assert store.append(again).redelivered == 1
    assert not store.people.tombstones_wait()
    assert kept(store) == {"end2"}


def test_what_waits_outlives_a_restart(tmp_path: Path, stream: Stream) -> None:
    """A crash between the note and the erasure loses nothing, and a second tombstone covers the first."""
    with open_store(tmp_path / "a.db") as store:
        store.append(batch(stream, ("u-1", [1]), "nobody"))
        store.append(batch(stream, "u-1", ("u-1", [2])))
        store.append(batch(stream, "u-1", ("u-1", [3])))
    with open_store(tmp_path / "a.db") as store:
        assert store.people.apply_tombstones(scrub=False).samples == 2
        assert kept(store) == {"end3"}


def test_what_had_seen_the_text_is_named(store: Store, stream: Stream) -> None:
    """Dead letters of the key go too, generations are marked as by any erasure, and counters hold."""
    store.append(batch(stream, *((f"u-{n % 6}", [n]) for n in range(60))))
    store.append(stream.batch(letters=[stream.letter(b"{", b"u-1"), stream.letter(b"{", b"u-2")]))
    round_ = begin(store)
    accept(store, round_)
    fresh = {one.key_hash for one in round_.fresh}
    mine = next(f"u-{n}" for n in range(6) if store.people.key_hash(f"u-{n}") in fresh)
    letters = len(store.quarantine.dead_letters())
    store.append(batch(stream, mine))
    store.append(stream.batch(letters=[stream.letter(b"{", mine.encode())]))
    forgotten = store.people.apply_tombstones(scrub=True)
    assert forgotten.rounds == (round_.number,)
    assert forgotten.generations
    assert store.people.saw_erased_text()[forgotten.generations[0]]
    assert forgotten.dead_letters == (1 if mine in {"u-1", "u-2"} else 0)
    assert len(store.quarantine.dead_letters()) == letters + 1 - forgotten.dead_letters
    assert sum(one.samples for one in store.counts().by_role_and_source) == value(store, "SELECT count(*) FROM samples")
    assert store.people.find(mine).erased_at is None
