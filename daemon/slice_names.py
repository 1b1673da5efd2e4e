"""Slices are known by name: `anchor`, or `SOURCE@FIRST-LAST` of the rounds whose text they hold. Pure."""

from collections.abc import Iterable
from typing import Final

from daemon.printable import inline

ANCHOR: Final = "anchor"


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


def names_explained(names: Iterable[str]) -> list[str]:
    """What the names of slices say, by one of them: a line; none where there are only sources' own words."""
    for name in names:
        first, dash, last = rounds_of(name).partition("-")
        if name != ANCHOR and dash:
            of = f"round {first}" if first == last else f"rounds {first} to {last}"
            return [f"{inline(name)}: held-out text of {inline(source_of(name))} that arrived in time for {of}."]
    return []


def in_order(name: str) -> tuple[bool, str, int, str]:
    """A key to sort by: the anchor, then source after source, each in the order in which its text came."""
    return name != ANCHOR, source_of(name), first_round(name), name
