"""The settings file as a JSON Schema, for editors: `riverkeep config schema > riverkeep.schema.json`."""

import json
from typing import Any, Final

from daemon.settings.sources import UNSET
from daemon.settings.tree import Settings

FILE_NAME: Final = "riverkeep.schema.json"
LINE: Final = f"#:schema ./{FILE_NAME}"
"""In a settings file: where Taplo, and the editors that have it, look for the schema."""


def schema() -> dict[str, Any]:
    """What may stand in a settings file.

    Nothing must: each key may come from the environment instead. What pydantic checks beyond types and bounds
    `riverkeep check` says.
    """
    document: dict[str, Any] = _in_toml(Settings.model_json_schema())
    document.pop("required", None)
    # It may be RIVERKEEP_MODEL__PATH.
    document["$defs"]["ModelSettings"].pop("required", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Riverkeep's settings",
        **document,
    }


def schema_text() -> str:
    """The same as a file, ending in a newline."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _in_toml(node: Any) -> Any:
    """As TOML has it: no null but the word for it, no names made up for titles, no defaults of whole tables."""
    if isinstance(node, list):
        return [_in_toml(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "null":
        return {"const": UNSET}
    return {
        name: _of_properties(value) if name in ("properties", "$defs") else _in_toml(value)
        for name, value in node.items()
        if name not in ("title", "format") and not (name == "default" and _is_no_toml(value))
    }


def _of_properties(named: dict[str, Any]) -> dict[str, Any]:
    # A setting may be called `format` or `title`: these are names, not keywords.
    return {name: _in_toml(each) for name, each in named.items()}


def _is_no_toml(default: Any) -> bool:
    return default is None or isinstance(default, dict)
