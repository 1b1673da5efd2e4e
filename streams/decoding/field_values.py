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


def key(found: object, field: Field, value: bytes) -> str | Rejection | None:
    """A field's value as a key: a string as it is, a whole number however it is written; None where it is empty."""
    if isinstance(found, str):
        if "\0" in found:
            return Reason.WRONG_TYPE, f"field {field.name} holds a NUL character: a key has none"
        return found or None
    exact = _restore_digits(found, field, value)
    number = numbers.whole(exact)
    if number is not None:
        return str(number)
    if numbers.is_rounded(exact):
        why = "a number of more than 15 digits with a point or an exponent: its last digits are lost"
        return Reason.WRONG_TYPE, f"field {field.name} is {why}; write it whole, or as a string"
    return wrong(field, found, "a string or a whole number")


def _restore_digits(found: object, field: Field, value: bytes) -> object:
    """The value as it was written, where reading it fast made a float of a whole number."""
    if not numbers.is_rounded(found):
        return found
    with suppress(ValueError, RecursionError):
        return field.find(numbers.exactly(value))
    return found


def label_names(found: object, field: Field, value: bytes, *, any_number: bool) -> tuple[str, ...]:
    """The names that a value may have as a label, the likeliest first; none where it can be no label.

    Other tools write `1.0` for `1`, and `True` for `true`.

    Args:
        found: what the field holds.
        field: which one.
        value: the record.
        any_number: also one with a fraction may be a name, being compared with those there are.
    """
    found = _restore_digits(found, field, value)
    if isinstance(found, bool):
        return (str(found).lower(), str(found))
    number = numbers.whole(found)
    if number is not None:
        return (str(number), str(found)) if isinstance(found, float) else (str(number),)
    if isinstance(found, str):
        written = _FLOAT_WRITTEN.fullmatch(found)
        return (found, written[1]) if written else (found,)
    return (str(found),) if any_number and isinstance(found, float) else ()


def keys_behind(sought: re.Pattern[bytes], value: bytes) -> Iterator[str]:
    """The keys that stand behind their field's name in bytes that may be no whole JSON: see `fields.behind`."""
    for match in sought.finditer(value):
        try:
            found = orjson.loads(match[1])
            found = numbers.exactly(match[1]) if numbers.is_rounded(found) else found
        except ValueError:
            with suppress(ValueError):
                yield str(int(match[1]))
            continue
        if isinstance(found, str):
            if found and "\0" not in found:
                yield found
        elif (number := numbers.whole(found)) is not None:
            yield str(number)


def wrong(field: Field, found: object, wanted: str) -> Rejection:
    """That a field holds something else than what is wanted of it."""
    is_ = "a number with a fraction" if isinstance(found, float) and not found.is_integer() else None
    return Reason.WRONG_TYPE, f"field {field.name} is {is_ or type_name(found)}, not {wanted}"


def type_name(found: object) -> str:
    """What JSON calls a value."""
    return "an object" if isinstance(found, dict) else _JSON_TYPES.get(type(found), "odd")
