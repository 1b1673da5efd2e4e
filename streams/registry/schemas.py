"""How the bytes behind a schema registry's five are read: by JSON, or by a schema of Avro or Protobuf."""

import datetime as dt
import decimal
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from streams.decoding import json_records
from streams.document import Reason, Rejection

SHOWN_CHARACTERS: Final = 200
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})
_ANSWERED_IN_WORDS: Final = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)

Body = Callable[[bytes], Any]
"""Reads what stands behind the five bytes; a tuple is a `Rejection`."""


class Unusable(Exception):
    """Nothing can be read by this schema; why not, for a person."""


class NeedsPackage(Exception):
    """The library for schemas of a kind is not installed; says which."""


def reader(number: int, kind: str, text: str, referred_to: Mapping[str, str]) -> Body:
    """What reads the values of a schema.

    Args:
        number: of the schema.
        kind: `AVRO`, `JSON` or `PROTOBUF`, as the registry calls it.
        text: the schema itself.
        referred_to: the schemas that it refers to by the names under which it does, each after those that it refers to
            itself.

    Raises:
        NeedsPackage: what reads this kind is not installed.
        NotNow: it may be read later.
    """
    # The text alone is read, not checked by its schema: what is missing in it is told field by field.
    if kind == "JSON":
        return json_records.load
    try:
        if kind == "AVRO":
            return _avro(number, text, list(referred_to.values()))
        if kind == "PROTOBUF":
            return _protobuf(number, text, referred_to)
    except Unusable as error:
        return _refusing((Reason.SCHEMA_FRAMED, f"schema {number} cannot be used: {error}"))
    remedy = "let the producer write Avro, Protobuf or JSON Schema, or a connector between plain JSON"
    return _refusing((Reason.SCHEMA_FRAMED, f"schema {number} is of a kind not read here ({kind}): {remedy}"))


def _refusing(why: Rejection) -> Body:
    return lambda _: why


def _protobuf(number: int, text: str, referred_to: Mapping[str, str]) -> Body:
    try:
        from streams.registry import protobuf_messages, protobuf_schemas  # noqa: PLC0415  # of an extra, as above
    except ImportError as error:
        raise NeedsPackage(error.name or "grpcio-tools") from error
    try:
        return protobuf_messages.reader(number, text, referred_to)
    except ImportError as error:
        raise NeedsPackage(error.name or "grpcio-tools") from error
    except protobuf_schemas.NotCompiled as error:
        detail = f"{error}; let its producer register it again, with all that it imports, so that protoc compiles it"
        raise Unusable(detail) from error


def _avro(number: int, text: str, referred_to: Sequence[str]) -> Body:
    try:
        import fastavro  # noqa: PLC0415  # of an extra, and only where it is needed
        from fastavro import _read_py as by_python  # noqa: PLC0415
    except ImportError as error:
        raise NeedsPackage("fastavro") from error
    named_schemas: dict[str, Any] = {}
    try:
        for referred in referred_to:
            fastavro.parse_schema(orjson.loads(referred), named_schemas=named_schemas)
        # In Avro a record of one field is that field: so a union and a name alone can be read as well.
        frame = {"type": "record", "name": "RiverkeepFrame", "fields": [{"name": "value", "type": orjson.loads(text)}]}
        parsed = fastavro.parse_schema(frame, named_schemas=named_schemas)
        recursive = _Shape(named_schemas).is_recursive(parsed)
    except Exception as error:  # it raises whatever it meets
        raise Unusable(f"{type(error).__name__}: {str(error)[:SHOWN_CHARACTERS]}") from error
    # The compiled reader ends the process where a record's depth is beyond the stack.
    read_value = by_python.schemaless_reader if recursive else fastavro.schemaless_reader
    return lambda body: _read_avro(read_value, parsed, body, number)


def _read_avro(read_value: Callable[..., Any], schema: object, body: bytes, number: int) -> Any:
    stream = io.BytesIO(body)
    try:
        value = in_words(read_value(stream, schema, None)["value"])
    except RecursionError:
        return Reason.TOO_DEEP, "records or arrays in one another without end"
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, f"a text in it is no UTF-8 (Avro, schema {number})"
    except Exception as error:  # noqa: BLE001  # whatever the bytes are: it raises what it meets
        # Its words may hold what stands in the record.
        return Reason.NOT_OF_SCHEMA, f"the bytes are no Avro of schema {number} ({type(error).__name__})"
    # Avro has no marks in its bytes: by a wrong schema they may read well, and seldom to the last one.
    if stream.tell() != len(body):
        return Reason.NOT_OF_SCHEMA, f"bytes are left over behind what schema {number} describes (Avro)"
    return value


def in_words(value: Any) -> Any:
    """What Avro's types hold that JSON has not, as JSON's writers have it: times in ISO 8601, numbers as digits."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {name: in_words(each) for name, each in value.items()}
    if kind is list:
        return [in_words(each) for each in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value) if isinstance(value, _ANSWERED_IN_WORDS) else value


class _Shape:
    """What a parsed Avro schema allows its values to be.

    Args:
        named: its named types and those it refers to.
    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._inside: set[str] = set()
        self._empty: dict[str, bool] = {}
        self._recursive = False

    def is_recursive(self, schema: Any) -> bool:
        """Whether a value may hold one of its own kind.

        Raises:
            Unusable: a few bytes may stand for any number of items.
        """
        self._is_empty(schema)
        return self._recursive

    def _is_empty(self, schema: Any) -> bool:
        """Whether a value of it takes no bytes at all."""
        if isinstance(schema, list):
            for each in schema:
                self._is_empty(each)
            return False  # the number of the alternative
        if isinstance(schema, str):
            return self._is_empty(self._named[schema]) if schema in self._named else schema == "null"
        if schema["type"] in ("record", "error"):
            return self._is_empty_record(schema)
        return self._is_empty_other(schema, schema["type"])

    def _is_empty_other(self, schema: Any, kind: Any) -> bool:
        if kind == "array":
            if self._is_empty(schema["items"]):
                raise Unusable("an array of items that take no bytes, of which a short record may hold billions")
            return False
        if kind == "map":
            self._is_empty(schema["values"])
            return False
        if kind == "fixed":
            return bool(schema["size"] == 0)
        return False if kind == "enum" else self._is_empty(kind)

    def _is_empty_record(self, schema: Any) -> bool:
        name = schema["name"]
        if name in self._inside:
            self._recursive = True
            return False
        if name not in self._empty:
            self._inside.add(name)
            # Of each, not of all until one is not: what lies behind is looked at too.
            empty = [self._is_empty(each["type"]) for each in schema["fields"]]
            self._empty[name] = all(empty)
            self._inside.discard(name)
        return self._empty[name]
