"""Slices are known by name: `anchor`, or `SOURCE@FIRST-LAST` of the rounds whose text they hold. Pure."""

from typing import Final

ANCHOR: Final = "anchor"


def name_of(source: str, first_round: int, last_round: int) -> str:
    """The name of what came of a source from one round to another."""
    return f"{source}@{first_round}-{last_round}"


def source_of(name: str) -> str:
    """Whose text it holds; empty for the anchor."""
    return name.rpartition("@")[0]


def rounds_of(name: str) -> str:
    """The rounds whose text it holds, `FIRST-LAST`; the anchor's own name."""
    return name.rpartition("@")[2]


def first_round(name: str) -> int:
    """The first of its rounds; 0 for the anchor, and for a name that tells none."""
    first = rounds_of(name).partition("-")[0]
    return int(first) if first.isdecimal() else 0


def last_round(name: str) -> int:
    """The last of its rounds; 0 for the anchor, and for a name that tells none."""
    last = rounds_of(name).rpartition("-")[2]
    return int(last) if last.isdecimal() else 0


def in_order(name: str) -> tuple[bool, str, int, str]:
    """A key to sort by: the anchor, then source after source, each in the order in which its text came."""
    return name != ANCHOR, source_of(name), first_round(name), name
