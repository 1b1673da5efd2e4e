"""Text from outside that nothing may be trained on."""

from pathlib import Path

from memory.ledger.records import DrawSpec
from memory.samples.records import Role
from memory.store import Store
from tests.unit.memory.helpers import Stream, begin, column, edited, open_store, text

LONG = text(7)
SHORT = "7 + 5 = 12"


def kept(store: Store) -> set[str]:
    """Texts of all samples that may be trained on."""
    return set(column(store, "SELECT text FROM samples WHERE role != ?", Role.HOLDOUT))


def test_what_arrives_and_comes_near_is_dropped(store: Store, stream: Stream) -> None:
    """From a stream and from before it, with words replaced or in another layout; what is merely like it is kept."""
    store.keep_out([LONG, SHORT])
    arriving = [LONG, edited(LONG, 3), SHORT, "  7 +  5 = 12\n", "7 + 5 = 13", *(text(n) for n in range(20, 40))]
    dropped = [store.append(stream.of(arriving)).near_duplicates]
    again = [edited(LONG, 4), edited(LONG, 5), text(50)]
    dropped.append(store.append(stream.of(again), before_stream=True).near_duplicates)
    forbidden = {LONG, edited(LONG, 3), edited(LONG, 4), edited(LONG, 5), SHORT, "  7 +  5 = 12\n"}
    assert not kept(store) & forbidden
    assert len(kept(store)) > 15
    assert all(dropped)


def test_what_was_stored_before_is_never_drawn(tmp_path: Path) -> None:
    """Neither fresh nor replayed: a round removes it when it would draw it."""
    with open_store(tmp_path / "a.db", holdout_share=0.001) as store:
        stream = Stream()
        old = [edited(LONG, 1), SHORT, *(text(n) for n in range(100, 120))]
        store.append(stream.of(old), before_stream=True)
        store.append(stream.of([edited(LONG, 2), *(text(n) for n in range(200, 260))]))
        forbidden = {edited(LONG, 1), edited(LONG, 2), SHORT}
        assert forbidden <= kept(store)
        store.keep_out([LONG, SHORT])
        # So much that all of replay is drawn.
        draw = begin(store, spec=DrawSpec(replay_ratio=0.9))
        assert len(draw.replay) >= 15
        assert not forbidden & {sample.text for sample in (*draw.fresh, *draw.replay, *draw.early_stop)}
        assert not forbidden & kept(store)


def test_a_document_that_quotes_it_is_dropped(store: Store, stream: Stream) -> None:
    """Among much else; the common frame of many texts quotes none of them, nor does half of one."""
    frame = text(900, words=12)
    store.keep_out([f"{frame} {text(n, words=12)}" for n in range(60)])
    around = [text(1_000 + n, words=60) for n in range(2)]
    quotes = [" ".join((around[0], frame, text(number, words=12), around[1])) for number in (3, 4, 5)]
    others = [" ".join((text(2_000 + n, words=60), frame, text(3_000 + n, words=12))) for n in range(30)]
    halves = [" ".join((text(4_000 + n, words=60), " ".join(text(n, words=12).split()[:6]))) for n in range(10)]
    appended = store.append(stream.of([*quotes, *others, *halves]))
    assert not kept(store) & set(quotes)
    assert appended.near_duplicates + appended.holdout >= 3
    assert len(kept(store)) == appended.fresh == 43 - appended.near_duplicates - appended.holdout
    assert appended.near_duplicates <= 3


def test_it_holds_when_the_file_is_opened_anew(store: Store, stream: Stream) -> None:
    """And what is said later takes the place of what was said before."""
    store.keep_out([LONG])
    store.file.reopen()
    assert store.append(stream.of([edited(LONG, 1)])).near_duplicates
    store.keep_out([])
    assert not store.append(stream.of([edited(LONG, 2)])).near_duplicates
