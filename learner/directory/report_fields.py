"""Reading a report's JSON field by field, so that each error names where it is."""

import math
from typing import Any

from learner.errors import LearnerError


class BadReport(LearnerError):
    """A report cannot be understood; the message names the field."""


class Fields:
    """A JSON object whose fields are taken one by one, each error naming where it is."""

    def __init__(self, value: object, at: str) -> None:
        if not isinstance(value, dict):
            raise BadReport(f"{at} is {_kind(value)}, not an object")
        self._left: dict[str, Any] = dict(value)
        self._at = at

    def take(self, name: str) -> object:
        """The field's value, which must be there."""
        if name not in self._left:
            raise BadReport(f"{self._at}.{name} is missing")
        return self._left.pop(name)

    def integer(self, name: str, *, at_least: int | None = None) -> int:
        """A whole number."""
        return whole_number(self.take(name), f"{self._at}.{name}", at_least)

    def number(self, name: str) -> float:
        """A number; null is NaN."""
        return _finite_or_nan(self.take(name), f"{self._at}.{name}")

    def numbers(self, name: str) -> dict[str, float]:
        """An object of numbers."""
        return {key: _finite_or_nan(value, at) for key, at, value in self.entries(name)}

    def text(self, name: str) -> str:
        """Text."""
        value = self.take(name)
        if not isinstance(value, str):
            raise BadReport(f"{self._at}.{name} is {_kind(value)}, not text")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of these texts."""
        if (value := self.text(name)) not in choices:
            raise BadReport(f"{self._at}.{name} is {value!r}, not one of {', '.join(choices)}")
        return value

    def rows(self, name: str) -> list[tuple[str, list[Any]]]:
        """An array of arrays, each with where it is."""
        return enumerated(self.take(name), f"{self._at}.{name}")

    def entries(self, name: str) -> list[tuple[str, str, object]]:
        """An object's entries, each with where it is."""
        value, at = self.take(name), f"{self._at}.{name}"
        if not isinstance(value, dict):
            raise BadReport(f"{at} is {_kind(value)}, not an object")
        return [(key, f"{at}.{key}", entry) for key, entry in value.items()]

    def finish(self) -> None:
        """Refuse what has not been taken."""
        if self._left:
            raise BadReport(f"{self._at}.{min(self._left)} is not a field that this version of Riverkeep knows")


def enumerated(value: object, at: str) -> list[tuple[str, list[Any]]]:
    """The rows of an array of arrays, each with where it is."""
    if not isinstance(value, list):
        raise BadReport(f"{at} is {_kind(value)}, not an array")
    for index, row in enumerate(value):
        if not isinstance(row, list):
            raise BadReport(f"{at}[{index}] is {_kind(row)}, not an array")
    return [(f"{at}[{index}]", row) for index, row in enumerate(value)]


def whole_number(value: object, at: str, at_least: int | None) -> int:
    """A whole number, at least `at_least` where that is given."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadReport(f"{at} is {_kind(value)}, not a whole number")
    if at_least is not None and value < at_least:
        raise BadReport(f"{at} is {value}, less than {at_least}")
    return value


def _finite_or_nan(value: object, at: str) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise BadReport(f"{at} is {_kind(value)}, not a number")
    return float(value)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
