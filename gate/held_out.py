"""What a round is judged on: the slices that were drawn, whether they are enough, and how they are joined to be judged.

All counting is in keys: documents of one key (an author, a thread) are good or bad together, so that ten of them say
hardly more than one. A document without a key counts by itself.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

import pydantic.dataclasses
from pydantic import Strict

from checkpoints.json_files import STRICT, InOrder
from gate.keys import KeyOf, keys_among
from memory.ledger.records import SliceKind
from streams.decoding.several_labels import members


class DrawnSample(Protocol):
    """A sample, of which only number and label matter here."""

    @property
    def id(self) -> int:
        """The sample's number in the store."""

    @property
    def label(self) -> str | None:
        """A classifier's label."""


class DrawnSlice(Protocol):
    """A slice as the memory draws it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """`anchor`, `newest` or `period`."""

    @property
    def source(self) -> str:
        """Where its text came from."""

    @property
    def samples(self) -> Sequence[DrawnSample]:
        """Its documents."""

    @property
    def keys(self) -> Mapping[int, int]:
        """The least drawn document of the same key, for each document that is not that one itself."""


AnySlice = TypeVar("AnySlice", bound=DrawnSlice)


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class HeldOut:
    """A slice as it was drawn.

    Attributes:
        kind: the anchor, text of earlier rounds (`period`), or what no accepted round was trained on yet.
        documents: the ids that must have been scored.
        labels: those that its documents have; empty for a causal LM.
        keys: the least drawn document of the same key, for each document that is not that one itself; empty where a
            version before keys were counted drew the slice, so that each document counts by itself.
    """

    name: str
    kind: SliceKind
    source: str
    documents: Annotated[frozenset[int], InOrder]
    labels: Annotated[frozenset[str], InOrder] = frozenset()
    keys: Mapping[Annotated[int, Strict(strict=False)], int] = field(default_factory=dict)

    @classmethod
    def of(cls, drawn: DrawnSlice) -> "HeldOut":
        """What the gate needs to know of a drawn slice.

        Raises:
            ValueError: it is of no known kind.
        """
        kinds: dict[str, SliceKind] = {"anchor": "anchor", "period": "period", "newest": "newest"}
        if drawn.kind not in kinds:
            raise ValueError(f"slice {drawn.name} is of kind {drawn.kind!r}, not one of {', '.join(kinds)}")
        documents = frozenset(each.id for each in drawn.samples)
        labels = frozenset(each.label for each in drawn.samples if each.label is not None)
        return cls(drawn.name, kinds[drawn.kind], drawn.source, documents, labels, dict(drawn.keys))


REMEDY = "take in text of before the stream with `riverkeep backfill --before-stream`"

LABELS_TO_TELL: Final = 2
"""Held-out text of a single label cannot tell a classifier that has learned from one that always answers alike."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a verdict rests on whatever is trained, of which there must be enough.

    Attributes:
        what: text of the anchor or the newest text, or the different labels of all held-out text.
        found: how many keys of it there are, or labels.
        needed: how many there must be.
        documents: of such text; as many as `found` where each has a key of its own.
    """

    what: Literal["anchor", "newest", "labels"]
    found: int
    needed: int
    documents: int = 0

    @property
    def is_met(self) -> bool:
        """Whether there are enough."""
        return self.found >= self.needed

    def sentence(self) -> str:
        """What is lacked of how much, and how it comes, for a person."""
        if self.what == "labels":
            return (
                f"the held-out text has documents of {self.found} labels, at least {self.needed} are needed to tell a "
                f"classifier that has learned from one that always answers alike: {REMEDY}, or wait for another label"
            )
        text, remedy = ("anchor", REMEDY) if self.what == "anchor" else ("new", "")
        if not self.found:
            return f"there is no held-out {text} text to judge by" + (f": {remedy}" if remedy else "")
        # Only where it differs: most people's documents have no keys, and they need not learn of them here.
        keyed = self.documents > self.found
        counted = f"{self.documents} documents of {self.found} keys" if keyed else f"{self.found} documents"
        wait = f"wait for {self.needed - self.found} more"
        return f"the held-out {text} text has {counted}, at least {self.needed}{' keys' * keyed} are needed: " + (
            f"{remedy}, or {wait}" if remedy else wait
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Slices that are judged as one."""

    name: str
    kind: SliceKind
    members: tuple[HeldOut, ...]

    @property
    def documents(self) -> frozenset[int]:
        """Its documents."""
        return frozenset[int]().union(*(member.documents for member in self.members))

    @property
    def key_of(self) -> KeyOf:
        """The key of each document whose key another drawn document has."""
        return {document: key for member in self.members for document, key in member.keys.items()}

    @property
    def size(self) -> int:
        """How many keys its documents have."""
        return keys_among(self.documents, self.key_of)


@dataclass(frozen=True, slots=True)
class Groups:
    """All comparisons of a round.

    Attributes:
        newest: all new text together: on it a candidate must be better.
        sources: each new source by itself, where there are several: none may be sacrificed for the rest.
        older: anchor and earlier slices: none may be forgotten.
    """

    newest: Group
    sources: tuple[Group, ...]
    older: tuple[Group, ...]


class InsufficientEvidence(Exception):
    """Something that a verdict rests on is missing or damaged; the message says what."""


def group_slices(slices: Sequence[HeldOut], minimum: int, *, enough: int = 0, enough_new: int = 0) -> Groups:
    """Group the drawn slices so that each group has enough keys to be judged.

    Older slices with too few keys are joined, in the order of their names, until each group has enough; what is left
    over joins the smallest. Should all of them together have too few to be judged, they join the anchor in the last
    resort, so that a handful of documents can neither go unwatched nor block every round. New sources are joined alike,
    and left out where they have too few even so.

    Args:
        slices: as drawn.
        minimum: keys that anything must have to be judged.
        enough: keys from which on an older slice is judged alone; `minimum` at least.
        enough_new: the same of a new source.

    Raises:
        InsufficientEvidence: there is no anchor or no new text, or too little of it.
    """
    unmet = [need for need in needs(slices, minimum) if not need.is_met]
    if unmet:
        raise InsufficientEvidence(unmet[0].sentence())
    new, anchors, old = _part_by_kind(slices, minimum, max(enough, minimum))
    return Groups(_join("newest", new), tuple(_by_source(new, minimum, max(enough_new, minimum))), (*anchors, *old))


def needs(slices: Iterable[HeldOut], minimum: int, *, labels: int = 0) -> tuple[Need, ...]:
    """What a verdict on these slices rests on, whatever is trained: for the gate, and before a round begins.

    Args:
        slices: as drawn, or as they would be.
        minimum: keys of the anchor and of the newest text.
        labels: how many different ones all held-out text must have; 0 where there are none.
    """
    listed = list(slices)
    # Whether the anchor has to carry older text hangs on the minimum alone, not on what would be enough to prove much.
    new, anchors, _ = _part_by_kind(listed, minimum, minimum)
    newest = _join("newest", new)
    anchor = anchors[0] if anchors else _join("anchor", [])
    needed = [
        Need("anchor", anchor.size, minimum, len(anchor.documents)),
        Need("newest", newest.size, minimum, len(newest.documents)),
    ]
    if labels:
        needed.append(Need("labels", len(frozenset[str]().union(*(each.labels for each in listed))), labels))
    return tuple(needed)


def members_of(groups: Iterable[Group]) -> list[HeldOut]:
    """The slices of several groups."""
    return [member for group in groups for member in group.members]


def _part_by_kind(
    slices: Iterable[HeldOut], minimum: int, enough: int
) -> tuple[list[HeldOut], list[Group], list[Group]]:
    """The newest slices; the groups of the anchor; and those of earlier text, smallest first."""
    ordered = sorted(slices, key=lambda each: each.name)
    new = [each for each in ordered if each.kind == "newest"]
    anchors = _pool([_join("anchor", [each]) for each in ordered if each.kind == "anchor"], minimum)
    old = _pool([_join("period", [each]) for each in ordered if each.kind == "period"], enough)
    if len(old) == 1 and old[0].size < minimum and anchors:
        anchors[0] = _join("anchor", [*anchors[0].members, *old.pop().members])
    return new, anchors, old


def _pool(alone: Sequence[Group], enough: int) -> list[Group]:
    """Large groups as they are, small ones joined until they are large; smallest first."""
    pooled = [group for group in alone if group.size >= enough]
    waiting: list[Group] = []
    for group in alone:
        if group.size < enough:
            waiting.append(group)
            if (joined := _unite(waiting)).size >= enough:
                pooled.append(joined)
                waiting = []
    # By name among equals: the same slices are to be grouped alike whatever order they were drawn in.
    pooled.sort(key=lambda group: (group.size, group.name))
    if waiting and pooled:
        # The smallest, in which their harm is diluted least.
        pooled[0] = _unite([pooled[0], *waiting])
        pooled.sort(key=lambda group: (group.size, group.name))
    return pooled or ([_unite(waiting)] if waiting else [])


def _by_source(slices: Sequence[HeldOut], minimum: int, enough: int) -> list[Group]:
    sources = sorted({each.source for each in slices})
    alone = [_join("newest", [each for each in slices if each.source == source]) for source in sources]
    few = [group for group in alone if group.size < minimum]
    if few and _unite(few).size < minimum:
        alone = [group for group in alone if group.size >= minimum]
    groups = _pool(alone, enough)
    # All of them together are judged already, by the stricter demand that they be learned.
    return [group for group in groups if len(group.members) < len(slices)]


def _unite(groups: Sequence[Group]) -> Group:
    return _join(groups[0].kind, list(members_of(groups)))


def _join(kind: SliceKind, members: Sequence[HeldOut]) -> Group:
    return Group(" + ".join(member.name for member in members), kind, tuple(members))


def judged_by(
    slices: Iterable[AnySlice],
    answered: Collection[str] | None,
    learned: Callable[[], Collection[str]] = tuple,
    *,
    minimum: int = 0,
) -> list[AnySlice]:
    """The slices without documents whose label the parent has no answer for: with nothing can it be compared there.

    Where too little of the newest text is left so, a round that learns such labels is judged on their documents too:
    its candidates have to be better there than chance, which is what the parent knows of them.

    Args:
        slices: as drawn, or as they would be.
        answered: the labels that the parent answers; None for a causal LM.
        learned: gives those that the round learns besides; asked only where that matters.
        minimum: keys of the newest text that a verdict needs.
    """
    if answered is None:
        return list(slices)
    listed, old = list(slices), set(answered)
    judged = _within(listed, old, newest=old)
    if _is_enough_new(judged, minimum) or not (new := learned()):
        return judged
    with_new = _within(listed, old, newest={*old, *new})
    return with_new if _is_enough_new(with_new, minimum) else judged


def _is_enough_new(slices: Iterable[DrawnSlice], minimum: int) -> bool:
    needed = needs([HeldOut.of(piece) for piece in slices], minimum)
    return all(need.is_met for need in needed if need.what == "newest")


def _within(slices: Iterable[AnySlice], answered: set[str], *, newest: set[str]) -> list[AnySlice]:
    """The slices without documents of labels that are not among these, or of the newest text among those."""
    parts = [_without_others(piece, newest if piece.kind == "newest" else answered) for piece in slices]
    return [part for part in parts if part.samples]


def _without_others(piece: AnySlice, answered: set[str]) -> AnySlice:
    # Slices are frozen dataclasses, with text or without; the protocol cannot say so.
    drawn: Any = piece
    kept: AnySlice = replace(drawn, samples=tuple(each for each in piece.samples if members(each.label) <= answered))
    return kept
