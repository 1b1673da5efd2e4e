"""Where settings come from: a TOML file and the environment, merged, each value remembering its place."""

import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.settings.fields import Key, find, holds_path, is_structured, nested_model, optional
from daemon.settings.places import line_numbers

PREFIX = "RIVERKEEP_"
NOT_SETTINGS = frozenset({"RIVERKEEP_CONFIG", "RIVERKEEP_FAULT"})
"""Variables with the prefix that are no settings: the file's place; the step that a test makes fail."""

# Kubernetes gives every pod variables for every Service; one that is named `riverkeep…` must not be taken for
# a setting: RIVERKEEP_SERVICE_HOST, RIVERKEEP_SERVING_PORT_8080_TCP_ADDR.
KUBERNETES = re.compile(r"(_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://")

UNSET = "none"
"""TOML has no null: this word unsets a setting that can be unset."""

DEEPEST = 16
INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
CURLED = frozenset("\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a\uff02")


@dataclass(slots=True)
class Raw:
    """Settings as written, before they are typed.

    Attributes:
        tree: nested dictionaries and lists, as TOML gives them.
        places: for each key that was written, where: `riverkeep.toml line 12`, or the variable's name.
        unknown_variables: variables with the prefix that match no setting, with the key each would be.
        file_error: why the file could not be read; empty when it could.
        base: where the file's relative paths start.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    unknown_variables: list[tuple[str, Key]] = field(default_factory=list)
    file_error: str = ""
    base: Path = field(default_factory=Path.cwd)

    def place(self, key: Key) -> str:
        """Where the value at `key`, or the table it stands in, was written; empty when nowhere."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return ""


def read(model: type[BaseModel], path: Path | None, environment: Mapping[str, str]) -> Raw:
    """Read the file (when there is one), then lay the environment over it."""
    raw = Raw()
    if path is not None:
        raw.base = path.parent.absolute()
        _read_file(raw, path)
        _settle(model, raw.tree, raw.base)
    _read_environment(model, raw, environment)
    return raw


def _read_file(raw: Raw, path: Path) -> None:
    try:
        # Editors of some systems put a byte-order mark before the first word.
        content = path.read_bytes()
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        raw.tree = _parse(text)
    except tomllib.TOMLDecodeError as error:
        hint = what_is_invisible(text) or _find_curled(text)
        # Each letter of plain text has a zero beside it there, which is valid UTF-8.
        wide = b"\0" in content[:4]
        raw.file_error = "this is UTF-16 or UTF-32: save it as UTF-8" if wide else f"this is not TOML: {error}{hint}"
    except RecursionError:
        raw.tree = {}
        raw.file_error = f"something in it is nested more than {DEEPEST} deep, and no setting is"
    except UnicodeDecodeError as error:
        raw.file_error = f"this is not UTF-8 ({_encoding_of(error.object, error.start)}): save it as UTF-8"
    except ValueError:
        # What is left of these, after the two kinds above: Python reads no number of thousands of digits.
        raw.file_error = "a number in it has thousands of digits, and no setting is so large"
    except OSError as error:
        raw.file_error = f"it cannot be read: {error.strerror}"
    else:
        lines = line_numbers(text)
        raw.places = {key: f"{path.name} line {line}" for key, line in lines.items()}


def _parse(text: str) -> dict[str, Any]:
    tree = tomllib.loads(text)
    if is_too_deep(tree):
        raise RecursionError
    return tree


def is_too_deep(value: Any) -> bool:
    """Whether tables and lists lie in each other deeper than any setting; asked level by level, however deep."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for container in level for inner in _inside(container)]
    return bool(level)


def _inside(value: Any) -> list[Any]:
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value_inside for value_inside in values if isinstance(value_inside, dict | list)]


def what_is_invisible(text: str) -> str:
    """Where a character first stands that nobody sees, as it may be what is wrong; empty where none does."""
    for number, line in enumerate(text.splitlines(), start=1):
        for column, character in enumerate(line, start=1):
            if character not in " \t" and unicodedata.category(character) in INVISIBLE:
                name = unicodedata.name(character, "a control character")
                return f"; line {number} has an invisible U+{ord(character):04X} ({name}) at column {column}: delete it"
    return ""


def _find_curled(text: str) -> str:
    """Where a quote first stands that text editors curl for letters, before any comment; empty where none does."""
    for number, line in enumerate(text.splitlines(), start=1):
        for column, character in enumerate(line.partition("#")[0], start=1):
            if character in CURLED:
                name = unicodedata.name(character)
                return f'; line {number} has a U+{ord(character):04X} ({name}) at column {column}: write a plain "'
    return ""


def _encoding_of(content: bytes, byte: int) -> str:
    return "it begins as UTF-16 does" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {byte}"


def _settle(model: type[BaseModel], table: dict[str, Any], base: Path) -> None:
    """Resolve paths against the file's directory, so that they mean the same wherever a command is run."""
    for name, value in table.items():
        info = model.model_fields.get(name)
        if info is None:
            continue
        inner, _ = nested_model(info.annotation)
        for nested in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(nested, dict):
                _settle(inner, nested, base)
        table[name] = _settle_value(info, value, base)


def _settle_value(info: FieldInfo, value: Any, base: Path) -> Any:
    if value == UNSET and optional(info):
        return None
    if holds_path(info) and isinstance(value, str) and value:
        try:
            return str(base / Path(value).expanduser())
        except RuntimeError:
            return value  # Nobody has such a home: `settings_paths` says so.
    return value


def _read_environment(model: type[BaseModel], raw: Raw, environment: Mapping[str, str]) -> None:
    # By name, so that a table as a whole comes before the variables of single keys in it, which are laid over it.
    for variable, written in sorted(environment.items()):
        # Files of variables leave line ends in them.
        text = written.strip()
        if not _is_setting(variable, text):
            continue
        key: Key = tuple(variable[len(PREFIX) :].lower().split("__"))
        info = find(model, key)
        if info is None:
            raw.unknown_variables.append((variable, key))
            continue
        value = _settle_value(info, _parse_list(text) if is_structured(info) else text, Path.cwd())
        _lay(raw.tree, key, value)
        raw.places[key] = f"environment {variable}"


def _is_setting(variable: str, text: str) -> bool:
    """An empty variable counts as not set, as in a compose file's `VARIABLE=`."""
    if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or not text:
        return False
    return not (KUBERNETES.search(variable) or KUBERNETES_ADDRESS.match(text))


def _parse_list(text: str) -> Any:
    """A list or table in a variable: JSON, or for a list of words `a,b,c`."""
    try:
        value = json.loads(text)
        return text if is_too_deep(value) else value
    except RecursionError:
        return text
    except ValueError:
        return [part.strip() for part in text.split(",")]


def _lay(tree: dict[str, Any], key: Key, value: Any) -> None:
    """Put `value` at `key`, making the tables on the way; a scalar that stands in the way gives way."""
    table = tree
    for part in key[:-1]:
        nested = table.get(str(part))
        if not isinstance(nested, dict):
            nested = table[str(part)] = {}
        table = nested
    table[str(key[-1])] = value
