"""Dead letters and gaps."""

from dataclasses import replace
from pathlib import Path

import pytest

from memory.intake import dead_letters_and_gaps
from memory.intake.records import Appended
from memory.store import Store
from streams.document import FILTERED, Gap, Reason
from tests.unit.memory.helpers import TOPIC, Stream, open_store, text, value


def test_dead_letters_are_kept_with_their_reason_and_bytes(store: Store, stream: Stream) -> None:
    """In the same transaction as the batch's documents and offset."""
    letters = [stream.letter(b"{oops", key=b"k"), stream.letter(b"\xff\xfe", reason=Reason.NOT_UTF8)]
    appended = store.append(stream.batch(stream.documents([text(1)]), letters))
    assert appended.dead_letters == 2
    one, two = store.quarantine.dead_letters()
    assert (one.value, one.key, one.reason, one.offset, one.partition) == (b"{oops", b"k", Reason.NOT_JSON, 0, TOPIC)
    assert (two.reason, two.key, two.value_bytes, two.published) == (Reason.NOT_UTF8, None, 2, False)
    assert store.next_offset("news", 0, "id-1") == 3
    tallies = store.counts().tallies
    assert (tallies["dead_letters:not_json"], tallies["dead_letters:not_utf8"], tallies["dead_letters"]) == (1, 1, 2)


def test_a_records_headers_are_kept_and_counted(store: Store, stream: Stream) -> None:
    """Names more than once, null and binary values; they take room like the rest of it."""
    own = (("hop", b"1"), ("hop", None), ("b", bytes(range(256))))
    letters = [replace(stream.letter(), headers=own, headers_dropped=3), stream.letter()]
    store.append(stream.batch(letters=letters))
    one, two = store.quarantine.dead_letters()
    assert (one.headers, one.headers_dropped) == (own, 3)
    assert (two.headers, two.headers_dropped) == ((), 0)
    assert store.counts().quarantine_bytes > 256
    store.quarantine.drop()
    assert store.counts().quarantine_bytes == 0


def test_a_person_is_found_in_a_records_headers(store: Store, stream: Stream) -> None:
    """A letter whose header names them is erased with them."""
    letters = [
        replace(stream.letter(), headers=(("user", b"u-1"),)),
        replace(stream.letter(), headers=(("n", b"u-12"),)),
    ]
    store.append(stream.batch(letters=letters))
    assert store.people.forget("u-1").dead_letters == 1
    assert [letter.headers for letter in store.quarantine.dead_letters()] == [(("n", b"u-12"),)]


def test_a_dead_letter_delivered_again_is_not_stored_again(store: Store, stream: Stream) -> None:
    """Each offset lands once."""
    batch = stream.batch(letters=[stream.letter(), stream.letter()], gaps=[stream.gap(5)])
    assert store.append(batch) == Appended(dead_letters=2, gaps=1)
    assert store.append(batch) == Appended(redelivered=3)
    assert len(store.quarantine.dead_letters()) == 2
    assert len(store.quarantine.gaps()) == 1


def test_a_tombstone_is_counted_and_not_kept(store: Store, stream: Stream) -> None:
    """There is nothing in it; its offset lands all the same, once."""
    batch = stream.batch(letters=[stream.letter(b"", b"k", Reason.TOMBSTONE), stream.letter()])
    assert store.append(batch) == Appended(dead_letters=2)
    assert store.append(batch) == Appended(redelivered=2)
    assert [letter.reason for letter in store.quarantine.dead_letters()] == [Reason.NOT_JSON]
    counts = store.counts()
    assert (counts.quarantine_rows, counts.tallies["dead_letters"], counts.tallies["dead_letters:tombstone"]) == (
        1,
        2,
        1,
    )
    assert store.next_offset("news", 0, "id-1") == 2


def test_at_its_bound_in_rows_the_oldest_letters_make_room(tmp_path: Path, stream: Stream) -> None:
    """A trickle never stops the stream: the latest are kept, and what went is counted."""
    with open_store(tmp_path / "a.db", quarantine_rows=3) as store:
        for _ in range(4):
            appended = store.append(stream.batch(letters=[stream.letter(), stream.letter()]))
        assert (appended.dead_letters, appended.dead_letters_evicted) == (2, 2)
        assert [letter.offset for letter in store.quarantine.dead_letters()] == [5, 6, 7]
        tallies = store.counts().tallies
        assert (tallies["dead_letters"], tallies["dead_letters_evicted"]) == (8, 5)
        assert (store.counts().quarantine_rows, store.counts().quarantine_bytes) == (3, 3)


def test_at_its_bound_in_bytes_the_oldest_letters_make_room(tmp_path: Path, stream: Stream) -> None:
    """No more go than must; one batch beyond the bound leaves the end of itself."""
    with open_store(tmp_path / "a.db", quarantine_bytes=1024) as store:
        store.append(stream.batch(letters=[stream.letter(b"x" * 496, key=b"four") for _ in range(2)]))
        assert store.append(stream.batch(letters=[stream.letter(b"x" * 20)])).dead_letters_evicted == 0
        assert store.append(stream.batch(letters=[stream.letter(b"x" * 10)])).dead_letters_evicted == 1
        assert [letter.offset for letter in store.quarantine.dead_letters()] == [1, 2, 3]
        assert store.counts().quarantine_bytes == 530
        assert store.append(stream.batch(letters=[stream.letter(b"y" * 500) for _ in range(5)])).dead_letters == 5
        assert [letter.offset for letter in store.quarantine.dead_letters()] == [7, 8]


def test_published_letters_make_room_first(tmp_path: Path, stream: Stream) -> None:
    """They are in their topic: nothing is lost by it, and it is counted by itself."""
    with open_store(tmp_path / "a.db", quarantine_rows=4) as store:
        store.append(stream.batch(letters=[stream.letter() for _ in range(4)]))
        store.quarantine.mark_published([2, 3])
        assert store.append(stream.batch(letters=[stream.letter()])).dead_letters_evicted == 0
        assert store.append(stream.batch(letters=[stream.letter() for _ in range(2)])).dead_letters_evicted == 1
        assert [letter.id for letter in store.quarantine.dead_letters()] == [4, 5, 6, 7]
        tallies = store.counts().tallies
        assert (tallies["published_dead_letters_evicted"], tallies["dead_letters_evicted"]) == (2, 1)


def test_filtered_text_makes_room_before_what_is_wrong(tmp_path: Path, stream: Stream) -> None:
    """However much of it there is: a letter that somebody should look at stays."""
    with open_store(tmp_path / "a.db", quarantine_rows=4) as store:
        store.append(stream.batch(letters=[stream.letter(), stream.letter(reason=Reason.MISSING_FIELD)]))
        for _ in range(5):
            letters = [stream.letter(reason=reason) for reason in sorted(FILTERED)]
            assert store.append(stream.batch(letters=letters)).dead_letters_evicted == 0
        assert [letter.offset for letter in store.quarantine.dead_letters()] == [0, 1, 15, 16]
        assert store.counts().tallies["filtered_dead_letters_evicted"] == 13


@pytest.mark.parametrize("condition", dead_letters_and_gaps.EVICTED.values())
def test_what_makes_room_is_found_by_an_index(store: Store, condition: str) -> None:
    """A full quarantine is not read through for each letter that comes."""
    with store.file.database.read() as tx:
        (plan,) = tx.execute(f"EXPLAIN QUERY PLAN SELECT id FROM dead_letters WHERE {condition} ORDER BY id").fetchall()
    assert "INDEX dead_letters_" in plan[3]


def test_letters_that_wait_for_their_topic_are_held_instead(tmp_path: Path, stream: Stream) -> None:
    """They fill the quarantine until the topic has them; then they make room like any other."""
    with open_store(tmp_path / "a.db", quarantine_rows=3) as store:
        for _ in range(3):
            letters = [stream.letter(), stream.letter()]
            appended = store.append(stream.batch(letters=letters), keep_unpublished=True)
            assert appended.dead_letters_evicted == 0
        assert len(store.quarantine.dead_letters()) == 6
        assert store.quarantine.is_full()
        store.quarantine.mark_published([1, 2, 3])
        assert store.quarantine.is_full()
        store.quarantine.mark_published([4])
        assert not store.quarantine.is_full()
        store.append(stream.batch(letters=[stream.letter()]), keep_unpublished=True)
        assert [letter.id for letter in store.quarantine.dead_letters()] == [5, 6, 7]


def test_what_made_room_leaves_no_bytes_behind(tmp_path: Path, stream: Stream) -> None:
    """As with every other deletion: a letter may hold a person's text."""
    path = tmp_path / "a.db"
    with open_store(path, quarantine_rows=2) as store:
        store.append(stream.batch(letters=[stream.letter(b"MARKED" * 2000)]))
        store.append(stream.batch(letters=[stream.letter(), stream.letter()]))
    assert b"MARKED" not in path.read_bytes()


def test_letters_are_published_once(store: Store, stream: Stream) -> None:
    """Until the topic has acknowledged them they stay on the list."""
    store.append(stream.batch(letters=[stream.letter() for _ in range(3)]))
    ids = [letter.id for letter in store.quarantine.unpublished()]
    store.quarantine.mark_published(ids[:2])
    assert [letter.id for letter in store.quarantine.unpublished()] == ids[2:]
    assert [letter.published for letter in store.quarantine.dead_letters()] == [True, True, False]
    assert store.quarantine.drop(ids[:2]) == 2
    assert [letter.id for letter in store.quarantine.dead_letters()] == ids[2:]


def test_letters_are_read_page_by_page(store: Store, stream: Stream) -> None:
    """Oldest first after an id, or newest first before one; numbers are not used again."""
    store.append(stream.batch(letters=[stream.letter() for _ in range(5)]))
    first = store.quarantine.dead_letters(limit=2)
    assert [letter.id for letter in store.quarantine.dead_letters(limit=2, after=first[-1].id)] == [3, 4]
    assert [letter.id for letter in store.quarantine.latest(limit=2)] == [5, 4]
    assert [letter.id for letter in store.quarantine.latest(limit=2, before=4)] == [3, 2]
    assert (found := store.quarantine.dead_letter(3)) is not None
    assert (found.id, store.quarantine.dead_letter(6)) == (3, None)
    assert store.quarantine.drop() == 5
    store.append(stream.batch(letters=[stream.letter()]))
    assert [letter.id for letter in store.quarantine.dead_letters()] == [6]


def test_gaps_are_recorded_and_counted(store: Store, stream: Stream) -> None:
    """Which offsets never came, and why; the store's offset moves past them."""
    store.append(stream.batch(gaps=[stream.gap(10)]))
    store.append(stream.batch(gaps=[stream.gap(1)]))
    assert [one.gap for one in store.quarantine.gaps()] == [
        Gap(TOPIC, 10, 10, "retention"),
        Gap(TOPIC, 0, 9, "retention"),
    ]
    assert (store.counts().tallies["gaps"], store.counts().tallies["gap_offsets"]) == (2, 11)
    assert store.next_offset("news", 0, "id-1") == 11


def test_a_gap_that_is_known_in_part_is_counted_for_its_new_part(store: Store, stream: Stream) -> None:
    """A gap found again from an earlier offset does not count offsets twice."""
    store.append(stream.batch(gaps=[stream.gap(10)]))
    stream.offset = 15
    store.append(stream.batch(gaps=[Gap(TOPIC, 5, 14, "retention")]))
    assert store.quarantine.gaps()[0].gap == Gap(TOPIC, 10, 14, "retention")
    assert store.counts().tallies["gap_offsets"] == 15


def test_rows_of_gaps_are_bounded(tmp_path: Path, stream: Stream) -> None:
    """The latest stay, all are counted."""
    with open_store(tmp_path / "a.db", gaps_kept=3) as store:
        for _ in range(8):
            store.append(stream.batch(gaps=[stream.gap(1)]))
        assert value(store, "SELECT count(*) FROM gaps") == 3
        assert store.counts().tallies["gaps"] == 8
