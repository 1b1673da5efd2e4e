"""The table of actions: each an operation that changes something, what is said before it is done, and what after."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from daemon.control.bounds import LONGEST_REASON
from daemon.control.operations import BY_NAME
from daemon.control.protocol import Control
from daemon.control.reading import check_arguments, read_number
from daemon.errors import BadRequest, DaemonError
from daemon.page import explanations
from daemon.page.addresses import TRACE
from daemon.page.explanations import Call
from memory.samples.records import KeyHash

NUMBERS: Final = frozenset({"number", "round", "generation"})
LISTS: Final = frozenset({"ids"})
BY_LIST: Final = frozenset({"drop_aside", "release_aside"})
"""Operations whose command takes ids as an option."""
CHOSEN: Final = "chosen"
"""In a form with boxes to tick: that some must be."""
FLAGS: Final = frozenset({"dry_run"})


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
        inputs: what a person may add there.
        of_a_person: whether a form names one by key, which may be long.
        meant: the generation that is meant where none is named, so that what is agreed to is what is done.
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
    of_a_person: bool = False
    meant: Callable[[Control], int | None] | None = None


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
    if fields.get(CHOSEN) and not fields.get("ids"):
        # None named would be all of them.
        raise BadRequest("Nothing is ticked: go back, and tick the documents that are meant.")
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
    if action.meant is not None and not fields.get("generation") and (number := action.meant(control)) is not None:
        fields = {**fields, "generation": str(number)}
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
        command=action.command.format_map(call) + _options(action, call),
        is_grave=action.is_grave,
        problem=problem,
    )


def _options(action: Action, call: Call) -> str:
    """What the command is told besides, as a shell takes it; no key, as shells keep what is typed."""
    parts = [f"--{name} {shlex.quote(call[name])}" for name in ("source", "reason") if call.get(name)]
    if action.of_a_person:
        parts += [f"--key-hash {call['key']}" if isinstance(call["key"], KeyHash) else "-"]
    elif call.get("key"):
        parts += ["--key -"]
    if ids := list(map(str, call.get("ids") or ())):
        parts += [f"--ids {','.join(ids)}"] if action.operation in BY_LIST else ids
    parts += [shlex.quote(call["partition"])] if call.get("partition") else []
    return "".join(f" {part}" for part in parts)


ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        action.operation: action
        for action in (
            Action(
                "request_round",
                "Begin a round now?",
                "Begin a round",
                explanations.of_a_round,
                lambda answer: str(answer["detail"]),
                "/",
                "riverkeep round begin",
            ),
            Action(
                "cancel_rounds",
                "Call the round off?",
                "Call it off",
                explanations.of_calling_off,
                lambda answer: str(answer["detail"]),
                "/",
                "riverkeep round cancel",
                is_grave=True,
            ),
            Action(
                "pause_rounds",
                "Pause rounds?",
                "Pause rounds",
                explanations.of_pausing,
                lambda answer: "Rounds were paused already." if answer["already"] else "Rounds are paused.",
                "/",
                "riverkeep round pause",
                inputs=(Input("reason", "Why, for those who look at the status", LONGEST_REASON),),
            ),
            Action(
                "resume_rounds",
                "Let rounds begin by themselves?",
                "Resume rounds",
                explanations.of_resuming_rounds,
                lambda answer: "Rounds begin by themselves again." if answer["resumed"] else "Rounds were not paused.",
                "/",
                "riverkeep round resume",
            ),
            Action(
                "approve_round",
                "Approve the text of round {number}?",
                "Approve",
                explanations.of_approving,
                lambda answer: str(answer["detail"]),
                "/needs",
                "riverkeep round approve {number}",
            ),
            Action(
                "reject_round",
                "Erase the text of round {number}?",
                "Erase it",
                explanations.of_rejecting,
                lambda answer: f"Round {answer['round']}: {answer['dropped']:,} samples are erased.",
                "/needs",
                "riverkeep round reject {number}",
                is_grave=True,
            ),
            Action(
                "release_aside",
                "Let back what round {number} set aside?",
                "Let it back",
                explanations.of_releasing,
                lambda answer: (
                    f"Round {answer['round']}: {answer['released']:,} samples are back, {answer['left']:,} stay aside."
                ),
                "/needs",
                "riverkeep memory release {number}",
            ),
            Action(
                "drop_aside",
                "Erase what round {number} set aside?",
                "Erase it",
                explanations.of_dropping,
                lambda answer: (
                    f"Round {answer['round']}: {answer['dropped']:,} samples are erased, {answer['left']:,} stay aside."
                ),
                "/needs",
                "riverkeep memory drop {number}",
                is_grave=True,
            ),
            Action(
                "rollback",
                "Serve generation {generation}?",
                "Serve it",
                explanations.of_a_rollback,
                lambda answer: f"Generation {answer['to']} serves; before it did {answer['from']}.",
                "/generations",
                "riverkeep rollback {generation}",
                is_grave=True,
                meant=explanations.one_before,
            ),
            Action(
                "promote_canary",
                "Let generation {generation} serve?",
                "Let it serve",
                explanations.of_a_promotion,
                lambda answer: f"Generation {answer['to']} serves; before it did {answer['from']}.",
                "/generations",
                "riverkeep canary promote {generation}",
                meant=explanations.watched_one,
            ),
            Action(
                "take_back_canary",
                "Take generation {generation} back?",
                "Take it back",
                explanations.of_taking_back,
                lambda answer: f"Generation {answer['generation']} is taken back; {answer['serving']} answers all.",
                "/generations",
                "riverkeep canary take-back {generation}",
                is_grave=True,
                meant=explanations.watched_one,
            ),
            Action(
                "replay_dead_letters",
                "Decode dead letters again?",
                "Decode them again",
                explanations.of_decoding_again,
                lambda answer: (
                    f"{answer['kept']:,} are samples now, {answer['known']:,} were known, "
                    f"{answer['still_dead']:,} are still dead letters."
                ),
                "/dead-letters",
                "riverkeep memory dead-letters replay",
            ),
            Action(
                "drop_dead_letters",
                "Erase dead letters?",
                "Erase them",
                explanations.of_dropping_letters,
                lambda answer: f"{answer['dropped']:,} dead letters are erased.",
                "/dead-letters",
                "riverkeep memory dead-letters drop",
                is_grave=True,
            ),
            Action(
                "forget",
                "Erase all text of this person for good?",
                "Erase it",
                explanations.of_an_erasure,
                explanations.erased,
                TRACE,
                "riverkeep forget",
                is_grave=True,
                of_a_person=True,
            ),
            Action(
                "resume",
                "Read on where a flood paused?",
                "Read on",
                explanations.of_reading_on,
                lambda answer: f"Reading goes on: {', '.join(answer['resumed']) or 'nothing was paused'}.",
                "/needs",
                "riverkeep memory dead-letters resume",
            ),
        )
    }
)
