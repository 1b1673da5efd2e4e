"""On which line of a TOML text each key is written."""

import re

from daemon.settings.fields import Key

HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


def line_numbers(text: str) -> dict[Key, int]:
    """The line (from 1) on which each key of a TOML text is written.

    Reads headers and assignments only, which is enough to point a person to the place: a line within a
    multi-line string that looks like an assignment may add a key that nobody asks for.
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    lengths: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _key(header[2])
            if header[1] == "[[":
                index = lengths.get(table, 0)
                lengths[table] = index + 1
                lines.setdefault(table, number)
                table = (*table, index)
            lines.setdefault(table, number)
        elif assignment := ASSIGNMENT.match(line):
            lines.setdefault((*table, *_key(assignment[1])), number)
    return lines


def _key(written: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in written.split("."))
