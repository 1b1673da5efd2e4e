"""A record in JSON that the fast way does not read: read after all, or the reason why not."""

import re
from typing import Any, Final

import orjson

from streams.decoding import numbers
from streams.document import Reason, Rejection
from streams.file_kinds import encoding_of
from streams.unpacking import codec_of

_NOT_A_NUMBER: Final = re.compile(r"-?\s*(nan|inf)", re.IGNORECASE)
_ORJSON_SAYS: Final = {
    "depth": Reason.TOO_DEEP,
    "surrogate": Reason.LONE_SURROGATE,
    "infinity": Reason.BAD_NUMBER,
}


def load(value: bytes) -> Any:
    """What the bytes say in JSON; a tuple is the `Rejection`."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return after_all(value, error)


def after_all(value: bytes, error: orjson.JSONDecodeError) -> Any:  # noqa: PLR0911  # each fault has its reason
    """The record where nothing is wrong with it but a whole number too long for the fast way; else a `Rejection`."""
    # orjson says "infinity" of any number that overflows a float, whole ones of many digits among them.
    if "infinity" not in error.msg:
        return _why_not_json(value, error)
    try:
        return numbers.exactly(value)
    except numbers.BadNumber as bad:
        return Reason.BAD_NUMBER, f"{bad} at character {error.pos}"
    except UnicodeDecodeError as bad:
        return not_utf8(value, bad)
    except UnicodeEncodeError:
        return Reason.LONE_SURROGATE, "a text of it holds half a surrogate pair"
    except RecursionError:
        return Reason.TOO_DEEP, "objects or arrays in one another without end"
    except ValueError as bad:
        return Reason.NOT_JSON, str(bad)


def not_utf8(value: bytes, error: UnicodeDecodeError) -> Rejection:
    """Why bytes are no text in UTF-8."""
    try:
        # Python takes half a surrogate pair for invalid UTF-8 too; people look for another fault then.
        value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, f"invalid UTF-8 at byte {error.start}{_what_it_is(value)}"
    return Reason.LONE_SURROGATE, f"half a surrogate pair at byte {error.start}"


def _what_it_is(value: bytes) -> str:
    if (codec := codec_of(value)) is not None:
        return f": it begins as {codec} does; send it unpacked, Kafka's producers compress by themselves"
    if (encoding := encoding_of(value)) is not None:
        return f": it begins as {encoding.upper()} does; send UTF-8"
    return ""


def _why_not_json(value: bytes, error: orjson.JSONDecodeError) -> Rejection:
    try:
        text = value.decode()
    except UnicodeDecodeError as bad:
        return not_utf8(value, bad)
    where = f"{error.msg} at character {error.pos}"
    if "\0" in text:
        return Reason.NUL_BYTE, "the record holds a NUL byte"
    # orjson has one error for everything: its words alone tell which fault it is.
    for word, reason in _ORJSON_SAYS.items():
        if word in error.msg:
            return reason, where
    # NaN, Infinity and -Infinity; at the minus orjson has already gone on by one.
    if any(_NOT_A_NUMBER.match(text, place) for place in (error.pos, max(0, error.pos - 1))):
        return Reason.BAD_NUMBER, where
    return Reason.NOT_JSON, where
