"""What the gate needs of held-out text reaches the memory."""

from pathlib import Path

from daemon.held_out_keys import ask_for_held_out, keys_for_gate
from memory.database import facts
from memory.intake.held_out_share import KEYS_ASKED
from tests.unit.daemon.rooms import World, world


def asked_of_the_memory(here: World) -> int | None:
    """Keys that each slice is to have, as the memory knows it."""
    with here.store.file.database.read() as tx:
        return facts.find_int(tx, KEYS_ASKED)


def test_an_unproven_round_lets_more_be_held_out(tmp_path: Path) -> None:
    """At first half as much again as the least that can be judged; then what the doubtful candidate was short of."""
    with world(tmp_path, gate={"minimum_documents": 10}) as here:
        ask_for_held_out(here.store, here.settings)
        assert asked_of_the_memory(here) == 15
        verdict = here.run("doubtful").verdict
        assert verdict is not None
        assert verdict.unproven
        assert asked_of_the_memory(here) == keys_for_gate(here.store, here.settings) > 15


def test_a_round_that_judged_nobody_changes_nothing(tmp_path: Path) -> None:
    """The latest one that did says what is needed."""
    with world(tmp_path, gate={"minimum_documents": 10}) as here:
        here.run("doubtful")
        asked = asked_of_the_memory(here)
        here.feed(seed=3)
        here.run("crash")
        ask_for_held_out(here.store, here.settings)
        assert asked_of_the_memory(here) == asked
