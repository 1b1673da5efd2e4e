"""Dead letters and gaps."""

from pathlib import Path

from memory.records import Appended
from memory.store import Store
from streams.document import Gap, Reason
from tests.unit.memory.helpers import TOPIC, Stream, open_store, text, value


def test_dead_letters_are_kept_with_their_reason_and_bytes(store: Store, stream: Stream) -> None:
    """In the same transaction as the batch's documents and offset."""
    letters = [stream.letter(b"{oops", key=b"k"), stream.letter(b"\xff\xfe", reason=Reason.NOT_UTF8)]
    appended = store.append(stream.batch(stream.documents([text(1)]), letters))
    assert appended.dead_letters == 2
    one, two = store.dead_letters()
    assert (one.value, one.key, one.reason, one.offset, one.partition) == (b"{oops", b"k", Reason.NOT_JSON, 0, TOPIC)
    assert (two.reason, two.key, two.value_bytes, two.published) == (Reason.NOT_UTF8, None, 2, False)
    assert store.next_offset("news", 0, "id-1") == 3
    tallies = store.counts().tallies
    assert (tallies["dead_letters:not_json"], tallies["dead_letters:not_utf8"], tallies["dead_letters"]) == (1, 1, 2)


def test_a_dead_letter_delivered_again_is_not_stored_again(store: Store, stream: Stream) -> None:
    """Each offset lands once."""
    batch = stream.batch(letters=[stream.letter(), stream.letter()], gaps=[stream.gap(5)])
    assert store.append(batch) == Appended(dead_letters=2, gaps=1)
    assert store.append(batch) == Appended(redelivered=3)
    assert len(store.dead_letters()) == 2
    assert len(store.gaps()) == 1


def test_the_quarantine_says_when_it_is_full_and_evicts_nothing(tmp_path: Path, stream: Stream) -> None:
    """By rows or by bytes; beyond it letters are still stored, never lost, until a person makes room."""
    with open_store(tmp_path / "rows.db", quarantine_rows=3) as store:
        store.append(stream.batch(letters=[stream.letter() for _ in range(2)]))
        assert not store.quarantine_is_full()
        store.append(stream.batch(letters=[stream.letter() for _ in range(4)]))
        assert store.quarantine_is_full()
        assert len(store.dead_letters()) == 6
        assert store.drop_dead_letters([1, 2, 3, 4]) == 4
        assert not store.quarantine_is_full()
    with open_store(tmp_path / "bytes.db", quarantine_bytes=1024) as store:
        store.append(Stream().batch())
        big = Stream()
        store.append(big.batch(letters=[big.letter(b"x" * 1020, key=b"four")]))
        assert store.quarantine_is_full()
        assert store.counts().quarantine_bytes == 1024


def test_letters_are_published_once(store: Store, stream: Stream) -> None:
    """Until the topic has acknowledged them they stay on the list."""
    store.append(stream.batch(letters=[stream.letter() for _ in range(3)]))
    ids = [letter.id for letter in store.unpublished_dead_letters()]
    store.mark_published(ids[:2])
    assert [letter.id for letter in store.unpublished_dead_letters()] == ids[2:]
    assert [letter.published for letter in store.dead_letters()] == [True, True, False]
    assert store.drop_dead_letters(published_only=True) == 2
    assert [letter.id for letter in store.dead_letters()] == ids[2:]


def test_letters_are_read_page_by_page(store: Store, stream: Stream) -> None:
    """Oldest first, after an id; numbers are not used again."""
    store.append(stream.batch(letters=[stream.letter() for _ in range(5)]))
    first = store.dead_letters(limit=2)
    assert [letter.id for letter in store.dead_letters(limit=2, after=first[-1].id)] == [3, 4]
    assert store.drop_dead_letters() == 5
    store.append(stream.batch(letters=[stream.letter()]))
    assert [letter.id for letter in store.dead_letters()] == [6]


def test_gaps_are_recorded_and_counted(store: Store, stream: Stream) -> None:
    """Which offsets never came, and why; the store's offset moves past them."""
    store.append(stream.batch(gaps=[stream.gap(10)]))
    store.append(stream.batch(gaps=[stream.gap(1)]))
    assert store.gaps() == [Gap(TOPIC, 10, 10, "retention"), Gap(TOPIC, 0, 9, "retention")]
    assert (store.counts().tallies["gaps"], store.counts().tallies["gap_offsets"]) == (2, 11)
    assert store.next_offset("news", 0, "id-1") == 11


def test_a_gap_that_is_known_in_part_is_counted_for_its_new_part(store: Store, stream: Stream) -> None:
    """A gap found again from an earlier offset does not count offsets twice."""
    store.append(stream.batch(gaps=[stream.gap(10)]))
    stream.offset = 15
    store.append(stream.batch(gaps=[Gap(TOPIC, 5, 14, "retention")]))
    assert store.gaps()[0] == Gap(TOPIC, 10, 14, "retention")
    assert store.counts().tallies["gap_offsets"] == 15


def test_rows_of_gaps_are_bounded(tmp_path: Path, stream: Stream) -> None:
    """The latest stay, all are counted."""
    with open_store(tmp_path / "a.db", gaps_kept=3) as store:
        for _ in range(8):
            store.append(stream.batch(gaps=[stream.gap(1)]))
        assert value(store, "SELECT count(*) FROM gaps") == 3
        assert store.counts().tallies["gaps"] == 8
