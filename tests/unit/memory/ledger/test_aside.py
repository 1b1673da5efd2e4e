"""Text that is set aside neither enters nor stops the river."""

import pytest

from memory.errors import WrongState
from memory.ledger import aside
from memory.ledger.states import RoundState
from memory.samples.records import Role
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, column, judge, refuse, round_of, text, with_anchor

STREAM = "SELECT s.id FROM samples s JOIN streams ON streams.id = s.stream WHERE topic = 'news'"


def refused_twice(store: Store, stream: Stream) -> tuple[set[int], set[int]]:
    """Text in, two refusals with more text between; returns the first text's ids and the second's."""
    with_anchor(store)
    round_of(store, stream, [text(n) for n in range(9_000, 9_400)])
    store.append(stream.of([text(n) for n in range(300)]))
    first = set(column(store, f"{STREAM} AND offset BETWEEN 400 AND 699"))
    refuse(store, begin(store))
    store.append(stream.of([text(n) for n in range(300, 500)]))
    second = set(column(store, f"{STREAM} AND offset >= 700"))
    refuse(store, begin(store))
    return first, second


def test_text_refused_twice_goes_aside_with_its_held_out_part(store: Store, stream: Stream) -> None:
    """What was refused once stays; what came before is not concerned."""
    first, second = refused_twice(store, stream)
    gone = set(column(store, "SELECT id FROM samples WHERE role = ?", Role.ASIDE))
    assert gone == first
    assert second.isdisjoint(gone)
    [group] = store.aside.groups()
    assert (group.round, group.reason) == (3, "refused 2 times, last by round 3")
    assert group.samples + group.held_out == len(first)
    assert group.held_out >= 5
    assert group.sources == ("news",)
    assert store.counts().aside_samples == len(first)


def test_a_refusal_that_does_not_speak_against_the_text_is_not_counted(store: Store, stream: Stream) -> None:
    """However often: it waits for the round that can tell."""
    store.append(stream.of([text(n) for n in range(300)]))
    for _ in range(3):
        judge(store, (draw := begin(store)).number)
        assert store.rounds.refuse(draw.number, verdict={}, report={}, against_text=False) == 0
    assert refuse(store, begin(store)) == 0
    assert refuse(store, begin(store)) > 0


def test_the_river_goes_on_without_it(store: Store, stream: Stream) -> None:
    """The next round draws and is judged on the rest only."""
    first, second = refused_twice(store, stream)
    draw = begin(store)
    drawn = {one.id for one in draw.fresh + draw.early_stop}
    judged_on = {one.id for part in draw.slices for one in part.samples}
    assert first.isdisjoint(drawn | judged_on | {one.id for one in draw.replay})
    assert drawn <= second
    accept(store, draw)
    assert store.counts().fresh_samples == 0
    assert store.counts().aside_samples == len(first)


def test_released_text_is_fresh_and_held_out_again_with_no_refusals(store: Store, stream: Stream) -> None:
    """It can be refused twice once more."""
    first, _ = refused_twice(store, stream)
    fresh = store.counts().fresh_samples
    held_out = store.aside.groups()[0].held_out
    assert store.aside.release(round_number=3) == len(first)
    assert store.aside.groups() == []
    assert store.counts().fresh_samples == fresh + len(first) - held_out
    assert first.isdisjoint(column(store, "SELECT sample FROM refusals"))
    newest = {one.id for part in begin(store).slices if part.kind == "newest" for one in part.samples}
    assert len(newest & first) == held_out


def test_dropped_text_is_gone_and_does_not_come_back(store: Store, stream: Stream) -> None:
    """The same content delivered again at other offsets is a duplicate."""
    first, _ = refused_twice(store, stream)
    assert store.aside.drop(round_number=3) == len(first)
    assert column(store, "SELECT id FROM samples WHERE id IN (SELECT sample FROM aside)") == []
    assert store.append(stream.of([text(n) for n in range(300)])).duplicates == 300


def test_single_samples_can_be_released_or_dropped(store: Store, stream: Stream) -> None:
    """By id; ids that are not aside are ignored, and giving neither or both is a mistake."""
    first, second = refused_twice(store, stream)
    one, two, *_ = sorted(first)
    assert store.aside.release(ids=[one, *second]) == 1
    assert store.aside.drop(ids=[two, one]) == 1
    assert store.counts().aside_samples == len(first) - 2
    with pytest.raises(ValueError, match="either"):
        store.aside.release()
    with pytest.raises(ValueError, match="either"):
        store.aside.release(round_number=3, ids=[1])


def test_what_is_aside_can_be_read(store: Store, stream: Stream) -> None:
    """A person needs to see it to decide: page by page, from where it came, and what of it was held out."""
    first, _ = refused_twice(store, stream)
    [group] = store.aside.groups()
    page = store.aside.text(3, limit=10)
    assert [one.sample.id for one in page.found] == sorted(first)[:10]
    assert all(one.sample.role is Role.ASIDE and one.sample.text for one in page.found)
    assert {(one.partition.topic, one.offset >= 400) for one in page.found} == {("news", True)}
    rest = store.aside.text(3, limit=1_000, after=page.next or 0)
    assert [one.sample.id for one in rest.found] == sorted(first)[10:]
    assert rest.next is None
    assert len(page.held_out | rest.held_out) == group.held_out


def test_a_page_of_long_text_is_short(store: Store, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown at once is bounded in bytes too, and every document comes all the same."""
    first, _ = refused_twice(store, stream)
    monkeypatch.setattr(aside, "PAGE_BYTES", 2_000)
    seen: list[int] = []
    page = store.aside.text(3)
    while page.next is not None:
        assert 0 < len(page.found) < 100
        seen += [one.sample.id for one in page.found]
        page = store.aside.text(3, after=page.next)
    assert seen + [one.sample.id for one in page.found] == sorted(first)


def waiting(store: Store, stream: Stream) -> set[int]:
    """A round that waits for a person; returns the ids of its text."""
    with_anchor(store)
    round_of(store, stream, [text(n) for n in range(9_000, 9_400)])
    store.append(stream.of([text(n) for n in range(300)]))
    ids = set(column(store, f"{STREAM} AND offset >= 400"))
    draw = begin(store)
    store.rounds.advance(draw.number, RoundState.TRAINING)
    assert store.rounds.hold(draw.number, verdict={}, report={}, detail="1.8 nats above earlier text") == len(ids)
    return ids


def test_a_round_that_waits_takes_its_text_aside(store: Store, stream: Stream) -> None:
    """Other text may go on."""
    ids = waiting(store, stream)
    assert store.rounds.read(2).state is RoundState.WAITING
    assert store.rounds.read(2).detail == "1.8 nats above earlier text"
    assert set(column(store, "SELECT id FROM samples WHERE role = ?", Role.ASIDE)) == ids
    assert store.aside.groups()[0].reason == "round 2 waits"
    assert store.rounds.begin(trigger="test", recipe={}, seed=1) is None
    store.append(stream.of([text(n) for n in range(300, 400)]))
    accept(store, begin(store))


def test_a_released_round_is_drawn_by_name(store: Store, stream: Stream) -> None:
    """Exactly its text, though newer text waits too."""
    ids = waiting(store, stream)
    store.append(stream.of([text(n) for n in range(300, 400)]))
    assert store.rounds.release(2) == len(ids)
    draw = begin(store, released_from=2)
    drawn = {one.id for one in draw.fresh + draw.early_stop}
    assert drawn < ids
    assert store.rounds.read(3).released_from == 2
    assert ids - drawn <= {one.id for part in draw.slices for one in part.samples}
    accept(store, draw)
    assert store.counts().fresh_samples > 0


def test_a_dropped_round_is_erased(store: Store, stream: Stream) -> None:
    """Its text and its held-out part."""
    ids = waiting(store, stream)
    assert store.rounds.drop(2) == len(ids)
    assert store.rounds.read(2).state is RoundState.DROPPED
    assert column(store, f"{STREAM} AND offset >= 400") == []
    assert store.aside.groups() == []


def test_a_waiting_round_is_decided_as_a_whole_and_once(store: Store, stream: Stream) -> None:
    """Not by the commands for refused text, nor twice."""
    waiting(store, stream)
    with pytest.raises(WrongState, match="as a whole"):
        store.aside.release(round_number=2)
    store.rounds.release(2)
    with pytest.raises(WrongState, match="released"):
        store.rounds.drop(2)


def test_acceptance_clears_the_refusals_of_what_it_used(store: Store, stream: Stream) -> None:
    """Text refused once and then accepted counts anew, and its held-out part with it."""
    store.append(stream.of([text(n) for n in range(200)]))
    refuse(store, begin(store))
    accept(store, begin(store))
    assert column(store, "SELECT sample FROM refusals") == []


def test_refused_text_does_not_stay_in_the_anchor(store: Store, stream: Stream) -> None:
    """Where the anchor is made of the first text, it takes that over only when the text is accepted."""
    store.append(stream.of([text(n) for n in range(400)]))
    assert {part.kind for part in begin(store).slices} == {"anchor", "newest"}
    store.rounds.fail(1, reason="test")
    for _ in range(2):
        refuse(store, begin(store))
    assert store.counts().holdout_samples == 0
    store.append(stream.of([text(n) for n in range(400, 800)]))
    draw = begin(store)
    accept(store, draw)
    kept = column(store, "SELECT sample FROM holdout JOIN slices ON id = slice WHERE state = 'anchor'")
    assert set(kept) == {one.id for one in draw.slices[0].samples}


def test_the_text_of_a_round_is_shown_worst_first_page_by_page(store: Store, stream: Stream) -> None:
    """By the loss that the round measured; what it did not look at comes last, by id; nothing twice."""
    store.append(stream.of([text(n) for n in range(200)]))
    draw = begin(store)
    store.rounds.advance(draw.number, RoundState.TRAINING)
    one, two, three = sorted(sample.id for sample in draw.fresh)[:3]
    rows = [[one, 20.0, 10, 0.0], [two, 90.0, 10, 0.8], [three, 50.0, 10, 0.0]]
    store.rounds.hold(draw.number, verdict={}, report={aside.MEASURED: rows}, detail="")
    everything = {found.sample.id for found in store.aside.text(1, 1_000).found}
    pages: list[aside.AsidePage] = []
    after = 0
    while pages == [] or after:
        page = store.aside.text(1, 2, after, worst_first=True)
        pages.append(page)
        after = page.next or 0
    order = [found.sample.id for page in pages for found in page.found]
    assert order == [two, three, one, *sorted(everything - {one, two, three})]
    assert pages[0].measured == {two: (9.0, 0.8), three: (5.0, 0.0)}


def test_a_part_of_a_waiting_round_is_erased_and_the_rest_released(store: Store, stream: Stream) -> None:
    """Held-out text too where it is named; the rest is fresh or held out again, as it was."""
    ids = waiting(store, stream)
    held = store.aside.text(2, 1_000).held_out
    bad = [*sorted(ids - held)[:40], min(held)]
    assert store.aside.drop_part(2, bad) == (len(bad), len(ids) - len(bad))
    assert store.rounds.read(2).state is RoundState.WAITING
    assert column(store, f"SELECT id FROM samples WHERE id IN ({', '.join(map(str, bad))})") == []
    assert store.rounds.release(2) == len(ids) - len(bad)
    draw = begin(store, released_from=2)
    assert {one.id for one in draw.fresh + draw.early_stop} == ids - held - set(bad)
    judged_on = {one.id for part in draw.slices for one in part.samples}
    assert held - set(bad) <= judged_on
    assert judged_on.isdisjoint(bad)


def test_a_part_of_what_is_aside_is_released_and_the_rest_stays(store: Store, stream: Stream) -> None:
    """Fresh and held out as it was; not of a round that waits, and nothing where one id is wrong."""
    ids = waiting(store, stream)
    held = store.aside.text(2, 1_000).held_out
    part = [*sorted(ids - held)[:5], min(held)]
    with pytest.raises(WrongState, match="waits: erase the part"):
        store.aside.release_part(2, part)
    # As a round leaves it that was refused too often.
    store.file.write(lambda tx: tx.execute("UPDATE rounds SET state = 'refused' WHERE number = 2"))
    with pytest.raises(WrongState, match="999999 aside: nothing is released"):
        store.aside.release_part(2, [*part, 999_999])
    assert store.counts().aside_samples == len(ids)
    assert store.aside.release_part(2, part) == (len(part), len(ids) - len(part))
    roles = dict(store.file.read(lambda tx: tx.execute("SELECT id, role FROM samples").fetchall()))
    assert {Role(roles[id_]) for id_ in part[:-1]} == {Role.FRESH}
    assert Role(roles[part[-1]]) is Role.HOLDOUT
    assert {Role(roles[id_]) for id_ in ids - set(part)} == {Role.ASIDE}


def test_a_part_that_is_not_aside_erases_nothing(store: Store, stream: Stream) -> None:
    """One wrong id, and all stay; a waiting round of which all is erased is dropped."""
    ids = waiting(store, stream)
    with pytest.raises(WrongState, match="999999 aside: nothing is erased"):
        store.aside.drop_part(2, [*ids, 999_999])
    assert store.counts().aside_samples == len(ids)
    assert store.aside.drop_part(2, sorted(ids)) == (len(ids), 0)
    assert store.rounds.read(2).state is RoundState.DROPPED
