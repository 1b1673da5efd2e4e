"""What a request names, as an operation's arguments: read strictly, with a sentence for whoever asks wrongly."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from daemon.control.arguments import Arguments
from daemon.control.bounds import LARGEST_ID
from daemon.errors import BadRequest, UnknownThing

A = TypeVar("A", bound=Arguments)
FLAGS: Final = {"false": 0, "true": 1}


def check_arguments(model: type[A], fields: Any) -> A:
    """Fields as this model of them. Raises BadRequest with the first mistake."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise BadRequest(_problem(error.errors(include_input=False, include_url=False)[0], model)) from None


def _problem(details: ErrorDetails, model: type[Arguments]) -> str:
    where = ".".join(map(str, details["loc"])) or "body"
    if details["type"] == "extra_forbidden":
        return f"{where}: there is no such field; there may be: {', '.join(model.names())}"
    return f"{where}: {details['msg']}"


def read_query(query: Iterable[tuple[str, str]], model: type[Arguments]) -> dict[str, int | str]:
    """What a query names; other names are passed over. Raises BadRequest.

    It is whole numbers, the model's words, and `true` and `false`, which clients that are generated write for a flag.
    """
    return {name: _value(name, text, model) for name, text in query if name in model.names()}


def _value(name: str, text: str, model: type[Arguments]) -> int | str:
    if name in model.words:
        return text
    if name in model.flags() and text.lower() in FLAGS:
        return FLAGS[text.lower()]
    return _whole(name, text)


def _whole(name: str, text: str) -> int:
    if not is_number(text):
        raise BadRequest(f"`{name}` must be a whole number, got {text[:40]!r}.")
    return int(text)


def read_number(text: str, thing: str) -> int:
    """The number that a path names. Raises UnknownThing for what is no number of any."""
    if not is_number(text):
        raise UnknownThing(f"There is no {thing} {text[:40]}.")
    return int(text)


def is_number(text: str) -> bool:
    """Whether it is a whole number of 64 bits; `int` also takes signs, spaces and digits of other scripts."""
    # The length before `int`, which fails on thousands of digits with an error of its own.
    return text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID)) and int(text) <= LARGEST_ID
