"""JSON schemas of the types that operations answer, for OpenAPI documents."""

import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

from tests.docs.json_page import meanings

Schema = dict[str, Any]
PLAIN: Final[Mapping[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def schema_of(kind: Any, named: dict[str, Schema]) -> Schema:
    """The schema of a type; those of objects are put into `named`, and referred to."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        if kind.__name__ not in named:
            named[kind.__name__] = {}
            named[kind.__name__] |= _of_object(kind, named)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(each, named) for each in arguments]}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], named)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], named)}
    return {} if kind is Any else {"type": PLAIN[kind]}


def _of_object(kind: Any, named: dict[str, Schema]) -> Schema:
    words = meanings(kind)
    described = {name: {"description": words[name]} if name in words else {} for name in kind.__annotations__}
    # OpenAPI 3.1 lets words stand beside a reference.
    properties = {
        name: schema_of(each, named) | described.get(name, {}) for name, each in sorted(get_type_hints(kind).items())
    }
    what = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
    return {
        "type": "object",
        "description": what,
        "properties": properties,
        "required": sorted(kind.__required_keys__),
    }
