"""The commented reference of every setting: `python -m daemon.settings.reference > riverkeep.toml`."""

import enum
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.settings.fields import accepts, nested_model
from daemon.settings.sources import UNSET
from daemon.settings.tree import Settings
from daemon.settings.written.schema import LINE

WIDTH = 100

HEAD = """\
Riverkeep's settings, each with its default. Remove the `#` before a key to change it; only [model] path
must be set, and [[streams.topics]] for something to be read. `riverkeep check` lists every mistake.

Each key can also come from the environment, which wins over the file: RIVERKEEP_, the tables and the
key, with two underscores between them (RIVERKEEP_MODEL__PATH, RIVERKEEP_LEARNER__RECIPE__KL; lists as
JSON). An empty variable counts as not set. "none" unsets what can be unset. Paths are relative to this
file. Secrets are written into files of their own, and keys that end in _file name those."""

EXAMPLES = {
    ("model", "path"): "/models/my-model",
    ("streams", "topics", "name"): "news",
    ("evaluation", "skills", "name"): "arithmetic",
    ("evaluation", "skills", "file"): "skills/arithmetic.jsonl",
}
"""What stands for a value that has no default."""


def reference() -> str:
    """The whole file, ending in a newline. With every `#` before a key removed it says the same."""
    lines = [LINE, *(f"# {line}".rstrip() for line in HEAD.splitlines())]
    lines += _table(Settings, ())
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """The keys of one table, then the tables in it: TOML takes a key for the header's that stands last."""
    tables = []
    for name, info in model.model_fields.items():
        inner, many = nested_model(info.annotation)
        if inner is not None:
            tables.append((inner, many, (*path, name), info))
            continue
        yield ""
        yield from _comment(info)
        yield f"#{name} = {default_text((*path, name), info)}"
    for inner, many, inner_path, info in tables:
        yield ""
        yield ""
        about = info.description or inner.__doc__ or ""
        yield from (f"# {line}" for line in textwrap.wrap(about.split("\n\n")[0], WIDTH))
        title = ".".join(inner_path)
        # An array of tables cannot stand without an element: its header is commented out with its keys.
        yield f"#[[{title}]]" if many else f"[{title}]"
        yield from _table(inner, inner_path)


def _comment(info: FieldInfo) -> Iterator[str]:
    needed = ", must be set" if info.is_required() else ""
    about = f"{info.description or ''} ({accepts(info)}{needed})"
    return (f"# {line}" for line in textwrap.wrap(about, WIDTH))


def default_text(path: tuple[str, ...], info: FieldInfo) -> str:
    """A setting's default as TOML; of what has none an example. `path`: the names from the top."""
    return _toml(_default(path, info))


def _default(path: tuple[str, ...], info: FieldInfo) -> Any:
    if path in EXAMPLES:
        return EXAMPLES[path]
    return info.get_default(call_default_factory=True)


def _toml(value: Any) -> str:
    match value:
        case None:
            text = json.dumps(UNSET)
        case enum.Enum():
            text = _toml(value.value)
        # Before the numbers: Python takes a bool for an int.
        case bool():
            text = str(value).lower()
        case int() | float():
            text = repr(value)
        case str() | Path():
            text = json.dumps(str(value), ensure_ascii=False)
        case list() | tuple() | set() | frozenset():
            text = f"[{', '.join(_toml(element) for element in value)}]"
        case _:
            raise TypeError(f"no TOML for a default of type {type(value).__name__}")
    return text


if __name__ == "__main__":
    sys.stdout.write(reference())
