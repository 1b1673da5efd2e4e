"""The tree of settings as the rooms' models declare it: every key, and the nearest one to a typo."""

import difflib
import enum
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

EACH = "[]"
"""Stands in a setting's path for "each element of this list"."""

SIMILAR = 0.6
SIMILAR_ELSEWHERE = 0.8
"""In another table only what is nearly the same name was meant: `rounds` is no typo of `lifecycle.rounds_kept`."""

KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
    list: "a list in [ ]",
    tuple: "a list in [ ]",
    frozenset: "a list in [ ]",
    set: "a list in [ ]",
    dict: "a table",
}

Key = tuple[str | int, ...]
"""Where a value stands: `("streams", "topics", 0, "name")`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the tree.

    Attributes:
        path: the names from the top, with `EACH` after the name of a list of tables.
    """

    path: tuple[str, ...]
    info: FieldInfo


def optional(info: FieldInfo) -> bool:
    """Whether the setting can be unset."""
    return type(None) in alternatives(info.annotation)


def holds_path(info: FieldInfo) -> bool:
    """Whether the setting's value names a file or a directory."""
    return Path in alternatives(info.annotation)


def is_structured(info: FieldInfo) -> bool:
    """Whether the value is a list or a table."""
    return nested_model(info.annotation)[0] is not None or any(
        typing.get_origin(alternative) in (list, tuple, dict, set, frozenset)
        for alternative in alternatives(info.annotation)
    )


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types a value may have: the members of a union, else the one."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def nested_model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that a table under this annotation is read into, and whether it is a list of them."""
    for alternative in alternatives(annotation):
        if isinstance(alternative, type) and issubclass(alternative, BaseModel):
            return alternative, False
        if typing.get_origin(alternative) in (list, tuple):
            inner, _ = nested_model(typing.get_args(alternative)[0])
            if inner is not None:
                return inner, True
    return None, False


def walk(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Every leaf of the tree, in the order of declaration; tables are entered, not yielded."""
    for name, info in model.model_fields.items():
        inner, many = nested_model(info.annotation)
        if inner is None:
            yield Setting((*prefix, name), info)
        else:
            yield from walk(inner, (*prefix, name, EACH) if many else (*prefix, name))


def find(model: type[BaseModel], key: Key) -> FieldInfo | None:
    """The declaration of the setting at `key`; None when there is none."""
    current: type[BaseModel] | None = model
    info: FieldInfo | None = None
    for part in key:
        if isinstance(part, int):
            continue
        if current is None or part not in current.model_fields:
            return None
        info = current.model_fields[part]
        current, _ = nested_model(info.annotation)
    return info


def siblings(model: type[BaseModel], key: Key) -> list[str]:
    """The keys that may stand beside the last part of `key`."""
    parent = key[:-1]
    if not any(isinstance(part, str) for part in parent):
        return list(model.model_fields)
    info = find(model, parent)
    inner = nested_model(info.annotation)[0] if info is not None else None
    return list(inner.model_fields) if inner is not None else []


def nearest(model: type[BaseModel], key: Key) -> str | None:
    """The known key that was most probably meant, written in full; None when nothing is near.

    A name beside it wins; else the same or a similar name elsewhere in the tree (a key in the wrong table).
    """
    name = str(key[-1])
    beside = difflib.get_close_matches(name, siblings(model, key), n=1, cutoff=SIMILAR)
    if beside:
        return dot((*key[:-1], beside[0]))
    # Reversed, so that of several of one name the first that is declared stays.
    anywhere = {setting.path[-1]: setting for setting in reversed(list(walk(model)))}
    elsewhere = difflib.get_close_matches(name, anywhere, n=1, cutoff=SIMILAR_ELSEWHERE)
    return dot(anywhere[elsewhere[0]].path) if elsewhere else None


def dot(key: Sequence[str | int]) -> str:
    """`("streams", "topics", 0, "name")` as a person reads it: `streams.topics[0].name`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part == EACH:
            text += EACH
        else:
            text += f".{part}" if text else part
    return text


def accepts(info: FieldInfo) -> str:
    """What may be written for a setting, in words: `a whole number from 1 to 1000`, `"auto" or "cpu"`."""
    kinds = [kind for kind in alternatives(info.annotation) if kind is not type(None)]
    phrases = [_kind(kind) for kind in kinds]
    if optional(info):
        phrases.append('"none"')
    return " or ".join(dict.fromkeys(phrases)) + _bounds(info)


def _kind(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(_quote(value) for value in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(_quote(member.value) for member in kind)
    if typing.get_origin(kind) is typing.Annotated:
        return _kind(typing.get_args(kind)[0])
    origin = typing.get_origin(kind) or kind
    return KINDS.get(origin, "a value")


def _quote(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _bounds(info: FieldInfo) -> str:
    """Pydantic's numeric bounds in words; lengths of lists and texts are left to its message."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    phrases = [
        f"{phrase} {getattr(bound, name)}"
        for name, phrase in words.items()
        for bound in info.metadata
        if isinstance(getattr(bound, name, None), (int, float))
    ]
    return f", {' and '.join(phrases)}" if phrases else ""
