"""How values are read from JSON that a process wrote for another: their strictness, and what is wrong as a sentence.

pydantic says where a value is at fault as a path of names and indices. A person is told the same place as they would
write it, `report.slices.anchor.base[3].nll`, and what stands there in JSON's own words.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    FailFast,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema, to_jsonable_python

from checkpoints.errors import UnusableModel

STRICT: Final = ConfigDict(extra="forbid", strict=True)
"""Of every type that stands in a file: nothing is converted, nothing that is not known is passed over."""
LONGEST_VALUE: Final = 80

Columns = Mapping[str, Sequence[str]]
"""What the columns of rows are called, by the field of the whole that the rows are under."""


def _nan_for_null(value: object) -> object:
    return math.nan if value is None else value


def null_for_nan(value: float) -> float | None:
    """A number as JSON has it: null where it is not finite."""
    return value if math.isfinite(value) else None


Figure = Annotated[float, BeforeValidator(_nan_for_null), PlainSerializer(null_for_nan)]
"""A number that may not be finite: JSON has no word for that, so it is `null` there, and NaN again when it is read."""

InOrder: Final = PlainSerializer(sorted)
"""Of sets: in JSON they are arrays, which are the same each time."""


@dataclass(frozen=True, slots=True)
class AsRow:
    """Lets a type stand in JSON as an array of its columns, without their names: `Annotated[DocumentScore, AsRow(…)]`.

    Attributes:
        columns: each with its type; those of `optional` may be left out at the end.
        make: makes the value of its columns; raises a PydanticCustomError of the type "columns" where they do not fit.
        take: gives its columns.
    """

    columns: Mapping[str, Any]
    make: Callable[..., Any]
    take: Callable[[Any], Sequence[Any]]
    optional: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Columns are arguments by position, which pydantic checks as it parses: no list is made of a row."""
        schemas = [handler.generate_schema(kind) for kind in self.columns.values()]
        required = len(schemas) - self.optional
        schemas[required:] = [core_schema.with_default_schema(schema, default=None) for schema in schemas[required:]]
        arguments = core_schema.arguments_schema(
            [
                core_schema.arguments_parameter(name, schema, mode="positional_only")
                for name, schema in zip(self.columns, schemas, strict=True)
            ]
        )
        # In Python the value stands as itself: only JSON knows rows.
        return core_schema.json_or_python_schema(
            core_schema.no_info_after_validator_function(self._make, arguments),
            core_schema.is_instance_schema(source),
            serialization=core_schema.plain_serializer_function_ser_schema(self.take),
        )

    def _make(self, arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> Any:
        return self.make(*arguments[0])


EndsAtFirst: Final = FailFast()
"""Of long arrays: the first row that is wrong is enough to know."""

Kind = TypeVar("Kind")


def read_json(kind: type[Kind], content: bytes) -> Kind:
    """Read bytes as a type.

    Raises:
        ValidationError: they are something else; `explain_json` says what.
    """
    # A type may be any expression of types, which `cache` takes and mypy does not call hashable.
    hashable: Any = kind
    value: Kind = _adapter(hashable).validate_json(content)
    return value


def write_json(value: object, *, indent: int | None = None) -> bytes:
    """The bytes that `read_json` reads back; a number that is not finite becomes `null`."""
    hashable: Any = type(value)
    return _adapter(hashable).dump_json(value, indent=indent)


def write_sorted_json(value: object) -> bytes:
    """The bytes that `read_json` reads back, on lines for a person to read; equal values are equal bytes.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(to_jsonable_python(value), indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """How a type is read and written; made when it is first needed, as that takes some milliseconds."""
    return TypeAdapter(kind)


def explain_json(error: ValidationError, whole: str, columns: Columns | None = None) -> str:
    """What is wrong with JSON, as a sentence that begins with the place: `report.round is text, not a whole number`.

    Args:
        error: what pydantic found.
        whole: what was read, the place's first word.
        columns: where rows stand in it.
    """
    # The first alone: what follows is often a consequence of it.
    details = error.errors(include_url=False)[0]
    if details["type"] == "json_invalid":
        return f"the {whole} is not JSON: {details['ctx']['error']}"
    place = _place(whole, details["loc"], columns or {})
    return _about_row(place, details) or f"{place} {_what(details)}"


def explain_unreadable(error: OSError | ValidationError, whole: str) -> str:
    """Why a file gave no value: what the disk said, or what is wrong with the JSON in it; `whole` as `explain_json`."""
    return explain_json(error, whole) if isinstance(error, ValidationError) else str(error)


def read_beside(path: Path, kind: type[Kind], whole: str) -> Kind | None:
    """Read a value from a JSON file in a model's directory; None where there is no such file.

    Args:
        path: of the file.
        kind: of the value.
        whole: what it is called in errors.

    Raises:
        UnusableModel: the file is damaged.
    """
    try:
        return read_json(kind, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UnusableModel(
            f"{path} cannot be read: {explain_unreadable(error, whole)}; verify the generation, roll back if it is "
            "damaged"
        ) from error


def _place(whole: str, location: Sequence[int | str], columns: Columns) -> str:
    place, names = whole, columns.get(str(location[0]), ()) if location else ()
    for before, part in zip((None, *location), location, strict=False):
        if isinstance(part, str):
            place += f".{part}"
        elif isinstance(before, int) and part < len(names):
            place += f".{names[part]}"
        else:
            place += f"[{part}]"
    return place


def _about_row(place: str, details: ErrorDetails) -> str:
    """What is wrong with the number of a row's columns; empty where it is something else."""
    row, _, column = place.rpartition(".")
    if details["type"] == "missing_positional_only_argument":
        value = details["input"]
        lacks = f"has {len(value)} columns, it lacks {column}" if isinstance(value, list) else _not("an array", value)
        return f"{row} {lacks}"
    if details["type"] == "unexpected_positional_argument":
        return f"{place.rpartition('[')[0]} has more columns than are known"
    return ""


def _what(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if kind in SENTENCES:
        return SENTENCES[kind]
    if kind in EXPECTED:
        return _not(EXPECTED[kind], value)
    if kind == "greater_than_equal":
        return f"is {value}, less than {details['ctx']['ge']}"
    if kind == "columns":
        return details["msg"]
    if kind in ("literal_error", "enum"):
        return f"is {_show(value)}, not {details['ctx']['expected']}"
    return f"is {_show(value)}: {details['msg'].removeprefix('Value error, ')}"


def _not(expected: str, value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return f"is {names.get(type(value), 'a number')}, not {expected}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


UNKNOWN: Final = "is not a field that this version of Riverkeep knows"
SENTENCES: Final = {"missing": "is missing", "extra_forbidden": UNKNOWN, "unexpected_keyword_argument": UNKNOWN}
EXPECTED: Final = {
    **dict.fromkeys(("int_type", "int_from_float"), "a whole number"),
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    **dict.fromkeys(("tuple_type", "list_type", "frozen_set_type", "arguments_type"), "an array"),
    **dict.fromkeys(("dict_type", "mapping_type", "dataclass_type", "model_type"), "an object"),
}
"""What pydantic wanted where it found something else, by the name of its error."""
