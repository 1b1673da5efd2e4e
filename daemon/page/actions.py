"""The table of actions: each an operation that changes something, what is said before it is done, and what after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from daemon.control.bounds import LONGEST_REASON
from daemon.control.operations import BY_NAME
from daemon.control.protocol import Control
from daemon.control.reading import check_arguments, read_number
from daemon.errors import DaemonError, UnknownThing

NUMBERS: Final = frozenset({"number", "round", "generation"})
LISTS: Final = frozenset({"ids"})
FLAGS: Final = frozenset({"dry_run"})

Call = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Input:
    """What a person may add on the page that asks whether they are sure."""

    name: str
    label: str
    longest: int


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person can do on the page.

    Attributes:
        operation: by name; also the action's address.
        title: of the page that asks; may name arguments.
        button: what is pressed there.
        explain: what will happen, in sentences, from the control's own answers.
        done: what is said afterwards, of the operation's answer.
        back: where a browser goes then; may name arguments.
        command: that does the same on a terminal; may name arguments.
        is_grave: whether it cannot be taken back.
    """

    operation: str
    title: str
    button: str
    explain: Callable[[Control, Call], list[str]]
    done: Callable[[Any], str]
    back: str
    command: str
    is_grave: bool = False
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The page that asks.

    Attributes:
        fields: what goes along unseen.
        inputs: what a person may add, with what they wrote so far.
        problem: why it could not be done; empty before it was tried.
    """

    action: str
    title: str
    sentences: tuple[str, ...]
    button: str
    fields: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[Input, str], ...]
    back: str
    command: str
    is_grave: bool
    problem: str = ""


def call_of(action: Action, fields: Mapping[str, str]) -> dict[str, Any]:
    """The operation's arguments, of what a form or an address names. Raises BadRequest, UnknownThing."""
    model = BY_NAME[action.operation].arguments
    given = {name: _read(name, text, model.thing) for name, text in fields.items() if name in model.names() and text}
    return check_arguments(model, given).call()


def _read(name: str, text: str, thing: str) -> object:
    if name in LISTS:
        return [read_number(part.strip(), thing) for part in text.split(",")]
    if name in FLAGS:
        return text == "yes"
    return read_number(text, thing) if name in NUMBERS else text


def carry_out(action: Action, control: Control, call: Call) -> str:
    """Do it; returns what is said of it. Raises what the operation raises."""
    return action.done(BY_NAME[action.operation].answer(control, call))


def confirmation(action: Action, control: Control, fields: Mapping[str, str], problem: str = "") -> Confirmation:
    """What is asked before it is done. Raises what is wrong with the arguments, and what the control raises."""
    call = call_of(action, fields)
    try:
        sentences = action.explain(control, call)
    except DaemonError:
        # What stood in the way then is said, and more to the point.
        if not problem:
            raise
        sentences = []
    written = {entry.name for entry in action.inputs}
    model = BY_NAME[action.operation].arguments
    return Confirmation(
        action=action.operation,
        title=action.title.format_map(call),
        sentences=tuple(sentences),
        button=action.button,
        fields=tuple((name, text) for name, text in fields.items() if name in model.names() and name not in written),
        inputs=tuple((entry, fields.get(entry.name, "")) for entry in action.inputs),
        back=action.back.format_map(call),
        command=action.command.format_map(call),
        is_grave=action.is_grave,
        problem=problem,
    )


def _begin(control: Control, _call: Call) -> list[str]:
    facts = control.status()
    fresh = 0 if facts["memory"] is None else facts["memory"]["fresh_samples"]
    when = "at once" if facts["round"] is None else f"when round {facts['round']['number']} has ended"
    return [
        f"A round begins {when}, whatever the triggers wait for; {fresh:,} samples are fresh.",
        "Its candidate serves only if the gate accepts it.",
    ]


def _cancel(control: Control, _call: Call) -> list[str]:
    progress = control.status()["round"]
    if progress is None:
        return ["No round is in progress. What was asked for and has not begun is taken back."]
    return [
        f"Round {progress['number']} ends without effect: what it has trained so far is lost.",
        "Its text stays fresh, and by itself none begins before the cool-down is over.",
    ]


def _pause(_control: Control, _call: Call) -> list[str]:
    return [
        "No round begins by itself until somebody lets them, also across restarts. Text is read on.",
        "A round in progress goes on; one that a person asks for begins all the same.",
    ]


def _resume_rounds(_control: Control, _call: Call) -> list[str]:
    return ["Rounds begin by themselves again, when what triggers them has come."]


def _approve(control: Control, call: Call) -> list[str]:
    samples = _aside_of(control, call["number"])
    return [
        f"The text of round {call['number']} ({samples:,} samples) is taken for plausible, and a round trains on it.",
        "Whether its candidate forgot anything is judged all the same.",
    ]


def _reject(control: Control, call: Call) -> list[str]:
    samples = _aside_of(control, call["number"])
    return [f"The {samples:,} samples of round {call['number']} are erased. The same content is not taken in again."]


def _release(control: Control, call: Call) -> list[str]:
    samples = _aside_of(control, call["number"])
    return [f"{samples:,} samples are fresh again, and their held-out part is held out again."]


def _drop(control: Control, call: Call) -> list[str]:
    number = call["number"]
    if call["ids"]:
        return [f"{len(call['ids']):,} documents that round {number} set aside are erased; the rest stays aside."]
    if call["source"] is None and call["key"] is None:
        samples = _aside_of(control, number)
        return [f"All {samples:,} samples that round {number} set aside are erased. The same is not taken in again."]
    counted = control.count_aside(number, source=call["source"], key=call["key"])
    of = " and ".join(filter(None, (call["source"] and f"source {call['source']}", call["key"] and "that key")))
    matching = counted["samples"] + counted["held_out"]
    if not matching:
        raise UnknownThing(f"Round {number} has set nothing of {of} aside.")
    return [
        (
            f"{matching:,} of the {counted['of']:,} documents that round {number} set aside are of {of}: "
            f"{counted['samples']:,} to train on, {counted['held_out']:,} held out. They are erased."
        ),
        "The rest stays aside, to be approved or released. The same content is not taken in again.",
    ]


def _aside_of(control: Control, number: int) -> int:
    """Samples that a round set aside. Raises UnknownThing where it has none."""
    for group in control.aside():
        if group["round"] == number:
            return group["samples"] + group["held_out"]
    raise UnknownThing(f"Round {number} has set nothing aside.")


def _resume_partitions(control: Control, call: Call) -> list[str]:
    which = "every partition that a flood paused" if call["partition"] is None else call["partition"]
    dead = control.memory()["quarantine"]["dead_letters"]
    return [
        f"Reading goes on in {which}. What cannot be understood becomes a dead letter, as before.",
        f"{dead:,} dead letters are kept; those of the flood can be decoded again once it is mended.",
    ]


ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        action.operation: action
        for action in (
            Action(
                "request_round",
                "Begin a round now?",
                "Begin a round",
                _begin,
                lambda answer: str(answer["detail"]),
                "/",
                "riverkeep round begin",
            ),
            Action(
                "cancel_rounds",
                "Call the round off?",
                "Call it off",
                _cancel,
                lambda answer: str(answer["detail"]),
                "/",
                "riverkeep round cancel",
                is_grave=True,
            ),
            Action(
                "pause_rounds",
                "Pause rounds?",
                "Pause rounds",
                _pause,
                lambda answer: "Rounds were paused already." if answer["already"] else "Rounds are paused.",
                "/",
                "riverkeep round pause",
                inputs=(Input("reason", "Why, for those who look at the status", LONGEST_REASON),),
            ),
            Action(
                "resume_rounds",
                "Let rounds begin by themselves?",
                "Resume rounds",
                _resume_rounds,
                lambda answer: "Rounds begin by themselves again." if answer["resumed"] else "Rounds were not paused.",
                "/",
                "riverkeep round resume",
            ),
            Action(
                "approve_round",
                "Approve the text of round {number}?",
                "Approve",
                _approve,
                lambda answer: str(answer["detail"]),
                "/needs",
                "riverkeep round approve {number}",
            ),
            Action(
                "reject_round",
                "Erase the text of round {number}?",
                "Erase it",
                _reject,
                lambda answer: f"Round {answer['round']}: {answer['dropped']:,} samples are erased.",
                "/needs",
                "riverkeep round reject {number}",
                is_grave=True,
            ),
            Action(
                "release_aside",
                "Let back what round {number} set aside?",
                "Let it back",
                _release,
                lambda answer: f"Round {answer['round']}: {answer['released']:,} samples are back.",
                "/needs",
                "riverkeep memory release {number}",
            ),
            Action(
                "drop_aside",
                "Erase what round {number} set aside?",
                "Erase it",
                _drop,
                lambda answer: (
                    f"Round {answer['round']}: {answer['dropped']:,} samples are erased, {answer['left']:,} stay aside."
                ),
                "/needs",
                "riverkeep memory drop {number}",
                is_grave=True,
            ),
            Action(
                "resume",
                "Read on where a flood paused?",
                "Read on",
                _resume_partitions,
                lambda answer: f"Reading goes on: {', '.join(answer['resumed']) or 'nothing was paused'}.",
                "/needs",
                "riverkeep memory dead-letters resume",
            ),
        )
    }
)
