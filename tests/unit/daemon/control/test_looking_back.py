"""Rounds in sentences, and records followed: what is said is what the store has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.control.answers.explained import ExplainedRound
from daemon.control.without_daemon import StoreControl
from daemon.errors import UnknownThing
from daemon.rounds.begin_or_wait import Ask, Trigger
from memory.samples.records import KeyHash
from streams.document import Batch
from tests.harness import Facts
from tests.unit.daemon.kept import NEWS, Kept
from tests.unit.daemon.rooms import DRY, World, world

BY_VOLUME = Ask(Trigger.VOLUME, by="volume")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text, whose gate and learner's report are real."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A state directory with forty documents and a base generation."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(40)
    with kept.store:
        yield kept


def explained(here: World, number: int = 1) -> ExplainedRound:
    """A round in sentences, as without a daemon."""
    return StoreControl(here.settings, here.store, here.rooms.checkpoints).explain_round(number)


def commands(answer: ExplainedRound) -> list[str]:
    """What can be typed next."""
    return [step["command"] for step in answer["next"]]


def test_an_accepted_round_says_why_it_began_and_by_how_much_it_passed(here: World) -> None:
    """The trigger's own sentence from the ledger; the gain and the narrowest bound, with the verdict's figures."""
    here.run("good", BY_VOLUME)
    answer, line = explained(here), here.store.rounds.read(1)
    assert line.reason == "a test"
    assert answer["began"][0] == "It began because a test."
    assert answer["ended"][0] == f"The gate accepted it as generation 1: {line.detail}"
    decided = [one for one in answer["criteria"] if one["decided"]]
    assert decided[0]["name"] == "learned"
    assert len(decided) == 2
    stored = {(check["name"], check["slice"]): check for check in line.verdict["checks"]}
    assert len(answer["criteria"]) == len(stored)
    for one in answer["criteria"]:
        check = stored[one["name"], one["slice"]]
        assert all(check[name] == one[name] for name in ("figure", "bound", "lower", "upper", "passed", "documents"))
    assert commands(answer) == ["riverkeep generations", "riverkeep rollback"]


def test_a_refused_round_names_what_failed_first(here: World) -> None:
    """The failures before what was kept, the worst first, and what most probably helps."""
    here.run("worse")
    answer = explained(here)
    failed = [one for one in answer["criteria"] if not one["passed"]]
    assert failed
    assert answer["criteria"][: len(failed)] == failed
    assert all(one["decided"] is not one["passed"] for one in answer["criteria"])
    assert failed[0]["sentence"] in here.store.rounds.read(1).detail
    assert "Generation 0 went on serving." in answer["ended"]
    assert "riverkeep round begin --dry-run --wait" in commands(answer)


def test_a_round_that_waits_names_the_text_and_both_words(here: World) -> None:
    """What is unlike earlier text, how much is aside, and the commands to read it, approve it, reject it."""
    here.run("implausible")
    answer = explained(here)
    assert answer["ended"][0].startswith("It waits for a person's word: ")
    assert "set aside with it" in " ".join(answer["ended"])
    assert commands(answer) == [
        "riverkeep memory aside 1 --text --worst",
        "riverkeep round approve 1",
        "riverkeep round reject 1",
    ]
    for one in answer["criteria"]:
        assert one["sentence"].startswith("the fresh text")


def test_a_failed_round_and_a_dry_run_say_what_became_of_the_text(here: World) -> None:
    """And what to do; a dry run says that it was none."""
    here.run("crash")
    failed = explained(here)
    assert "Its text stayed fresh, for the next round." in failed["ended"]
    assert commands(failed) == ["riverkeep doctor", "riverkeep round begin --wait"]
    here.run("good", DRY)
    dry = explained(here, 2)
    assert dry["outcome"] == "dry run: would be accepted"
    assert "It was a dry run: judged, and never promoted." in dry["began"]
    assert commands(dry) == ["riverkeep round begin --wait"]


def test_rounds_of_earlier_versions_are_explained_too(kept: Kept) -> None:
    """Without a reason, with checks that lack a unit or that nobody understands; what has no verdict says so."""
    kept.accept()
    kept.arrive(40)
    old = {"name": "parent", "slice": "anchor", "figure": 0.1, "bound": 0.05, "lower": 0.0, "upper": 0.2}
    checks = [old | {"documents": 9, "passed": False}, {"name": "who knows"}]
    strange = old | {"name": "from_the_future", "documents": 9, "passed": True, "figure": None}
    draw = kept.begin()
    kept.store.rounds.hold(draw.number, verdict={"decision": "wait", "checks": [*checks, strange]}, report={})
    answer = kept.control.explain_round(draw.number)
    assert answer["began"][0] == "It was begun by hand."
    assert [one["name"] for one in answer["criteria"]] == ["parent", "from_the_future"]
    assert answer["criteria"][1]["figure"] is None
    json.dumps(answer, allow_nan=False)
    with pytest.raises(UnknownThing):
        kept.control.explain_round(99)


def test_an_unfinished_round_says_that_it_has_not_ended(kept: Kept) -> None:
    """Without a daemon nobody knows what it does."""
    draw = kept.begin()
    answer = kept.control.explain_round(draw.number)
    assert answer["ended"][0].startswith("It has not ended")
    assert commands(answer) == ["riverkeep run"]


def test_a_record_is_followed_to_the_erasure_of_its_key(kept: Kept) -> None:
    """Role, rounds, generations, and exactly what `forget` then erases."""
    key = kept.person(6)
    number = kept.accept()
    offset = kept.control.find(key)["kept"][0]["offset"]
    answer: Facts = kept.control.trace("news", 0, offset)
    (record,) = answer["records"]
    assert (record["became"], record["offset"], record["generations"]) == ("replay", offset, [number])
    assert [(use["round"], use["part"], use["generation"]) for use in record["rounds"]] == [(1, "fresh", number)]
    assert "text" not in record["sample"]
    (erasure,) = answer["erasures"]
    assert erasure["key_hash"] == record["key_hashes"][0]
    assert erasure["command"] == f"riverkeep forget --key-hash {erasure['key_hash']}"
    erased = kept.control.forget(KeyHash.from_hex(erasure["key_hash"]))
    for name in ("samples", "dead_letters", "directories", "generations", "descendants", "clean_generation"):
        assert erased[name] == erasure[name], name
    assert [line["round"] for line in erasure["rounds"]] == erased["rounds"]
    after: Facts = kept.control.trace("news", 0, offset)
    assert after["records"][0]["became"] == "erased"


def test_a_person_is_followed_by_key(kept: Kept) -> None:
    """All records, their dead letters first, and one erasure; of nobody: nothing is known."""
    key = kept.person(6)
    answer: Facts = kept.control.trace_key(key, text=True)
    assert [one["became"] for one in answer["records"]] == ["fresh"] * 6
    assert all(one["sample"]["text"] for one in answer["records"])
    assert [one["samples"] for one in answer["erasures"]] == [6]
    kept.die(b'{"id": 1}')
    dead: Facts = kept.control.trace_key("user-d")
    assert [one["became"] for one in dead["records"]] == ["dead_letter"]
    assert dead["records"][0]["dead_letter"]["reason"] == "missing_field"
    with pytest.raises(UnknownThing):
        kept.control.trace_key("nobody")


def test_what_is_not_kept_says_what_it_may_have_been(kept: Kept) -> None:
    """With how many there were of each kind; what is not read yet says where reading goes on."""
    same = kept._document(0, None)._replace(offset=40)
    kept.store.append(Batch((same,), (), (), {NEWS: 41}))
    record = kept.control.trace("news", 0, 40)["records"][0]
    assert (record["became"], "a duplicate (1 so far)" in record["detail"]) == ("not_kept", True)
    later = kept.control.trace("news", 0, 4_000)["records"][0]
    assert (later["became"], later["detail"]) == ("not_read", "It was not read yet: news/0 is read on at offset 41.")
    for topic, number in (("news", 7), ("nothing", 0)):
        with pytest.raises(UnknownThing, match="read"):
            kept.control.trace(topic, number, 0)
