"""What assistants are offered, and what a person has to confirm first."""

import pytest

from daemon.assistants.confirmations import MOST, VALID_S, Confirmations
from daemon.assistants.tools import CHANGES, FACTS, call_of, offered
from daemon.control.operations import BY_NAME, OPERATIONS
from daemon.errors import BadRequest

# Who writes to a topic could speak to an assistant through them.
GIVE_TEXT = {
    "aside_text",
    "flips",
    "dead_letters",
    "dead_letter",
    "feedback",
    "find",
    "trace_key",
    "round_samples",
    "peek",
}
# A model that is kept current writes what it was taught to; and which of two answers is better is a person's word.
LET_MODELS_SPEAK = {"compare", "comparison", "pick_answer", "cancel_comparison", "picks"}
# What they do cannot be taken back, or is of a person.
FOR_PEOPLE_ALONE = {
    *("forget", "drop_aside", "release_aside", "count_aside", "aside", "resume", "withdraw_round", "settings"),
    *("replay_dead_letters", "drop_dead_letters", "reject_round"),
}


def test_each_operation_is_offered_or_kept_from_assistants() -> None:
    """A new one is decided about, not let through."""
    decided = [{*FACTS}, {*CHANGES}, GIVE_TEXT, LET_MODELS_SPEAK, FOR_PEOPLE_ALONE]
    assert sum(map(len, decided)) == len(set().union(*decided))
    assert set().union(*decided) == {each.name for each in OPERATIONS if not each.probe}
    assert not any(BY_NAME[name].writes for name in FACTS)
    assert all(BY_NAME[name].writes for name in CHANGES)


def test_changes_are_offered_only_where_they_are_asked_for() -> None:
    """And each says that a person has to confirm it."""
    assert set(offered(changes=False)) == {*FACTS}
    for name in CHANGES:
        tool = offered(changes=True)[name]
        assert "confirmation" in tool.schema["properties"]
        assert "ask the person" in tool.description


def test_arguments_are_those_of_the_operation_but_for_text() -> None:
    """By the names that its requests have, with its bounds."""
    trace = offered(changes=False)["trace"]
    assert set(trace.schema["properties"]) == {"topic", "partition", "offset"}
    assert call_of(trace, {"topic": "news", "partition": 0, "offset": 3})["number"] == 0
    for wrong in ({"topic": "news", "partition": 0, "offset": 3, "text": True}, {"topic": "news"}, {"offset": "3"}):
        with pytest.raises(BadRequest):
            call_of(trace, wrong)


def test_a_code_is_for_one_call_once_and_for_minutes() -> None:
    """Another call, a second time, too late, or a guess: none of them passes."""
    now = 0.0
    codes = Confirmations(lambda: now)
    code = codes.give("rollback", {"to": 3})
    assert not codes.take("12345678", "rollback", {"to": 3})
    assert codes.take(code, "rollback", {"to": 3})
    assert not codes.take(code, "rollback", {"to": 3})
    assert not codes.take(codes.give("rollback", {"to": 3}), "rollback", {"to": 4})
    assert not codes.take(codes.give("rollback", {"to": 3}), "pause_rounds", {"to": 3})
    late = codes.give("rollback", {})
    now = VALID_S
    assert not codes.take(late, "rollback", {})


def test_codes_that_are_out_are_bounded() -> None:
    """The oldest makes room."""
    codes = Confirmations()
    given = [codes.give("rollback", {"to": number}) for number in range(MOST + 1)]
    assert not codes.take(given[0], "rollback", {"to": 0})
    assert codes.take(given[-1], "rollback", {"to": MOST})
