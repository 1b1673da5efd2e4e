"""Which field of a record a name means: a name may hold dots itself, and a dot also reaches into an object."""

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

MISSING: Final = object()
"""What is found where a record has no such field."""
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"|\'([^\']*)\'')
_ESCAPED: Final = re.compile(r'\\(["\\])')
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class LeavesOut(dict[str, Any]):
    """An object whose writer leaves out what a field would be anyhow (zero, the empty text), as Protobuf's do.

    As a text or as a label it is that; nobody's key is 0 because none was written, and no text is of 1970.

    Args:
        unset: what the fields are that it leaves out.
        fields: the fields that it has.
        why: what it is, where its fields cannot be read; empty where they can.
    """

    __slots__ = ("unset", "why")

    def __init__(self, unset: Mapping[str, Any], fields: Mapping[str, Any] = _NOTHING, *, why: str = "") -> None:
        super().__init__(fields)
        self.unset = unset
        self.why = why


class Field:
    """A field by its name in the settings.

    A field that bears the whole name comes first; then each dot may reach into an object, and of the names that this
    leaves the longest comes first. What stands in quotes, as in TOML's keys, is one name, dots and all.

    Args:
        name: as `text`, `payload.body`, `"log.message"` or `"log.message".text`.

    Attributes:
        name: as it was given.
        plain: the only name that it can mean; None where there are several.

    Raises:
        ValueError: a quote at the beginning of a part is not closed, or text follows it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        parts = list(_parts(name))
        self._size = len(parts)
        # For each part: the names that begin there, longest first, and the part that follows.
        self._names = [list(_beginning(parts, start)) for start in range(len(parts))]
        self.plain = name if self._size == 1 and parts[0] == (name, False) else None

    def find(self, record: object) -> object:
        """What the record has there, null as None; `MISSING` where it has no such field."""
        # A field that bears the whole name, quotes and all, comes before any reading of the name.
        if isinstance(record, dict) and self.name in record:
            return record[self.name]
        return self._dig(record, 0)

    def left_out(self, record: object) -> object:
        """What the record means there without saying so; `MISSING` where it does not: see `LeavesOut`."""
        return self._dig(record, 0, left_out=True)

    def why_missing(self, record: object) -> str:
        """That the record has no such field, and why, where more is known of it."""
        why = next(
            (each.why for each in self._objects_on_the_way(record, 0) if isinstance(each, LeavesOut) and each.why), ""
        )
        return f"field {self.name} is missing" + (f": {why} stands there" if why else "")

    def _objects_on_the_way(self, value: object, part: int) -> Iterator[object]:
        """The objects on the way there."""
        yield value
        if isinstance(value, dict) and part < self._size:
            for name, next_part in self._names[part]:
                if name in value:
                    yield from self._objects_on_the_way(value[name], next_part)

    def _dig(self, value: object, part: int, *, left_out: bool = False) -> object:
        if part == self._size:
            return value
        if isinstance(value, dict):
            for name, next_part in self._names[part]:
                if name in value and (deeper := self._dig(value[name], next_part, left_out=left_out)) is not MISSING:
                    return deeper
                if left_out and next_part == self._size and isinstance(value, LeavesOut) and name in value.unset:
                    return value.unset[name]
        return MISSING

    def last_names(self) -> tuple[str, ...]:
        """The names under which the value itself may stand, in whichever object."""
        ends = (name for names in self._names for name, after in names if after == self._size)
        return tuple(dict.fromkeys((self.name, *ends)))


def _parts(name: str) -> Iterator[tuple[str, bool]]:
    """The parts between the dots, and whether each was quoted."""
    at = 0
    while True:
        if name[at : at + 1] in ("'", '"'):
            quoted = _QUOTED.match(name, at)
            if quoted is None or name[quoted.end() : quoted.end() + 1] not in ("", "."):
                raise ValueError(f"{name!r}: a part in quotes ends with the same quote, and a dot or nothing follows")
            double, single = quoted.groups()
            yield single if double is None else _ESCAPED.sub(r"\1", double), True
            end = quoted.end()
        else:
            end = name.find(".", at)
            end = len(name) if end < 0 else end
            yield name[at:end], False
        if end == len(name):
            return
        at = end + 1


def _beginning(parts: list[tuple[str, bool]], start: int) -> Iterator[tuple[str, int]]:
    """The names that can begin at a part: itself, and with those behind it as long as none was quoted."""
    if parts[start][1]:
        yield parts[start][0], start + 1
        return
    end = next((at for at in range(start, len(parts)) if parts[at][1]), len(parts))
    for next_part in range(end, start, -1):
        yield ".".join(name for name, _ in parts[start:next_part]), next_part


def behind(field: Field) -> re.Pattern[bytes]:
    """Finds the strings and numbers that stand behind a field's name in bytes which may be no whole JSON."""
    spellings = {
        spelling
        for name in field.last_names()
        # A writer may put letters beyond ASCII as they are, or escape them, as Python's json does.
        for spelling in (name.encode(), orjson.dumps(name)[1:-1], json.dumps(name)[1:-1].encode())
    }
    names = b"|".join(map(re.escape, sorted(spellings)))
    # 4300 digits are the most that Python's `int` reads; the bounds also end the search in a long run of digits.
    number = rb"-?[0-9]{1,4300}(?:\.[0-9]{1,4300})?(?:[eE][+-]?[0-9]{1,9})?"
    # Possessive (`++`): in bytes that are no JSON a text without its end would else be tried in every way.
    return re.compile(rb'"(?:' + names + rb')"\s*:\s*("(?:[^"\\]++|\\.)*+"|' + number + rb")", re.DOTALL)
