"""Partitions that a flood of dead letters paused, and what is said of them wherever it is said."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from streams.document import Pause

P = TypeVar("P")


def flooded(paused: Mapping[P, str]) -> list[P]:
    """Those that a flood paused, among partitions that are paused for any reason."""
    return [partition for partition, why in paused.items() if why == Pause.DEAD_LETTER_FLOOD]


def flood_sentence(names: Sequence[str]) -> str:
    """What happened to these partitions, and what a person does about it."""
    remedy = "when it is mended, run `riverkeep memory dead-letters resume`"
    return f"a flood of dead letters paused {', '.join(names)}: {remedy}"
