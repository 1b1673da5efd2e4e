"""Numbers as other tools write them: whole ones with a point or an exponent, and beyond 64 bits."""

import json
import math
from typing import Any, Final

EXACT: Final = 2**53
"""Whole numbers below this are floats without loss; of a larger one that was written as a float nobody can tell which
one was meant, and two persons' keys would become one."""


class BadNumber(ValueError):
    """A number that JSON does not have, or too large to be one."""


def whole(value: object) -> int | None:
    """The whole number that a value is, also where it was written as `4711.0` or `1e3`; None where it is none."""
    # In Python True is an int, and would be the key 1.
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return None


def is_rounded(value: object) -> bool:
    """Whether a value was read as a float so large that its last digits are gone: `exactly` has them."""
    return isinstance(value, float) and abs(value) >= EXACT


def exactly(value: bytes) -> Any:
    """A record of JSON with whole numbers of any length (up to 4,300 digits); ten times slower than `orjson`.

    Raises:
        BadNumber: NaN, an infinity, a float too large to be finite, or a longer number.
        ValueError: it is no JSON, or holds half a surrogate pair.
        RecursionError: it is too deep.
    """
    text = value.decode()
    record = json.loads(text, parse_int=_int, parse_float=_finite, parse_constant=_refuse)
    if r"\u" in text:
        # orjson refuses half a pair; the standard library lets it pass.
        json.dumps(record, ensure_ascii=False).encode()
    return record


def _int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise BadNumber(f"a number of {len(digits)} digits") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadNumber("a number too large for a float")
    return number


def _refuse(word: str) -> float:
    raise BadNumber(f"{word} is no number of JSON")
