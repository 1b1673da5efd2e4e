"""Which labels a classifier's round may bring, and which its head grows a row for.

A label comes to be known by a person's word: they add it to the end of `model.labels`. It is learned once enough
documents of it have come, of enough different keys, so that neither a mistaken record nor one sender's many makes it an
answer. Until then its documents wait among the fresh text, and none that is held out is judged by.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from gate.held_out import DrawnSlice
from streams.decoding.label_sets import members


class LabelledSample(Protocol):
    """A sample, of which only number, label and key matter here."""

    @property
    def id(self) -> int:
        """Its number in the store."""

    @property
    def label(self) -> str | None:
        """Its label."""

    @property
    def key_hash(self) -> int | None:
        """The keyed hash of its key; None where it has none."""


AnySlice = TypeVar("AnySlice", bound=DrawnSlice)


def labels_to_grow(
    fresh: Iterable[LabelledSample], *, named: Sequence[str], answered: Collection[str], least: int
) -> tuple[str, ...]:
    """The named labels that are not answered yet, and that documents of enough different keys have.

    Args:
        fresh: what a round would train on. A document without a key counts by itself.
        named: in the settings, in their order.
        answered: by the parent.
        least: how many keys.
    """
    keys: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for sample in fresh:
        key = ("document", sample.id) if sample.key_hash is None else ("key", sample.key_hash)
        for label in members(sample.label):
            keys[label].add(key)
    return tuple(label for label in named if label not in answered and len(keys[label]) >= least)


def judged_by(slices: Iterable[AnySlice], answered: Collection[str] | None) -> list[AnySlice]:
    """The slices without documents whose label the parent has no answer for: with nothing can it be compared there."""
    if answered is None:
        return list(slices)
    return [kept for piece in slices if (kept := _without_others(piece, set(answered))).samples]


def _without_others(piece: AnySlice, answered: set[str]) -> AnySlice:
    # Slices are frozen dataclasses, with text or without; the protocol cannot say so.
    drawn: Any = piece
    kept: AnySlice = replace(drawn, samples=tuple(each for each in piece.samples if members(each.label) <= answered))
    return kept
