"""Which field of a record a name means: a name may hold dots itself, and a dot also reaches into an object."""

import json
import re
from collections.abc import Iterator
from typing import Final

import orjson

MISSING: Final = object()
"""What is found where a record has no such field."""
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"|\'([^\']*)\'')
_ESCAPED: Final = re.compile(r'\\(["\\])')


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
        if isinstance(record, dict) and self.name in record:
            return record[self.name]
        return self._dig(record, 0)

    def _dig(self, found: object, part: int) -> object:
        if part == self._size:
            return found
        if isinstance(found, dict):
            for name, after in self._names[part]:
                if name in found and (deeper := self._dig(found[name], after)) is not MISSING:
                    return deeper
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
    for after in range(end, start, -1):
        yield ".".join(name for name, _ in parts[start:after]), after


def behind(field: Field) -> re.Pattern[bytes]:
    """Finds the strings and numbers that stand behind a field's name in bytes which may be no whole JSON."""
    spellings = {
        spelling
        for name in field.last_names()
        for spelling in (name.encode(), orjson.dumps(name)[1:-1], json.dumps(name)[1:-1].encode())
    }
    names = b"|".join(map(re.escape, sorted(spellings)))
    number = rb"-?[0-9]{1,4300}(?:\.[0-9]{1,4300})?(?:[eE][+-]?[0-9]{1,9})?"
    return re.compile(rb'"(?:' + names + rb')"\s*:\s*("(?:[^"\\]++|\\.)*+"|' + number + rb")", re.DOTALL)
