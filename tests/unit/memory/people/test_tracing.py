"""One record is followed through role, rounds and generations, also where its text is gone."""

from pathlib import Path

from memory.ledger.states import RoundState
from memory.people.tracing import Traced
from memory.samples.records import Role
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, Partition, Reason
from tests.unit.memory.helpers import TOPIC, Stream, accept, begin, open_store, refuse, text


def traced(store: Store, offset: int) -> Traced:
    """The one record at an offset."""
    (found,) = store.people.trace_record(TOPIC.topic, TOPIC.number, offset)
    return found


def offsets_as(store: Store, role: Role, most: int = 60) -> list[int]:
    """Offsets of records that are kept in a role."""
    found = ((offset, traced(store, offset).sample) for offset in range(most))
    return [offset for offset, kept in found if kept is not None and kept.sample.role is role]


def test_each_record_is_what_the_store_says(store: Store, stream: Stream) -> None:
    """Fresh or held out, a dead letter, a gap, a duplicate, not read yet: every offset has its fate."""
    store.append(stream.of([*(text(n) for n in range(30)), text(0)], keys=[f"user {n}" for n in range(31)]))
    store.append(stream.batch(letters=[stream.letter(reason=Reason.TOO_SHORT)]))
    store.append(stream.batch(gaps=[stream.gap(3)]))
    kept = [traced(store, offset).sample for offset in range(30)]
    assert [None if one is None else (one.offset, one.sample.text) for one in kept] == [
        (offset, text(offset)) for offset in range(30)
    ]
    assert not traced(store, 30).is_anything
    assert (letter := traced(store, 31).letter) is not None
    assert letter.reason is Reason.TOO_SHORT
    assert (gap := traced(store, 33).gap) is not None
    assert (gap.first, gap.last, traced(store, 33).next_offset) == (32, 34, 35)
    assert not traced(store, 99).is_anything
    held = traced(store, offsets_as(store, Role.HOLDOUT)[0])
    assert held.slice == "news@1-1"
    assert store.people.trace_record("other", 0, 1) == ()
    assert store.people.partitions_read("news") == [0]


def test_rounds_and_generations_that_saw_it_are_named(store: Store, stream: Stream) -> None:
    """As what each round was given it, what came of that, and whose scores on it are kept."""
    store.append(stream.of([text(n) for n in range(60)]))
    fresh, held = offsets_as(store, Role.FRESH)[0], offsets_as(store, Role.HOLDOUT)[0]
    refuse(store, begin(store))
    assert traced(store, fresh).refusals == 1
    generation = accept(store, begin(store))
    store.append(stream.of([text(n) for n in range(60, 120)]))
    after = accept(store, begin(store))
    seen = traced(store, fresh)
    parts = [(use.round, use.part, use.state, use.generation) for use in seen.uses[:2]]
    assert parts == [(1, "fresh", RoundState.REFUSED, None), (2, "fresh", RoundState.ACCEPTED, generation)]
    assert seen.generations[0] == generation
    assert {*seen.generations, *seen.descendants} == {generation, after}
    judged = traced(store, held)
    assert {use.part for use in judged.uses} == {"slice"}
    assert (judged.generations, judged.descendants) == ((), ())
    assert generation in judged.scored_by


def test_what_was_erased_is_still_known_by_the_ledger(store: Store, stream: Stream) -> None:
    """Its text is gone; which rounds were given it, and the generations, are not."""
    store.append(stream.of([text(n) for n in range(60)], keys=[f"user {n}" for n in range(60)]))
    offset = offsets_as(store, Role.FRESH)[0]
    generation = accept(store, begin(store))
    before = traced(store, offset)
    store.people.forget(f"user {offset}")
    after = traced(store, offset)
    assert (after.sample, after.sample_id, after.key_hashes) == (None, before.sample_id, before.key_hashes)
    assert (after.uses, after.generations) == (before.uses, (generation,))
    assert after.erased_at is not None
    page = store.people.trace(f"user {offset}")
    assert [one.offset for one in page.records] == [offset]


def test_a_persons_records_come_in_pages(store: Store, stream: Stream) -> None:
    """Each once, what has left memory too; the dead letters come first, on the first page alone."""
    store.append(stream.of([text(n) for n in range(20)], keys=["me"] * 20))
    store.append(stream.batch(letters=[stream.letter(key=b"me")]))
    accept(store, begin(store))
    pages, after = [], 0
    while True:
        page = store.people.trace("me", limit=6, after=after)
        pages.append([one.offset for one in page.records])
        if page.next is None:
            break
        after = page.next
    kept = {one.offset for one in store.people.find("me", limit=100).samples}
    assert pages[0][0] == 20
    assert sorted(offset for page in pages for offset in page) == [*sorted(kept), 20]
    assert all(len(page) <= 7 for page in pages)


def test_a_topic_that_was_made_anew_has_two_records_of_an_offset(store: Store, stream: Stream) -> None:
    """Both are told, the latest first."""
    anew = Stream(Partition(TOPIC.topic, TOPIC.number, "id-2"))
    store.append(stream.of([text(1), text(2)]))
    store.append(anew.of([text(3)]))
    found = store.people.trace_record(TOPIC.topic, TOPIC.number, 0)
    assert {one.partition.incarnation for one in found} == {"id-1", "id-2"}
    (only,) = store.people.trace_record(TOPIC.topic, TOPIC.number, 1)
    assert only.partition.incarnation == "id-1"


def test_tracing_changes_nothing(tmp_path: Path, stream: Stream) -> None:
    """It works on a store that is open for reading only; what is held by nobody is no error."""
    with open_store(tmp_path / "a.db") as store:
        store.append(stream.of([text(0)]))
        store.append(Batch((), (), (), {TOPIC: 9}))
    with Store.open(tmp_path / "a.db", MemorySettings(), read_only=True) as store:
        assert traced(store, 0) == traced(store, 0)
        assert not traced(store, 5).is_anything
        assert store.people.trace("nobody").records == ()
