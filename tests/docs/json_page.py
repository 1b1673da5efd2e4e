"""The page of what `--json` prints, read off the answers' types.

python -m tests.docs.json_page > docs/json.md
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

from daemon.control.operations import BY_NAME, OPERATIONS, Operation

COMMANDS: Final[Mapping[str, str]] = {
    "status": "status",
    "audit": "audit",
    "config show": "settings",
    "round list": "rounds",
    "round show": "round",
    "round flips": "flips",
    "round begin": "request_round",
    "round approve": "approve_round",
    "round reject": "reject_round",
    "round cancel": "cancel_rounds",
    "round pause": "pause_rounds",
    "round resume": "resume_rounds",
    "explain round": "explain_round",
    "trace": "trace",
    "generations": "generations",
    "compare ask": "compare",
    "compare show": "comparison",
    "compare pick": "pick_answer",
    "compare cancel": "cancel_comparison",
    "compare picks": "picks",
    "rollback": "rollback",
    "canary promote": "promote_canary",
    "canary take-back": "take_back_canary",
    "streams": "streams",
    "serving": "serving",
    "peek": "peek",
    "memory": "memory",
    "memory gaps": "gaps",
    "memory next-draw": "next_draw",
    "memory find": "find",
    "memory aside": "aside",
    "memory release": "release_aside",
    "memory drop": "drop_aside",
    "memory dead-letters": "dead_letters",
    "memory dead-letters replay": "replay_dead_letters",
    "memory dead-letters drop": "drop_dead_letters",
    "memory dead-letters resume": "resume",
    "feedback": "feedback",
    "feedback list": "feedback",
    "forget": "forget",
}
"""By command, the operation whose answer it prints."""
OTHERWISE: Final[Mapping[str, str]] = {
    "check": "`file`, `mistakes`, each with `key`, `value`, `place`, `problem` and `remedy`, and `notes`, sentences",
    "doctor": "findings, each with `what`, `ok`, `detail` and `remedy`",
    "backfill": "totals of what became of the documents, `fields` by file, `without_key`, `waiting`, `errors` by file",
    "keys add": "`name`, `file`, `key` (the only time that it is shown), `limits`, `replaced_line`",
    "keys list": "a list of keys, each with its name, its limits and no secret",
    "keys revoke": "`name`, `file`, and how many are `left`",
}
"""Commands that ask no operation, and what they print."""
MORE: Final[Mapping[str, str]] = {
    "round show": "and `samples`, a page of [RoundSamplesAnswer](#roundsamplesanswer)",
    "round begin": "with `--wait` a [RoundAnswer](#roundanswer), and `not_serving`: why it does not answer yet",
    "round approve": "with `--wait` as `riverkeep round begin --wait`",
    "serving": "and `latency`, a [LatencyAnswer](#latencyanswer)",
    "memory aside": "with a round's number and `--text` or `--masked` [AsideTextAnswer](#asidetextanswer)",
    "memory dead-letters": "with `--show` one of them",
    "trace": "by `--key` too",
    "generations": "with `--show` a [GenerationAnswer](#generationanswer), with `--diff` a "
    "[GenerationDiff](#generationdiff)",
}
INTRODUCTION: Final = """# What `--json` prints

Commands with `--json` print one JSON document on standard output, and sentences for a person on standard error. The
same documents are what the admin surface answers, at the path beside each. Keys are added in later versions; none is
renamed or taken away without a word in the [changelog](../CHANGELOG.md). Text from outside has control characters and
invisible ones as JSON escapes.

This page is made by `python -m tests.docs.json_page` of the answers' types (`daemon/control/answers/`).
"""
WORDS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    NoneType: "null",
}


def types_answered() -> list[type]:
    """Every type of object that an answer has in it, each before those that it holds."""
    found: dict[type, None] = {}
    for operation in OPERATIONS:
        _gather(get_type_hints(operation.ask)["return"], found)
    return list(found)


def _gather(kind: Any, found: dict[type, None]) -> None:
    if is_typeddict(kind):
        if kind not in found:
            found[kind] = None
            for each in get_type_hints(kind).values():
                _gather(each, found)
        return
    for argument in get_args(kind):
        _gather(argument, found)


def meanings(kind: type) -> dict[str, str]:
    """What the docstring of a type, and of those that it goes on from, says of its keys."""
    told: dict[str, str] = {}
    for base in getattr(kind, "__orig_bases__", ()):
        if is_typeddict(base):
            told |= meanings(base)
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    for entry in re.split(r"\n(?=    \S)", attributes.rstrip()):
        names, sign, words = " ".join(entry.split()).partition(": ")
        if sign and re.fullmatch(r"[a-z_0-9]+(, [a-z_0-9]+)*", names):
            told |= dict.fromkeys(names.split(", "), words)
    return told


def in_words(kind: Any) -> str:
    """A type as JSON has it, with links to what has a table here."""
    if is_typeddict(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(in_words(each) for each in arguments)
    if origin is list:
        return f"list of {in_words(arguments[0])}"
    if origin is dict:
        return f"object, by key {in_words(arguments[1])}"
    return WORDS[kind]


def mistakes(value: Any, kind: Any, place: str = "$") -> Iterator[str]:
    """Where a JSON value is not of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        yield from _mistakes_of_object(value, kind, place)
    elif origin in (Union, UnionType):
        if all(list(mistakes(value, each, place)) for each in arguments):
            yield f"{place} is {value!r}, not {in_words(kind)}"
    elif origin in (list, dict) and isinstance(value, origin):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in entries:
            yield from mistakes(each, arguments[-1], f"{place}.{name}")
    elif kind is not Any and not _is(value, origin or kind):
        yield f"{place} is {value!r}, not {in_words(kind)}"


def _mistakes_of_object(value: Any, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} is {value!r}, not an object"
        return
    kinds = get_type_hints(kind)
    yield from (f"{place} lacks {name}" for name in sorted(kind.__required_keys__ - value.keys()))
    yield from (f"{place} has {name}, of which nobody was told" for name in sorted(value.keys() - kinds.keys()))
    for name in value.keys() & kinds.keys():
        yield from mistakes(value[name], kinds[name], f"{place}.{name}")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    # JSON has one kind of number: a whole one may stand for any.
    return isinstance(value, (int, float) if kind is float else kind)


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_commands(), "", *_tables()])


def _commands() -> Iterator[str]:
    yield "| command | prints | at the admin surface |"
    yield "|---|---|---|"
    for command, name in COMMANDS.items():
        operation = BY_NAME[name]
        answer = in_words(get_type_hints(operation.ask)["return"])
        more = f"; {MORE[command]}" if command in MORE else ""
        yield f"| `riverkeep {command}` | {answer}{more} | {_path(operation)} |"
    for command, words in OTHERWISE.items():
        yield f"| `riverkeep {command}` | {words} | |"
    for operation in OPERATIONS:
        if operation.name not in COMMANDS.values():
            yield f"| | {in_words(get_type_hints(operation.ask)['return'])} | {_path(operation)} |"


def _path(operation: Operation) -> str:
    return f"{operation.method} `{operation.path}`"


def _tables() -> Iterator[str]:
    for kind in types_answered():
        yield f"## {kind.__name__}\n"
        about = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")[0]
        # What a dictionary says of itself is about dictionaries.
        if not about.startswith("dict("):
            yield f"{_in_json(about)}\n"
        yield "| key | is | what |"
        yield "|---|---|---|"
        told = meanings(kind)
        for name, each in get_type_hints(kind).items():
            left_out = " (or left out)" if name in kind.__optional_keys__ else ""  # type: ignore[attr-defined]
            yield f"| `{name}` | {in_words(each)}{left_out} | {_in_json(told.get(name, ''))} |"
        yield ""


def _in_json(words: str) -> str:
    """What a docstring says, on one line and with JSON's word for nothing."""
    return re.sub(r"\bNone\b", "null", " ".join(words.split()))


if __name__ == "__main__":
    print(page(), end="")
