"""What a field's value is as a key or as a label, however another tool wrote it."""

import re
from collections.abc import Iterator
from contextlib import suppress

import orjson

from streams.decoding import numbers
from streams.decoding.fields import Field
from streams.document import Reason, Rejection

_FLOAT_WRITTEN = re.compile(r"(-?[0-9]+)\.0+")
_JSON_TYPES = {
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
    bytes: "bytes",
}


def key(field_value: object, field: Field, value: bytes) -> str | Rejection | None:
    """A field's value as a key: a string as it is, a whole number however it is written; None where it is empty."""
    if isinstance(field_value, str):
        if "\0" in field_value:
            return Reason.WRONG_TYPE, f"field {field.name} holds a NUL character: a key has none"
        return field_value or None
    exact = _restore_digits(field_value, field, value)
    number = numbers.whole(exact)
    if number is not None:
        return str(number)
    if numbers.is_rounded(exact):
        why = "a number of more than 15 digits with a point or an exponent: its last digits are lost"
        return Reason.WRONG_TYPE, f"field {field.name} is {why}; write it whole, or as a string"
    return wrong(field, field_value, "a string or a whole number")


def _restore_digits(field_value: object, field: Field, value: bytes) -> object:
    """The value as it was written, where reading it fast made a float of a whole number."""
    if not numbers.is_rounded(field_value):
        return field_value
    # What cannot be read exactly stays the float, which is then refused as a key.
    with suppress(ValueError, RecursionError):
        return field.find(numbers.exactly(value))
    return field_value


def label_names(field_value: object, field: Field, value: bytes, *, any_number: bool) -> tuple[str, ...]:
    """The names that a value may have as a label, the likeliest first; none where it can be no label.

    Other tools write `1.0` for `1`, and `True` for `true`.

    Args:
        field_value: what the field holds.
        field: which one.
        value: the record.
        any_number: also one with a fraction may be a name, being compared with those there are.
    """
    field_value = _restore_digits(field_value, field, value)
    # Before the numbers: in Python True is 1.
    if isinstance(field_value, bool):
        return (str(field_value).lower(), str(field_value))
    number = numbers.whole(field_value)
    if number is not None:
        return (str(number), str(field_value)) if isinstance(field_value, float) else (str(number),)
    if isinstance(field_value, str):
        as_float = _FLOAT_WRITTEN.fullmatch(field_value)
        return (field_value, as_float[1]) if as_float else (field_value,)
    return (str(field_value),) if any_number and isinstance(field_value, float) else ()


def keys_behind(sought: re.Pattern[bytes], value: bytes) -> Iterator[str]:
    """The keys that stand behind their field's name in bytes that may be no whole JSON: see `fields.behind`."""
    for match in sought.finditer(value):
        try:
            key_value = orjson.loads(match[1])
            key_value = numbers.exactly(match[1]) if numbers.is_rounded(key_value) else key_value
        # orjson reads no whole number beyond 64 bits; the standard library's `int` reads the digits.
        except ValueError:
            with suppress(ValueError):
                yield str(int(match[1]))
            continue
        if isinstance(key_value, str):
            if key_value and "\0" not in key_value:
                yield key_value
        elif (number := numbers.whole(key_value)) is not None:
            yield str(number)


def wrong(field: Field, field_value: object, expected: str) -> Rejection:
    """That a field holds something else than what is wanted of it."""
    is_ = "a number with a fraction" if isinstance(field_value, float) and not field_value.is_integer() else None
    return Reason.WRONG_TYPE, f"field {field.name} is {is_ or type_name(field_value)}, not {expected}"


def type_name(field_value: object) -> str:
    """What JSON calls a value."""
    return "an object" if isinstance(field_value, dict) else _JSON_TYPES.get(type(field_value), "odd")
