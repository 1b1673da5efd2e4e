"""The settings in force, each with where it came from; what may be a secret is not shown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from daemon.control.answers.settings import SettingLine, SettingsAnswer
from daemon.settings import sources, validation
from daemon.settings.fields import Key, dot, nested_model
from daemon.settings.load import complete
from daemon.settings.mistakes import HIDDEN, SECRET_NAME, BadSettings, may_be_secret, unknown_variables, unreadable
from daemon.settings.sources import Raw
from daemon.settings.tree import Settings

VARIABLE: Final = "environment "
"""Before a variable's name, where it is the place of a value."""
LOGIN: Final = re.compile(r"://[^/@\s]+@")


def settings_shown(
    in_force: Settings, file: Path | None, environment: Mapping[str, str], *, running: bool
) -> SettingsAnswer:
    """What counts, beside what is written now.

    Args:
        in_force: of a running daemon, or as they were just read.
        file: that they were read from; None: from the environment alone.
        environment: variables.
        running: whether a daemon runs with them.
    """
    raw = sources.read(Settings, file, environment)
    outcome = validation.type_settings(Settings, raw)
    mistakes = [*outcome.mistakes, *unknown_variables(Settings, raw)]
    if file is not None and raw.file_error:
        mistakes = [unreadable(file, raw.file_error)]
    # With mistakes nothing of what is written is taken over: then nothing waits but for them to be mended.
    written = None if mistakes or outcome.settings is None else complete(outcome.settings)
    return {
        "file": None if file is None else str(file),
        "running": running,
        "settings": list(_lines(Settings, in_force, written, raw, ())),
        "mistakes": BadSettings(mistakes).in_line() if mistakes else "",
    }


def only(answer: SettingsAnswer, key: str | None, *, written: bool) -> SettingsAnswer:
    """The part of it that is wanted.

    Args:
        answer: all settings.
        key: a setting's or a table's name in full; None: all.
        written: only what somebody wrote, or Riverkeep chose.
    """
    lines = [
        line
        for line in answer["settings"]
        if (key is None or line["key"] == key or line["key"].startswith((f"{key}.", f"{key}[")))
        and not (written and line["origin"] == "default")
    ]
    return {**answer, "settings": lines}


def _lines(
    model: type[BaseModel], in_force: BaseModel, written: BaseModel | None, raw: Raw, prefix: Key
) -> Iterator[SettingLine]:
    for name, info in model.model_fields.items():
        inner, many = nested_model(info.annotation)
        value, key = getattr(in_force, name), (*prefix, name)
        on_disk = None if written is None else getattr(written, name, None)
        if inner is None:
            yield _line(key, info, value, raw, waits=written is not None and on_disk != value)
        elif many:
            yield from _elements(inner, value, on_disk, raw, key)
        elif isinstance(value, BaseModel):
            yield from _lines(inner, value, on_disk if isinstance(on_disk, BaseModel) else None, raw, key)


def _elements(
    model: type[BaseModel], values: Sequence[BaseModel], written: Sequence[BaseModel] | None, raw: Raw, key: Key
) -> Iterator[SettingLine]:
    """Of a list of tables; those that are written and not in force have no line, as they have no value yet."""
    for index, value in enumerate(values):
        on_disk = written[index] if written is not None and index < len(written) else None
        yield from _lines(model, value, on_disk, raw, (*key, index))


def _line(key: Key, info: FieldInfo, value: Any, raw: Raw, *, waits: bool) -> SettingLine:
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    place = raw.place(key) if _is_written(raw, key) else ""
    secret = value is not None and may_be_secret(key, value, raw)
    return {
        "key": dot(key),
        "value": HIDDEN if secret else _without_secrets(key, to_jsonable_python(value)),
        "default": to_jsonable_python(default),
        "origin": _origin(place, is_default=value == default, waits=waits),
        "place": place.removeprefix(VARIABLE),
        "waits": waits,
        "about": info.description or "",
    }


def _origin(place: str, *, is_default: bool, waits: bool) -> str:
    if place:
        return "environment" if place.startswith(VARIABLE) else "file"
    if is_default:
        return "default"
    return "earlier" if waits else "chosen"


def _without_secrets(key: Key, value: Any) -> Any:
    """A value without logins in addresses, and without what stands behind the name of a secret in a list of words."""
    if isinstance(value, str):
        return LOGIN.sub(f"://{HIDDEN}@", value)
    if not isinstance(value, list):
        return value
    shown: list[Any] = []
    for before, word in zip(["", *value], value, strict=False):
        name, sign, _ = word.partition("=") if isinstance(word, str) else ("", "", "")
        # Variables of an engine may be called anything: none is shown.
        if sign and (key[-1] == "environment" or _names_a_secret(name)):
            shown.append(f"{name}={HIDDEN}")
        elif isinstance(before, str) and before.startswith("-") and "=" not in before and _names_a_secret(before):
            shown.append(HIDDEN)
        else:
            shown.append(_without_secrets(key, word))
    return shown


def _names_a_secret(name: str) -> bool:
    return SECRET_NAME.search(name.strip("-").replace("-", "_")) is not None


def _is_written(raw: Raw, key: Key) -> bool:
    """Whether a value stands at the key itself, and not only a table around it."""
    node: Any = raw.tree
    for part in key:
        if isinstance(part, int):
            if not isinstance(node, list) or part >= len(node):
                return False
            node = node[part]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return False
    return True
