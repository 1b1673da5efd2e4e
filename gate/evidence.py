"""The evidence that a report holds: checked against the slices that were drawn, and grouped for comparison.

The gate knows from the round's own draw which documents must have been scored. Whatever is missing, doubled,
not finite or of another length makes the evidence insufficient, never the verdict milder.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, Protocol

import pydantic.dataclasses

from checkpoints.json_files import STRICT, InOrder
from gate.measures import mean_nll
from learner.directory.report import Report, SliceScores
from memory.ledger.records import DocumentScore, SliceKind

Scores = tuple[DocumentScore, ...]

NEGATIVE_LOSS = -1e-6


class DrawnSample(Protocol):
    """A sample, of which only number and label matter here."""

    @property
    def id(self) -> int:
        """The sample's number in the store."""

    @property
    def label(self) -> str | None:
        """A classifier's label."""


class DrawnSlice(Protocol):
    """A slice as the memory draws it and as a round's directory holds it."""

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


KnownScores = Mapping[int, Mapping[int, DocumentScore]]
"""Generation to sample id to score: what the store knows of earlier generations."""


class InsufficientEvidence(Exception):
    """Something that a verdict rests on is missing or damaged; the message says what."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class HeldOut:
    """A slice as it was drawn.

    Attributes:
        kind: the anchor, text of earlier rounds (`period`), or what no accepted round was trained on yet.
        documents: the ids that must have been scored.
        labels: those that its documents have; empty for a causal LM.
    """

    name: str
    kind: SliceKind
    source: str
    documents: Annotated[frozenset[int], InOrder]
    labels: Annotated[frozenset[str], InOrder] = frozenset()

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
        return cls(drawn.name, kinds[drawn.kind], drawn.source, documents, labels)


REMEDY = "take in text of before the stream with `riverkeep backfill --before-stream`"

LABELS_TO_TELL: Final = 2
"""Held-out text of a single label cannot tell a classifier that has learned from one that always answers alike."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a verdict rests on whatever is trained, of which there must be enough.

    Attributes:
        what: documents of the anchor or of the newest text, or the different labels of all held-out text.
        found: how many there are.
        needed: how many there must be.
    """

    what: Literal["anchor", "newest", "labels"]
    found: int
    needed: int

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
        wait = f"wait for {self.needed - self.found} more"
        return f"the held-out {text} text has {self.found} documents, at least {self.needed} are needed: " + (
            f"{remedy}, or {wait}" if remedy else wait
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Slices that are judged as one."""

    name: str
    kind: SliceKind
    members: tuple[HeldOut, ...]

    @property
    def size(self) -> int:
        """How many documents it has."""
        return len(frozenset[int]().union(*(member.documents for member in self.members)))


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


def group_slices(slices: Sequence[HeldOut], minimum: int) -> Groups:
    """Group the drawn slices so that each group has enough documents to be judged.

    Older slices with too few documents are judged together; should they be too few even so, they join the
    smallest other slice, the anchor in the last resort, so that a handful of documents can neither go
    unwatched nor block every round.

    Raises:
        InsufficientEvidence: there is no anchor or no new text, or too little of it.
    """
    unmet = [need for need in needs(slices, minimum) if not need.is_met]
    if unmet:
        raise InsufficientEvidence(unmet[0].sentence())
    new, anchors, old = _part_by_kind(slices, minimum)
    return Groups(_join("newest", new), tuple(_by_source(new, minimum)), (*anchors, *old))


def needs(slices: Iterable[HeldOut], minimum: int, *, labels: int = 0) -> tuple[Need, ...]:
    """What a verdict on these slices rests on, whatever is trained: for the gate, and before a round begins.

    Args:
        slices: as drawn, or as they would be.
        minimum: documents of the anchor and of the newest text.
        labels: how many different ones all held-out text must have; 0 where there are none.
    """
    listed = list(slices)
    new, anchors, _ = _part_by_kind(listed, minimum)
    found = [
        Need("anchor", anchors[0].size if anchors else 0, minimum),
        Need("newest", _join("newest", new).size, minimum),
    ]
    if labels:
        found.append(Need("labels", len(frozenset[str]().union(*(each.labels for each in listed))), labels))
    return tuple(found)


def _part_by_kind(slices: Iterable[HeldOut], minimum: int) -> tuple[list[HeldOut], list[Group], list[Group]]:
    """The newest slices; the groups of the anchor; and those of earlier text, smallest first."""
    ordered = sorted(slices, key=lambda each: each.name)
    new = [each for each in ordered if each.kind == "newest"]
    anchors = _pool("anchor", [each for each in ordered if each.kind == "anchor"], minimum)
    old = _pool("period", [each for each in ordered if each.kind == "period"], minimum)
    if len(old) == 1 and old[0].size < minimum and anchors:
        anchors[0] = _join("anchor", [*anchors[0].members, *old.pop().members])
    return new, anchors, old


def _pool(kind: SliceKind, slices: Sequence[HeldOut], minimum: int) -> list[Group]:
    """Large slices alone, small ones joined; smallest group first."""
    small = [each for each in slices if len(each.documents) < minimum]
    large = [_join(kind, [each]) for each in slices if len(each.documents) >= minimum]
    large.sort(key=lambda group: (group.size, group.name))
    if small:
        pool = _join(kind, small)
        if pool.size < minimum and large:
            large[0] = _join(kind, [*large[0].members, *small])
        else:
            large.append(pool)
    return sorted(large, key=lambda group: (group.size, group.name))


def _by_source(slices: Sequence[HeldOut], minimum: int) -> list[Group]:
    sources = sorted({each.source for each in slices})
    if len(sources) < 2:
        return []
    groups = [_join("newest", [each for each in slices if each.source == source]) for source in sources]
    return [group for group in groups if group.size >= minimum]


def _join(kind: SliceKind, members: Sequence[HeldOut]) -> Group:
    return Group(" + ".join(member.name for member in members), kind, tuple(members))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report's scores that were checked against the draw, with the best earlier score of each slice.

    Attributes:
        best: by slice, document scores of the generation with the lowest mean loss on it.
        candidates: those whose scores are complete.
        rejected: the other candidates, with the reason.
    """

    slices: Mapping[str, SliceScores]
    best: Mapping[str, Scores]
    candidates: tuple[str, ...]
    rejected: Mapping[str, str]

    @property
    def parent_is_base(self) -> bool:
        """Whether the round started from the base model, as nothing that was trained serves yet."""
        return all(scores.base == scores.parent for scores in self.slices.values())

    def of(self, group: Group, model: str) -> Scores:
        """Scores of "base", "parent", "best" or a candidate on a group; documents without tokens left out."""
        scores = {
            score.id: score for member in group.members for score in self._on(member.name, model) if score.tokens > 0
        }
        return tuple(scores[id_] for id_ in sorted(scores))

    def mean_over_slices(self, candidate: str) -> float:
        """The candidate's loss, each slice weighing the same, in nats; slices without tokens left out."""
        scored = [scores.candidates[candidate] for scores in self.slices.values()]
        means = [mean_nll(scores) for scores in scored if any(score.tokens for score in scores)]
        return math.fsum(means) / len(means)

    def _on(self, name: str, model: str) -> Scores:
        if model == "best":
            return self.best[name]
        scores = self.slices[name]
        named = {"base": scores.base, "parent": scores.parent}
        return named[model] if model in named else scores.candidates[model]


def members_of(groups: Iterable[Group]) -> list[HeldOut]:
    """The slices of several groups."""
    return [member for group in groups for member in group.members]


def always_the_most_frequent(scores: Scores) -> Scores:
    """What one would score who gave every document the label that most of them have, the first by name of equals.

    Where several labels fit a document it is the set of them that most documents have.
    """
    labels = [score.label or "" for score in scores]
    most = max(sorted(set(labels)), key=labels.count)
    return tuple(replace(score, predicted=most) for score in scores)


def gather(report: Report, slices: Sequence[HeldOut], known: KnownScores) -> Evidence:
    """Check the report's scores against the slices that were drawn.

    Raises:
        InsufficientEvidence: a slice, or a base's or parent's score, is missing or damaged, or there is no
            candidate.
    """
    names = [each.name for each in slices]
    if len(set(names)) < len(names):
        raise InsufficientEvidence("two drawn slices have the same name")
    if stray := sorted(set(report.slices) - set(names)):
        raise InsufficientEvidence(f"the report has a slice {stray[0]} that was not drawn")
    for each in slices:
        _check_references(report, each)
    rejected = {name: reason for name in report.candidates if (reason := _flaw(report, slices, name))}
    if not report.candidates:
        raise InsufficientEvidence("the report has no candidates")
    best = {each.name: _best(each, report.slices[each.name], known) for each in slices}
    good = tuple(name for name in report.candidates if name not in rejected)
    return Evidence(report.slices, best, good, rejected)


def _check_references(report: Report, drawn: HeldOut) -> None:
    scores = report.slices.get(drawn.name)
    if scores is None:
        raise InsufficientEvidence(f"slice {drawn.name} was not scored")
    for model, rows in (("parent", scores.parent), ("base", scores.base)):
        if flaw := _incomplete(rows, drawn, report.kind) or _unlike(rows, scores.parent):
            raise InsufficientEvidence(f"on slice {drawn.name} the {model}'s scores {flaw}")


def _flaw(report: Report, slices: Sequence[HeldOut], candidate: str) -> str | None:
    """What is wrong with a candidate's scores, or None."""
    for drawn in slices:
        scores = report.slices[drawn.name]
        rows = scores.candidates.get(candidate, ())
        if flaw := _incomplete(rows, drawn, report.kind) or _unlike(rows, scores.parent):
            return f"on slice {drawn.name} the scores of candidate {candidate} {flaw}"
    return None


def _incomplete(rows: Scores, drawn: HeldOut, kind: str) -> str | None:
    """What is missing or damaged in the scores of one model on one slice, or None."""
    ids = [row.id for row in rows]
    if missing := len(drawn.documents.difference(ids)):
        return f"lack {missing} of {len(drawn.documents)} documents"
    if len(ids) != len(drawn.documents):
        return "have documents that were not drawn, or one of them twice"
    for row in rows:
        if not math.isfinite(row.nll):
            return f"have a loss that is not finite (document {row.id})"
        if row.nll < NEGATIVE_LOSS * (row.tokens + 1):
            return f"have a negative loss (document {row.id})"
    if kind == "classifier" and any(row.predicted is None for row in rows):
        return "lack a classifier's answers"
    return None


def _unlike(rows: Scores, parent: Scores) -> str | None:
    tokens = {row.id: (row.tokens, row.label) for row in parent}
    if any(tokens.get(row.id) != (row.tokens, row.label) for row in rows):
        return "are of other token counts or labels than the parent's"
    return None


def _best(drawn: HeldOut, scores: SliceScores, known: KnownScores) -> Scores:
    """Scores of the generation that was best on a slice, among those that were scored on all of it."""
    choices = [scores.base, scores.parent]
    tokens = {row.id: row.tokens for row in scores.parent}
    for generation in sorted(known):
        kept = known[generation]
        rows = [DocumentScore(id_, kept[id_].nll, kept[id_].tokens) for id_ in sorted(drawn.documents) if id_ in kept]
        if len(rows) == len(tokens) and all(row.tokens == tokens[row.id] for row in rows):
            choices.append(tuple(rows))
    means = [mean_nll(rows) for rows in choices]
    return min(zip(means, range(len(choices)), choices, strict=True), key=_nan_last)[2]


def _nan_last(choice: tuple[float, int, Scores]) -> tuple[bool, float, int]:
    return math.isnan(choice[0]), choice[0], choice[1]
