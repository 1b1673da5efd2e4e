"""Which comparisons may begin, what is told of them, and what is counted of picks."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from daemon.comparisons import asking
from daemon.comparisons.room import KEPT_FREE_BYTES, RUNTIME_BYTES, needed_bytes, why_no_room
from daemon.control.answers.comparisons import ComparisonAnswer
from daemon.control.asker import asker
from daemon.control.audited import AuditedControl
from daemon.control.protocol import Control
from daemon.control.within_daemon import LiveControl
from daemon.errors import BadRequest, Refused, UnknownThing
from tests.answering import WORDS, AnswersAtHand, desk
from tests.harness import wait_until
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.rooms import World, world

ANSWERS = AnswersAtHand()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Generations 0, 1 and 2, of which the last serves."""
    with world(tmp_path_factory.mktemp("world")) as made:
        made.run()
        made.feed(seed=3)
        made.run()
        assert made.store.generations.serving() == 2
        yield made


@pytest.fixture
def control(here: World) -> LiveControl:
    """Of a daemon in which the right answer is the first's."""
    return live_control(here, compared=desk(ANSWERS, swaps=True))


def compared(control: LiveControl, *pair: int, blind: bool = False, **how: Any) -> ComparisonAnswer:
    """One that has answered."""
    number = control.compare("The river", *pair, blind=blind, **how)["number"]
    return wait_until(lambda: found if (found := control.comparison(number))["answers"] else None, what="both answers")


def test_the_serving_generation_stands_beside_its_parent_unless_others_are_named(control: LiveControl) -> None:
    """Any whose files are there, also one that does not serve."""
    answer = compared(control)
    assert (answer["first"], answer["second"]) == (1, 2)
    assert [(line["side"], line["generation"], line["text"]) for line in answer["answers"]] == [
        ("left", 1, WORDS[1]),
        ("right", 2, WORDS[2]),
    ]
    assert ANSWERS.asked is not None
    assert (ANSWERS.asked.generations, ANSWERS.asked.prompt) == ((1, 2), "The river")
    answer = compared(control, 2, 0)
    assert [line["generation"] for line in answer["answers"]] == [2, 0]


def test_both_are_drawn_alike(control: LiveControl) -> None:
    """Greedily; with a seed at 1; with a temperature by a seed that is told."""
    assert (compared(control)["temperature"], compared(control)["seed"]) == (0.0, 0)
    assert compared(control, seed=5)["temperature"] == 1.0
    drawn = compared(control, temperature=0.5)
    assert ANSWERS.asked is not None
    assert (ANSWERS.asked.temperature, ANSWERS.asked.seed) == (0.5, drawn["seed"])


def test_nothing_that_tells_whose_an_answer_is_comes_before_the_pick(control: LiveControl, here: World) -> None:
    """Not by order, number, count or time, neither while they answer nor after; the pick tells all of it."""
    ANSWERS.may_answer.clear()
    begun = control.compare("The river", 1, 2, blind=True)
    wait_until(lambda: ANSWERS.asked is not None, what="its beginning")
    assert control.comparison(begun["number"])["doing"] == "both answer in turn"
    ANSWERS.may_answer.set()
    number = begun["number"]
    hidden = wait_until(lambda: found if (found := control.comparison(number))["answers"] else None, what="answers")
    told = {
        line["side"]: {name for name, value in line.items() if value not in (None, [], False)}
        for line in hidden["answers"]
    }
    assert told == {"left": {"side", "text", "finish"}, "right": {"side", "text", "finish"}}
    # The same with the sides the other way round, but for the texts, what it took and its number.
    other_way = compared(live_control(here, compared=desk(ANSWERS, number=number)), 1, 2, blind=True)
    texts = [line["text"] for line in hidden["answers"]]
    assert [line["text"] for line in other_way["answers"]] == texts[::-1]
    plain = [
        json.dumps({**each, "seconds": 0, "begun_at": 0}).replace(WORDS[1], "").replace(WORDS[2], "")
        for each in (hidden, other_way)
    ]
    assert plain[0] == plain[1]
    assert hidden["tally"] is None
    picked = control.pick_answer(number, "right")
    assert [line["generation"] for line in picked["answers"]] == [2, 1]
    assert picked["answers"][0]["tokens"] == 7002


def test_picks_are_counted_and_noted_without_a_word_of_what_was_said(control: LiveControl, here: World) -> None:
    """By pair, whatever its order, with whose word it was; the audit log has the winner only when it is told."""
    audited = cast("Control", AuditedControl(cast("Control", control), here.store))
    before = len(here.store.audit.latest(500))
    before_her = asker.set("ada@host")
    for pair, choice in (((0, 2), "left"), ((2, 0), "left"), ((0, 2), "equal")):
        answer = audited.compare("A secret of the river", *pair, blind=True)
        wait_until(lambda number=answer["number"]: control.comparison(number)["answers"], what="answers")  # type: ignore[misc]
        audited.pick_answer(answer["number"], cast("Any", choice))
    asker.reset(before_her)
    (tally,) = [line for line in control.picks() if (line["first"], line["second"]) == (0, 2)]
    assert (tally["first_better"], tally["second_better"], tally["equal"], tally["people"]) == (1, 1, 1, 1)
    assert tally["first_share"] == 0.5
    assert tally["first_share_lower"] == pytest.approx(0.0945, abs=1e-3)
    lines = here.store.audit.latest(500)[: len(here.store.audit.latest(500)) - before]
    assert [line.what for line in reversed(lines)] == ["compare", "pick_answer", "picked"] * 3
    asked = next(line for line in reversed(lines) if line.what == "compare").detail
    assert asked == {"characters": 21, "first": 0, "second": 2, "blind": True}
    assert [line.detail["won"] for line in reversed(lines) if line.what == "picked"] == [2, 0, None]
    assert {line.who for line in lines} == {"ada@host"}
    # Neither in a line nor anywhere else on the disk.
    files = [path for path in here.settings.state_dir.rglob("*") if path.is_file()]
    assert here.settings.database in files
    assert not [path for path in files if b"A secret of the river" in path.read_bytes()]


@pytest.mark.parametrize(
    ("pair", "how", "error", "says"),
    [
        ((1, 1), {}, BadRequest, "name two"),
        ((0, 99), {}, UnknownThing, "no generation 99"),
        ((0, 2**63 - 1), {}, UnknownThing, "no generation"),
        ((None, 0), {}, Refused, "is the base"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_said(
    control: LiveControl, pair: tuple[int, int], how: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Before any process begins."""
    with pytest.raises(error, match=says):
        control.compare("The river", *pair, **how)


def test_a_generation_whose_files_are_gone_is_named_with_those_that_are_there(
    here: World, control: LiveControl
) -> None:
    """Removed ones stay in the ledger."""
    path = here.rooms.checkpoints.path(1)
    away = path.rename(path.with_name("away"))
    try:
        with pytest.raises(Refused, match=r"files of generation 1 are not here .* that are here: 0, 2\."):
            control.compare("The river")
    finally:
        away.rename(path)
    (path / "manifest.json").rename(path / "kept")
    try:
        with pytest.raises(Refused, match=r"cannot be compared: .*manifest\.json"):
            control.compare("The river")
    finally:
        (path / "kept").rename(path / "manifest.json")


def test_models_that_answer_nothing_and_take_no_chat_are_said(here: World) -> None:
    """By their kind."""
    for kind, how, error in (("masked-lm", {}, Refused), ("classifier", {"chat": True}, BadRequest)):
        settings = here.settings.model_copy(update={"model": here.settings.model.model_copy(update={"kind": kind})})
        asked = asking.AskedComparison(
            prompt="x",
            first=None,
            second=None,
            blind=False,
            max_tokens=9,
            temperature=None,
            seed=None,
            **{"chat": False, **how},
        )
        with pytest.raises(error):
            asking.prepared(asked, here.store, here.rooms.checkpoints, settings)


def test_there_has_to_be_room_for_the_larger_of_the_two(here: World) -> None:
    """With something left over for everything else; an adapter takes what it lies on."""
    checkpoints = here.rooms.checkpoints
    needed = max(needed_bytes(checkpoints, number, "causal-lm") for number in (0, 1))
    assert needed > RUNTIME_BYTES
    enough = needed + KEPT_FREE_BYTES
    assert why_no_room(checkpoints, (0, 1), "causal-lm", free=lambda: enough) == ""
    assert "0.8 GiB of main memory" in why_no_room(checkpoints, (0, 1), "causal-lm", free=lambda: enough - 1)
    assert "0.0 GiB can be taken" in why_no_room(checkpoints, (0, 1), "causal-lm", free=lambda: 0)


def test_without_room_nothing_begins(here: World, control: LiveControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said why."""
    monkeypatch.setattr(asking, "why_no_room", lambda *_: "There is no room.")
    with pytest.raises(Refused, match="no room"):
        control.compare("The river")
