"""Who asks for what is written down before it is done, whoever answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest

from daemon.control.asker import asker
from daemon.control.audited import AuditedControl
from daemon.control.operations import OPERATIONS
from daemon.control.protocol import Control
from daemon.control.without_daemon import StoreControl
from daemon.errors import Refused, UnknownThing
from memory.errors import StoreDamaged
from memory.samples.records import KeyHash
from tests.unit.daemon.control.test_operations import call_of
from tests.unit.daemon.fakes import FakeControl
from tests.unit.daemon.rooms import World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def control(here: World) -> Iterator[Control]:
    """An audited control on its store, which Ada asks."""
    made = StoreControl(here.settings, here.store, here.rooms.checkpoints)
    before = asker.set("ada@host")
    yield cast("Control", AuditedControl(made, here.store))
    asker.reset(before)


def noted(here: World) -> list[tuple[str, str, dict[str, Any]]]:
    """What was noted since the base began to serve, oldest first."""
    return [(line.what, line.who, dict(line.detail)) for line in reversed(here.store.audit.latest())][1:]


def test_what_changes_something_is_noted_with_whose_word_it_was(here: World, control: Control) -> None:
    """With its arguments; what changes nothing is not."""
    control.status()
    control.pause_rounds("a look at it")
    control.resume_rounds()
    assert noted(here) == [
        ("pause_rounds", "ada@host", {"reason": "a look at it"}),
        ("resume_rounds", "ada@host", {}),
    ]
    assert [line["what"] for line in control.audit(limit=2)] == ["resume_rounds", "pause_rounds"]


def test_every_operation_that_changes_something_or_tells_text_is_noted_and_no_other(here: World) -> None:
    """By the table of operations: a new one is noted without a word about it."""
    audited = AuditedControl(cast("Control", Mock()), here.store)
    before = len(here.store.audit.latest(500))
    for operation in OPERATIONS:
        getattr(audited, operation.name)(**call_of(operation))
    assert [line.what for line in reversed(here.store.audit.latest(500))][before:] == [
        operation.name for operation in OPERATIONS if operation.writes or operation.tells_text(call_of(operation))
    ]
    telling = {operation.name for operation in OPERATIONS if operation.tells_text(call_of(operation))}
    named = "aside_text flips find trace trace_key feedback dead_letters dead_letter peek"
    assert telling == set(named.split())


def test_who_reads_text_is_noted_and_who_looks_without_is_not(here: World, control: Control) -> None:
    """Of a person who is looked for a keyed hash stands there; what is asked for in vain is noted too."""
    control.dead_letters()
    control.dead_letters(text=True, limit=3)
    with pytest.raises(UnknownThing):
        control.aside_text(1)
    with pytest.raises(UnknownThing):
        control.aside_text(1, text=True)
    with pytest.raises(UnknownThing):
        control.find("zoe", text=True)
    assert [(what, detail) for what, _, detail in noted(here) if not what.endswith("_refused")] == [
        ("dead_letters", {"limit": 3, "text": True}),
        ("aside_text", {"number": 1, "text": True}),
        ("find", {"key": str(KeyHash(here.store.people.key_hash("zoe"))), "text": True}),
    ]


def test_what_is_refused_is_noted_twice(here: World, control: Control) -> None:
    """That it was asked for, and why it was not done."""
    with pytest.raises(Refused):
        control.rollback()
    with pytest.raises(UnknownThing):
        control.approve_round(7)
    assert [(what, detail.get("number")) for what, _, detail in noted(here)] == [
        ("rollback", None),
        ("rollback_refused", None),
        ("approve_round", 7),
        ("approve_round_refused", 7),
    ]
    assert "is the base" in noted(here)[1][2]["reason"]


def test_a_persons_key_is_never_written_down(here: World, control: Control) -> None:
    """Its keyed hash is, by which lines about one person can be found."""
    control.forget("ada.lovelace@example.org")
    ((what, _, detail),) = noted(here)
    assert (what, list(detail)) == ("forget", ["key"])
    assert len(detail["key"]) == 16
    assert b"lovelace" not in here.settings.database.read_bytes()


def test_where_the_log_cannot_be_written_what_needs_no_database_is_done(here: World) -> None:
    """A round that must be called off is, whatever the disk does."""
    fake = FakeControl()
    here.store.file.suspend(StoreDamaged("it is damaged"))
    audited = AuditedControl(cast("Control", fake), here.store)
    audited.cancel_rounds()
    assert fake.calls
