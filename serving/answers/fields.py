"""Fields that come in several shapes, read by hand: the first mistake is named by its place, and costs nothing more."""

import math
from typing import Any, Final, NoReturn

import orjson

from serving.errors import RequestError

MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 256
MAX_STOP_IDS: Final = 64
MAX_BIASES: Final = 1024
MAX_BIAS: Final = 100
PROMPT_SHAPES: Final = "a text, texts, token ids, or lists of token ids are needed"
LONGEST_ECHO: Final = 64


def read_prompts(value: object) -> list[str | list[int]]:
    """The prompts, each a text or token ids, of a field that holds a text, texts, token ids, or lists of them.

    Raises:
        RequestError: it holds something else.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        refuse("prompt", PROMPT_SHAPES)
    # None at all is left to the route, which knows how many there may be.
    if not value or isinstance(value[0], str):
        _require_all("prompt", value, str, PROMPT_SHAPES)
        return value
    if isinstance(value[0], list):
        _require_all("prompt", value, list, PROMPT_SHAPES)
        for place, ids in enumerate(value):
            _require_all(f"prompt.{place}", ids, int, "a token id is a whole number")
        return value
    _require_all("prompt", value, int, PROMPT_SHAPES)
    return [value]


def read_texts(value: object) -> list[str]:
    """The texts of `input`: one, or a list.

    Raises:
        RequestError: it holds something else.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        refuse("input", "a text or a list of texts is needed")
    _require_all("input", value, str, "a text is needed")
    return value


def read_stops(value: object) -> tuple[str, ...]:
    """The texts of `stop`, before which the answer ends: none, one, or a list.

    Raises:
        RequestError: it holds something else, too many, or one that is empty or too long.
    """
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        refuse("stop", f"a text or a list of up to {MAX_STOPS} texts is needed")
    for number, stop in enumerate(stops):
        if not isinstance(stop, str) or not 0 < len(stop) <= MAX_STOP_LENGTH:
            place = "stop" if isinstance(value, str) else f"stop.{number}"
            refuse(place, f"a text of 1 to {MAX_STOP_LENGTH} characters is needed")
    return tuple(stops)


def read_bias(value: object) -> tuple[tuple[int, float], ...]:
    """The tokens of `logit_bias`, each with what is added to its logit.

    Raises:
        RequestError: it is no object of token ids, or a bias is out of range.
    """
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > MAX_BIASES:
        refuse("logit_bias", f"an object of up to {MAX_BIASES} token ids is needed")
    return tuple((_token_id(token), _bias(token, bias)) for token, bias in value.items())


def _token_id(token: str) -> int:
    # Python's own idea of a number has blanks, underscores and digits of other scripts.
    if not (token.isascii() and token.isdecimal() and len(token) < 10):
        refuse(f"logit_bias.{token[:LONGEST_ECHO]}", "this is no token id")
    return int(token)


def _bias(token: str, bias: Any) -> float:
    numeric = isinstance(bias, int | float) and not isinstance(bias, bool)
    if not numeric or not math.isfinite(bias) or abs(bias) > MAX_BIAS:
        refuse(f"logit_bias.{token}", f"a number from {-MAX_BIAS} to {MAX_BIAS} is needed")
    return float(bias)


def _require_all(place: str, values: list[Any], kind: type, why: str) -> None:
    """Refuse the first value of another kind; a bool is no number here."""
    # By the set of types first: a prompt may be a million ids, for which a loop in Python is slow.
    if set(map(type, values)) - {kind}:
        number = next(number for number, value in enumerate(values) if type(value) is not kind)
        refuse(f"{place}.{number}", why)


def require_shallow(place: str, value: object) -> bytes:
    """A value as JSON; what goes through it after this may call itself for each level.

    Raises:
        RequestError: it holds values in values beyond some hundred levels, or texts that are none.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        refuse(place, "it is nested too deeply, or a text in it is none")


def refuse(place: str, why: str) -> NoReturn:
    """Raises RequestError, which names the place in the request."""
    raise RequestError(f"{place}: {why}", param=place)
