"""What is said first of how things stand: no sentence that all goes on beside a light that says otherwise."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.facts.status import status_without_store
from daemon.control.how_it_stands import HowItStands, Level, how_it_stands
from streams.document import Pause
from tests.harness import Facts

PARTS = ("memory", "serving", "ingest", "rounds", "feedback", "dead_letters")
READS: Facts = {
    "lag_records": 0,
    "lag_by_partition": {"news/0": 0},
    "paused": {},
    "reason": "",
    "trouble": "",
    "unread": [],
}
SERVES: Facts = {"generation": 3, "answering": 3, "address": "http://h:1", "ok": True, "trouble": "", "starting": ""}
LOADS = "the serving process has loaded no generation yet"


def part(state: str, detail: str = "why") -> Facts:
    """A part as the readiness tells of it."""
    return {"ok": state == "running", "detail": "running" if state == "running" else detail, "state": state}


def stands(
    *, parts: Facts | None = None, ingest: Facts | None = None, serving: Facts | None = None, **more: Any
) -> Any:
    """Of a daemon that serves generation 3 and reads, but for this."""
    facts: Any = status_without_store(Path("/nowhere")) | {
        "running": True,
        "parts": {name: part("running") for name in PARTS} | (parts or {}),
        "ingest": READS | (ingest or {}),
        "serving": SERVES | {"erased_text": None} | (serving or {}),
        **more,
    }
    return how_it_stands(facts)


def needs(found: HowItStands) -> list[tuple[str, bool]]:
    """What needs a person, and whether it waits."""
    return [(need.kind, need.waits) for need in found.needs]


def test_what_goes_on_is_said_to() -> None:
    """So that the others mean something."""
    found = stands()
    assert found.sentence == "Keeping up: generation 3 serves, no round is in progress."
    assert (found.level, found.needs) == (Level.GOOD, ())


@pytest.mark.parametrize(
    ("change", "level", "beginning", "kinds"),
    [
        pytest.param(
            {"ingest": {"paused": dict.fromkeys(("news/0", "news/1"), Pause.SCHEMA_REGISTRY_AWAY)}},
            Level.CARE,
            "Partitions wait for their schemas; generation 3 serves",
            [("unread", True)],
            id="schemas",
        ),
        pytest.param(
            {"ingest": {"paused": {"news/0": Pause.DEAD_LETTERS_WAIT}, "reason": "the quarantine is full: see"}},
            Level.CARE,
            "Reading is paused; generation 3 serves",
            [("stream", True)],
            id="dead letters wait",
        ),
        pytest.param(
            {"ingest": {"paused": {"news/0": Pause.MEMORY_FULL}, "reason": "the fresh buffer is full: a round"}},
            Level.CARE,
            "Reading is paused; generation 3 serves",
            [("full", False)],
            id="full until a round",
        ),
        pytest.param(
            {"ingest": {"unread": ["nwes cannot be read: there is no such topic"]}},
            Level.CARE,
            "Nwes cannot be read; generation 3 serves",
            [("unread", True)],
            id="one topic missing",
        ),
        pytest.param(
            {"ingest": {"lag_records": None, "trouble": "no broker of b:9092 has answered for 30 s: see"}},
            Level.BAD,
            "Trouble with stream: ",
            [("stream", True)],
            id="broker away",
        ),
        pytest.param(
            {"parts": {"rounds": part("broken")}}, Level.BAD, "Trouble with round: ", [("rounds", True)], id="rounds"
        ),
        pytest.param(
            {"parts": {"dead_letters": part("broken", "3 were not acknowledged")}},
            Level.CARE,
            "A part of the daemon does not work (dead_letters); generation 3 serves",
            [("part", True)],
            id="another part",
        ),
        pytest.param(
            {"serving": {"ok": False, "answering": None, "trouble": "it ended with status 9"}},
            Level.BAD,
            "Trouble with serving: generation 3 is to serve, ",
            [("serving", True)],
            id="serving away",
        ),
        pytest.param(
            {"rounds_paused": {"since": 0.0, "reason": "the GPU is lent out"}},
            Level.CARE,
            "Rounds are paused; generation 3 serves",
            [("pause", False)],
            id="rounds paused",
        ),
        pytest.param(
            {"disk": {"path": "/s", "free_bytes": 1, "total_bytes": 100}},
            Level.CARE,
            "The disk is nearly full; generation 3 serves",
            [("disk", False)],
            id="disk",
        ),
    ],
)
def test_what_does_not_go_on_is_told_by_the_sentence_and_by_what_needs_a_person(
    change: Facts, level: Level, beginning: str, kinds: list[tuple[str, bool]]
) -> None:
    """Both: whoever reads one of them must not take it that all is well."""
    found = stands(**change)
    assert (found.level, needs(found)) == (level, kinds)
    assert found.sentence.startswith(beginning)


@pytest.mark.parametrize(
    "change",
    [
        {"serving": {"ok": False, "answering": None, "starting": LOADS}, "parts": {"serving": part("starting", LOADS)}},
        {"parts": {"rounds": part("starting", "not started yet")}},
    ],
    ids=["serving", "rounds"],
)
def test_to_begin_is_no_trouble(change: Facts) -> None:
    """It is said what is done, and nobody is called for."""
    found = stands(**change)
    assert found.sentence.startswith("Starting: ")
    assert (found.level, found.needs) == (Level.IDLE, ())
    assert any((light.level, light.word) == (Level.IDLE, "Starting") for light in found.lights)
    if "serving" in change:
        assert found.sentence.startswith(f"Starting: {LOADS}, generation 3 is to serve, ")


states = st.sampled_from(["starting", "running", "waiting", "broken", "stuck", "stopped"])
reading = st.fixed_dictionaries(
    {
        "lag_records": st.none() | st.integers(0, 9),
        "paused": st.dictionaries(st.sampled_from(["a/0", "b/1"]), st.sampled_from(list(Pause))),
        "reason": st.sampled_from(["", "the fresh buffer is full: a round makes room"]),
        "trouble": st.sampled_from(["", "no broker answers"]),
        "unread": st.lists(st.just("c cannot be read: there is no such topic"), max_size=1),
    }
)
answering = st.fixed_dictionaries(
    {"ok": st.sampled_from([True, False]), "trouble": st.just(""), "starting": st.sampled_from(["", LOADS])}
)


@given(st.fixed_dictionaries(dict.fromkeys(PARTS, states)), reading, answering, st.sampled_from(["", "disk gone"]))
def test_no_red_light_burns_while_nothing_needs_anybody(
    parts: dict[str, str], ingest: Facts, serving: Facts, memory_trouble: str
) -> None:
    """And nothing keeps up of which a light says that it is paused."""
    found = stands(
        parts={name: part(state) for name, state in parts.items()},
        ingest=ingest,
        serving=serving,
        memory_trouble=memory_trouble,
    )
    if any(light.level is Level.BAD for light in found.lights):
        assert any(need.waits for need in found.needs)
        assert found.level is Level.BAD
    held_up = any(light.level is Level.CARE and light.name != "gate" for light in found.lights)
    if held_up:
        assert found.needs
    assert not (found.sentence.startswith("Keeping up") and (held_up or found.needs))
