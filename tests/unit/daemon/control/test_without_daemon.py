"""The commands' operations on a real store, with no daemon running."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.cli.reach import reach
from daemon.control.asker import local_user
from daemon.control.protocol import Control
from daemon.control.without_daemon import StoreControl
from daemon.errors import AlreadyRunning, DaemonUnreachable, Refused, UnknownThing
from daemon.lifecycle.lock import StateLock, holder_of
from memory.samples.records import KeyHash
from memory.store import Store
from streams.document import Batch, Gap, Partition
from tests.harness import Facts
from tests.unit.daemon.kept import NEWS, Kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A state directory with forty documents and a base generation."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(40)
    with kept.store:
        yield kept


def facts_are_json(control: Control) -> None:
    """Everything that can be asked can be printed."""
    shown = [control.status(), control.rounds(), control.generations(), control.memory(), control.aside()]
    json.dumps([*shown, control.dead_letters(), [control.round(one["number"]) for one in control.rounds()]])


def test_all_facts_are_json_and_hold_no_text(kept: Kept) -> None:
    """Status, rounds, generations, memory: plain values, and not a word of a document."""
    kept.accept()
    kept.arrive(40)
    kept.hold()
    kept.die(b'{"body": "river"}')
    facts_are_json(kept.control)
    everything = json.dumps([kept.control.memory(), kept.control.dead_letters(), kept.control.aside()])
    assert "river" not in everything


def test_status_counts_what_is_kept(kept: Kept) -> None:
    """Fresh and held out, what serves, what came last."""
    status: Facts = kept.control.status()
    assert status["memory"]["fresh_samples"] + status["memory"]["holdout_samples"] == 40
    assert (status["running"], status["serving"]["generation"]) == (False, 0)
    assert {need["what"]: need["needed"] for need in status["evidence"]} == {"anchor": 36, "newest": 36}
    kept.refuse()
    status = kept.control.status()
    assert status["last_round"]["detail"] == "forgot too much"


def test_rounds_are_paused_without_a_daemon_too(kept: Kept) -> None:
    """The status says since when, why, and how it ends; a second reason takes the place of the first, none does not."""
    assert kept.control.status()["rounds_paused"] is None
    kept.control.pause_rounds("a first reason")
    paused = {"since": 1_000.0, "reason": "the GPU is lent out", "already": True}
    assert kept.control.pause_rounds("the GPU is lent out") == paused
    assert kept.control.pause_rounds() == paused
    status: Facts = kept.control.status()
    assert status["rounds_paused"] == {"since": 1_000.0, "reason": "the GPU is lent out"}
    assert status["next_round"].startswith("rounds are paused (the GPU is lent out); `riverkeep round resume`")
    assert [kept.control.resume_rounds(), kept.control.resume_rounds()] == [{"resumed": True}, {"resumed": False}]
    assert (kept.control.status()["rounds_paused"], kept.control.status()["next_round"]) == (None, None)


def test_rounds_page_newest_first(kept: Kept) -> None:
    """`before` goes on where the page ended."""
    first = kept.refuse()
    second = kept.refuse()
    assert [one["number"] for one in kept.control.rounds(limit=1)] == [second]
    assert [one["number"] for one in kept.control.rounds(before=second)] == [first]
    assert kept.control.rounds(before=first) == []


def test_a_round_in_full_has_recipe_verdict_and_offsets(kept: Kept) -> None:
    """What went in, what was said."""
    kept.accept()
    one = kept.control.round(1)
    assert one["recipe"] == {"kl": 1.0}
    assert one["verdict"]["decision"] == "accept"
    assert one["offsets"].keys() == {"news/0"}


def test_a_rounds_samples_come_with_where_they_came_from(kept: Kept) -> None:
    """Every offset that the round says it covers, in pages, and no text."""
    kept.accept()
    everything = kept.control.round_samples(1)
    assert (everything["next"], everything["note"]) == (None, "")
    parts = {one["part"] for one in everything["samples"]}
    # Of forty documents none may be held out.
    assert "fresh" in parts
    assert parts <= {"fresh", "early_stop", "slice"}
    assert {(one["topic"], one["partition"]) for one in everything["samples"]} == {("news", 0)}
    assert len({one["offset"] for one in everything["samples"]}) == 40
    first: Facts = kept.control.round_samples(1, limit=15)
    rest = kept.control.round_samples(1, after=first["next"])
    assert first["samples"] + rest["samples"] == everything["samples"]
    assert kept.control.round_samples(1, limit=40)["next"] is None


def test_where_lineage_no_longer_reaches_a_round_says_so(tmp_path: Path) -> None:
    """Instead of seeming to have had no samples."""
    kept = Kept(tmp_path)
    bounded = kept.settings.memory.model_copy(update={"lineage_rounds": 1})
    kept.store.close()
    kept.store = Store.open(kept.settings.database, bounded, clock=lambda: 1_000.0)
    kept.control = StoreControl(kept.settings, kept.store, kept.checkpoints)
    with kept.store:
        kept.base()
        for _ in range(3):
            kept.arrive(40)
            kept.accept()
        told = kept.control.round_samples(1)
        assert told["samples"] == []
        assert "rounds before 3" in told["note"]
        assert kept.control.round_samples(3)["note"] == ""


def test_a_person_is_found_and_nothing_is_erased(kept: Kept) -> None:
    """Counts, offsets, rounds and generations; the text only where it is asked for."""
    kept.arrive(3, key="zoe")
    kept.accept()
    found = kept.control.find("zoe")
    assert (found["samples"], found["next"]) == (3, None)
    assert [one["offset"] for one in found["kept"]] == [40, 41, 42]
    assert [one["round"] for one in found["rounds"]] == [1]
    assert not any("text" in one for one in found["kept"])
    assert all(one["text"] for one in kept.control.find("zoe", text=True)["kept"])
    assert json.dumps(found)
    first: Facts = kept.control.find("zoe", limit=2)
    assert [one["offset"] for one in kept.control.find("zoe", limit=2, after=first["next"])["kept"]] == [42]
    assert kept.control.forget("zoe")["samples"] == 3
    erased = kept.control.find("zoe")
    assert (erased["samples"], erased["erased_at"], erased["rounds"]) == (0, 1_000.0, found["rounds"])


def test_gaps_are_told_with_their_reasons(kept: Kept) -> None:
    """Which offsets, why, and since when it is known."""
    kept.store.append(Batch((), (), (Gap(NEWS, 40, 49, "retention"),), {NEWS: 50}))
    (gap,) = kept.control.gaps()
    place = {"topic": "news", "partition": 0, "first": 40, "last": 49}
    assert gap == {"id": gap["id"], **place, "reason": "retention", "recorded_at": 1_000.0}
    assert kept.control.gaps(before=gap["id"]) == []


def test_what_is_not_there_is_said(kept: Kept) -> None:
    """Rounds and generations that never were."""
    mistakes: tuple[Callable[[], object], ...] = (
        lambda: kept.control.round(9),
        lambda: kept.control.rollback(9),
        lambda: kept.control.reject_round(9),
        lambda: kept.control.release_aside(9),
        lambda: kept.control.drop_aside(9),
        lambda: kept.control.round_samples(9),
        lambda: kept.control.find("nobody"),
    )
    for ask in mistakes:
        with pytest.raises(UnknownThing):
            ask()


def test_rollback_moves_store_and_pointer(kept: Kept) -> None:
    """To the parent, or to the one named; both truths agree."""
    assert kept.accept() == 1
    kept.arrive(40)
    assert kept.accept() == 2
    assert kept.control.rollback() == {"from": 2, "to": 1}
    assert kept.control.rollback(0) == {"from": 1, "to": 0}
    pointer = kept.checkpoints.serving()
    assert pointer is not None
    assert (pointer.generation, kept.store.generations.serving()) == (0, 0)
    states = {one["number"]: one["state"] for one in kept.control.generations()["generations"]}
    assert states == {0: "accepted", 1: "rolled_back", 2: "rolled_back"}


def test_there_is_nothing_before_the_base(kept: Kept) -> None:
    """Refused, and nothing moved."""
    with pytest.raises(Refused, match="base"):
        kept.control.rollback()
    assert kept.store.generations.serving() == 0


def test_a_damaged_generation_is_not_rolled_back_to(kept: Kept) -> None:
    """One flipped bit: refused before anything moves."""
    kept.accept()
    (kept.checkpoints.path(0) / "model.safetensors").write_bytes(b"\1" * 64)
    with pytest.raises(Refused, match=r"model\.safetensors"):
        kept.control.rollback()
    assert kept.store.generations.serving() == 1


def test_a_waiting_round_is_approved(kept: Kept) -> None:
    """Its text is fresh again."""
    number = kept.hold()
    assert kept.control.status()["waiting"] == [number]
    assert kept.control.approve_round(number)["after"] == number
    assert kept.states() == ["released"]
    status: Facts = kept.control.status()
    assert status["memory"]["fresh_samples"] > 0


def test_a_waiting_round_is_rejected_with_its_directory(kept: Kept) -> None:
    """Its text is erased from store and disk."""
    number = kept.hold()
    assert kept.control.reject_round(number)["dropped"] > 0
    assert kept.states() == ["dropped"]
    assert not (kept.settings.rounds_dir / f"{number:06d}").exists()


def test_only_a_waiting_round_is_decided_on(kept: Kept) -> None:
    """Of another one it is said what became of it, what can be done, and which do wait."""
    refused, generation = kept.refuse(), kept.accept()
    accepted = kept.store.generations.read(generation).round or 0
    kept.arrive(40)
    waits = kept.hold()
    for decide in (kept.control.approve_round, kept.control.reject_round):
        for number, said in ((refused, "refused.*memory aside"), (accepted, "generation 1.*rollback")):
            with pytest.raises(Refused, match=rf"does not wait for.*{said}.*Waiting: {waits}"):
                decide(number)
    kept.control.approve_round(waits)
    with pytest.raises(Refused, match=r"it was approved.*No round waits\."):
        kept.control.reject_round(waits)
    assert kept.control.approve_round(waits)["after"] == waits


def test_text_refused_twice_is_listed_released_and_dropped(kept: Kept) -> None:
    """Aside: kept and listed until a person decides."""
    kept.refuse()
    second = kept.refuse()
    (group,) = kept.control.aside()
    assert (group["round"], group["sources"]) == (second, ["news"])
    released = kept.control.release_aside(second)["released"]
    assert released == group["samples"] + group["held_out"]
    kept.refuse()
    third = kept.refuse()
    assert kept.control.drop_aside(third)["dropped"] == released
    assert kept.control.aside() == []


def test_a_part_of_what_is_aside_comes_back_by_ids(kept: Kept) -> None:
    """The rest stays; of a round that waits, or of an id that is not there, nothing comes back."""
    kept.refuse()
    number = kept.refuse()
    ids = [document["id"] for document in kept.control.aside_text(number)["documents"]]
    assert kept.control.release_aside(number, ids=ids[:3]) == {"round": number, "released": 3, "left": len(ids) - 3}
    with pytest.raises(Refused, match="nothing is released"):
        kept.control.release_aside(number, ids=ids[:4])
    waits = kept.hold()
    chosen = [document["id"] for document in kept.control.aside_text(waits)["documents"]][:1]
    with pytest.raises(Refused, match="waits: erase the part"):
        kept.control.release_aside(waits, ids=chosen)


def test_aside_of_a_waiting_round_goes_with_the_round(kept: Kept) -> None:
    """`memory release` and `round approve` agree on the round's state."""
    kept.control.release_aside(kept.hold())
    kept.arrive(30)
    kept.control.drop_aside(kept.hold())
    assert kept.states() == ["dropped", "released"]


def test_text_that_is_aside_can_be_read_to_decide(kept: Kept) -> None:
    """Page by page, with its origin; documents of one person carry one hash; of a round without any it is said."""
    kept.arrive(3, key="zoe")
    number = kept.hold()
    (group,) = kept.control.aside()
    first: Facts = kept.control.aside_text(number, limit=30, text=True)
    rest = kept.control.aside_text(number, limit=30, after=first["next"], text=True)
    documents = first["documents"] + rest["documents"]
    assert rest["next"] is None
    assert len(documents) == group["samples"] + group["held_out"] == 43
    assert sum(one["held_out"] for one in documents) == group["held_out"]
    assert {one["topic"] for one in documents} == {"news"}
    assert all(len(one["text"]) > 20 for one in documents)
    by_zoe = {one["key_hash"] for one in documents if one["offset"] >= 40}
    assert len(by_zoe) == 1
    assert json.dumps(first)
    assert not any("text" in one for one in kept.control.aside_text(number)["documents"])
    with pytest.raises(UnknownThing, match="nothing aside"):
        kept.control.aside_text(number + 1)


def test_dead_letters_are_listed_newest_first_and_can_be_read(kept: Kept) -> None:
    """What was kept of a record as UTF-8, other bytes escaped; without being asked for, none of it."""
    for value in (b'{"body": 1}', b"\xff river", b"long"):
        kept.die(value, cut=value == b"long")
    newest = kept.control.dead_letters()
    assert [one["id"] for one in newest] == [3, 2, 1]
    assert not any("value" in one or "key" in one for one in newest)
    assert [one["value"] for one in kept.control.dead_letters(before=3, text=True)] == ["\\xff river", '{"body": 1}']
    assert kept.control.dead_letter(3) == newest[0]
    shown = kept.control.dead_letter(3, text=True)
    assert (shown["value"], shown["key"], shown["cut"], shown["value_bytes"]) == ("long", "user-d", True, 5)
    with pytest.raises(UnknownThing, match="dead letter 4"):
        kept.control.dead_letter(4)


def test_forgetting_erases_store_and_directories(kept: Kept) -> None:
    """Samples and the directories of rounds that held them go; the generation is named."""
    key = kept.person(5)
    generation = kept.accept()
    forgotten = kept.control.forget(key)
    assert forgotten["rounds"] == [1]
    assert forgotten["generations"] == [generation]
    assert forgotten["clean_generation"] == 0
    assert not (kept.settings.rounds_dir / "000001").exists()
    assert kept.control.forget(key)["samples"] == 0


def test_what_saw_erased_text_is_marked(kept: Kept) -> None:
    """Long after the erasure itself said so: in the list of generations, and of the one that serves."""
    key = kept.person(5)
    kept.accept()
    kept.arrive(40)
    kept.accept()
    assert {one["erased_text"] for one in kept.control.generations()["generations"]} == {None}
    kept.control.forget(key)
    marks = [one["erased_text"] for one in kept.control.generations()["generations"]]
    assert marks == [None, "trained", marks[2]]
    # Where some of the person's text settled into replay, the next generation was trained on it as well.
    assert marks[2] in {"trained", "inherited"}
    assert kept.control.status()["serving"]["erased_text"] == marks[2]
    kept.control.rollback(0)
    assert kept.control.status()["serving"]["erased_text"] is None


def test_forgetting_nobody_erases_nothing(kept: Kept) -> None:
    """A key that never came: zero, and no round named."""
    forgotten = kept.control.forget("nobody")
    assert (forgotten["samples"], forgotten["rounds"], forgotten["directories"]) == (0, [], [])


def test_similar_keys_are_offered_with_the_command_that_erases_them(kept: Kept) -> None:
    """Before and after an erasure: nobody goes home believing that nothing is kept which is."""
    for key in ('"nobody"', '{"tenant": 1, "id": "nobody"}'):
        kept.arrive(3, key=key)
    found = kept.control.find("nobody")
    assert (found["samples"], found["kept"], found["erased_at"]) == (0, [], None)
    quoted, nested = sorted(found["similar"], key=lambda one: one["key"] is None)
    assert (quoted["key"], quoted["samples"], quoted["how"]) == ('"nobody"', 3, "in quotes")
    assert quoted["erase"] == "riverkeep forget '\"nobody\"'"
    assert (nested["key"], nested["samples"]) == (None, 3)
    assert nested["erase"] == f"riverkeep forget --key-hash {nested['key_hash']}"
    assert kept.control.forget("nobody")["similar"] == found["similar"]
    assert kept.control.forget(KeyHash.from_hex(nested["key_hash"]))["samples"] == 3
    assert kept.control.find('"nobody"')["samples"] == 3
    assert kept.control.forget('"nobody"')["similar"] == []


def test_dead_letters_come_to_life_when_settings_are_mended(tmp_path: Path) -> None:
    """A field's name was wrong; the same bytes are documents under the right one, with their key."""
    kept = Kept(tmp_path, text_field="body", key_field="id")
    with kept.store:
        kept.die(b'{"body": "a text about the river and its keeper", "id": 7}')
        kept.die(b'{"nothing": 1}')
        kept.die(b'{"body": "cut away text of a record", "id": 8}', cut=True)
        kept.die(b'{"body": "from a topic that is read no more", "id": 9}', partition=Partition("old", 0))
        replayed = kept.control.replay_dead_letters()
        reasons = {"missing_field": 3}
        assert replayed == {"kept": 1, "known": 0, "still_dead": 3, "reasons": reasons, "need_restart": []}
        assert len(kept.control.dead_letters()) == 3
        assert kept.control.forget("7")["samples"] == 1


def test_what_is_still_dead_after_a_replay_tells_the_reason_of_today(tmp_path: Path) -> None:
    """The field that was missing is found under the mended settings; now it is what is in it."""
    kept = Kept(tmp_path, text_field="body")
    with kept.store:
        kept.die(b'{"body": 5}')
        assert kept.control.replay_dead_letters()["reasons"] == {"wrong_type": 1}
        (letter,) = kept.control.dead_letters()
        assert (letter["reason"], letter["detail"]) == ("wrong_type", "field body is a number, not a string")


def test_a_replay_that_was_cut_off_can_be_repeated(tmp_path: Path) -> None:
    """Stored but not yet dropped: the second time it is known already."""
    kept = Kept(tmp_path, text_field="body")
    with kept.store:
        record = b'{"body": "a text about the river and its keeper"}'
        kept.die(record)
        kept.die(record)
        assert kept.control.replay_dead_letters(ids=[1])["kept"] == 1
        assert kept.control.replay_dead_letters(ids=[2])["known"] == 1


def test_dead_letters_are_dropped_by_id_or_all(kept: Kept) -> None:
    """No ids: all of them."""
    for _ in range(3):
        kept.die(b"{}")
    first: Facts = kept.control.dead_letters(limit=1)[0]["id"]
    assert kept.control.drop_dead_letters(ids=[first]) == {"dropped": 1}
    assert kept.control.drop_dead_letters() == {"dropped": 2}


def test_what_only_a_daemon_can_do_is_refused(kept: Kept) -> None:
    """A round needs one; so does resuming."""
    for ask in (kept.control.request_round, kept.control.resume):
        with pytest.raises(Refused, match="riverkeep run"):
            ask()
    assert kept.control.health()["healthy"] is False
    assert kept.control.readiness()["ready"] is False


def test_a_writing_command_keeps_daemons_out_meanwhile(kept: Kept) -> None:
    """No daemon starts between the look and the deed; reading keeps nobody out."""
    with reach(kept.settings, write=True), pytest.raises(AlreadyRunning), StateLock(kept.settings.state_dir, now=0):
        pass
    with reach(kept.settings, write=False), StateLock(kept.settings.state_dir, now=0):
        pass
    assert holder_of(kept.settings.state_dir) is None


def test_a_reading_command_writes_nothing(kept: Kept) -> None:
    """Looking neither locks nor changes the store."""
    before = kept.settings.database.read_bytes()
    with reach(kept.settings, write=False) as control:
        facts_are_json(control)
    assert kept.settings.database.read_bytes() == before


def test_a_daemon_without_an_address_is_starting(kept: Kept) -> None:
    """The lock is held, nothing listens: ask again."""
    with (
        StateLock(kept.settings.state_dir, now=0),
        pytest.raises(DaemonUnreachable, match="starting"),
        reach(kept.settings, write=False),
    ):
        pass


def test_a_part_of_what_is_aside_is_erased(kept: Kept) -> None:
    """The rest is left for an approval; the round's directory, which holds the text too, goes."""
    number = kept.hold()
    first, second, *rest = kept.control.aside_text(number)["documents"]
    dropped = kept.control.drop_aside(number, ids=[first["id"], second["id"]])
    assert dropped == {"round": number, "dropped": 2, "left": len(rest)}
    assert not (kept.settings.rounds_dir / f"{number:06d}").exists()
    with pytest.raises(Refused, match="nothing is erased"):
        kept.control.drop_aside(number, ids=[first["id"]])
    kept.control.approve_round(number)
    status: Facts = kept.control.status()
    assert status["memory"]["aside_samples"] == 0


def test_a_part_of_what_is_aside_is_counted_and_erased_by_source_or_key(kept: Kept) -> None:
    """Of a round that waits too; what is left waits on, and nothing of another source or person goes."""
    key = kept.person(3)
    number = kept.hold()
    (group,) = kept.control.aside()
    total = group["samples"] + group["held_out"]
    counted = kept.control.count_aside(number, key=key)
    assert counted == {"round": number, "samples": 3, "held_out": 0, "of": total, "sources": {"news": total}}
    assert kept.control.count_aside(number, source="wiki", key=key)["samples"] == 0
    assert kept.control.drop_aside(number, source="wiki") == {"round": number, "dropped": 0, "left": total}
    assert kept.control.drop_aside(number, key=key) == {"round": number, "dropped": 3, "left": total - 3}
    assert kept.control.count_aside(number, key=key)["samples"] == 0
    assert kept.states()[0] == "waiting"
    assert kept.control.drop_aside(number, source="news") == {"round": number, "dropped": total - 3, "left": 0}
    assert kept.states()[0] == "dropped"
    with pytest.raises(UnknownThing, match="has set nothing aside"):
        kept.control.count_aside(number, source="news")


def test_status_tells_of_a_rollback(kept: Kept) -> None:
    """From which to which, when and by whom, across restarts; the latest alone."""
    assert kept.control.status()["rollback"] is None
    kept.accept()
    kept.control.rollback()
    told: Facts = kept.control.status()["rollback"]
    assert (told["from"], told["to"], told["at"]) == (1, 0, 1_000.0)
    assert told["by"] == local_user()
    with Store.open(kept.settings.database, kept.settings.memory) as again:
        assert again.generations.last_rollback() == kept.store.generations.last_rollback()
    kept.control.rollback(1)
    told = kept.control.status()["rollback"]
    assert (told["from"], told["to"]) == (0, 1)
