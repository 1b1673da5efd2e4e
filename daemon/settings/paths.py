"""Paths in the settings that can be none, or are most surely not those that are meant."""

import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon.settings.fields import Key, dot, holds_path, nested_model
from daemon.settings.mistakes import Mistake, show_value
from daemon.settings.sources import INVISIBLE, Raw

# Linux's NAME_MAX, and its PATH_MAX without the NUL at the end.
LONGEST_NAME = 255
LONGEST_PATH = 4095
REMEDY = "Write the path of a file or a directory as the system shows it."


def impossible_paths(model: type[BaseModel], raw: Raw) -> Iterator[tuple[Key, Mistake]]:
    """The key and the mistake of each, as the settings were written."""
    for key, value in _paths(model, raw.tree):
        if problem := _why_impossible(value):
            yield key, Mistake(dot(key), show_value(key, value), raw.place(key), problem, REMEDY)


def _paths(model: type[BaseModel], table: Any, prefix: Key = ()) -> Iterator[tuple[Key, str]]:
    for name, info in model.model_fields.items() if isinstance(table, dict) else ():
        value, key = table.get(name), (*prefix, name)
        inner, many = nested_model(info.annotation)
        if inner is not None and not many:
            yield from _paths(inner, value, key)
        elif holds_path(info) and isinstance(value, str):
            yield key, value


def _why_impossible(value: str) -> str:
    """Why nothing can be there; empty where it can."""
    if not value.strip():
        return "It is empty."
    # Where the settings were read all others became absolute.
    if not Path(value).is_absolute():
        return f"Nobody here is called {Path(value).parts[0][1:]}, whose home it names."
    if "\0" in value:
        return "It has a NUL character in it."
    return _why_no_name(value) or _why_unlikely(value)


def _why_no_name(value: str) -> str:
    if not _is_encodable(value):
        encoding = sys.getfilesystemencoding()
        return f"It has letters that {encoding} has not, the encoding of names here: set LC_ALL=C.UTF-8."
    longest = max(len(_bytes(part)) for part in Path(value).parts)
    if longest > LONGEST_NAME or len(_bytes(value)) > LONGEST_PATH:
        return f"It is too long: a name has at most {LONGEST_NAME} bytes, a path {LONGEST_PATH}."
    return ""


def _why_unlikely(value: str) -> str:
    odd = next((part for part in Path(value).parts if _hides_something(part)), None)
    if odd is not None and not Path(value).exists():
        return f"Nothing is there, and {odd!r} has a character in it that nobody sees."
    return ""


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _hides_something(name: str) -> bool:
    """Whether characters that nobody sees stand at its ends, or others than blanks within it."""
    kinds = [unicodedata.category(character) for character in name]
    return bool({kinds[0], kinds[-1]} & INVISIBLE) or bool(set(kinds) & (INVISIBLE - {"Zs"}))
