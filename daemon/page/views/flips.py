"""What flipped in a round, document by document, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.control.answers.flips import FlippedDocument, FlipsAnswer
from daemon.control.wording import became_of_text, shown_text


@dataclass(frozen=True, slots=True)
class Flipped:
    """One document.

    Attributes:
        place, source: of its record; empty where its text is not kept.
        change: of the loss; above 0 is worse. None where a loss is no finite number.
        answers: a classifier's, before and after; None of a language model.
        text: None until somebody asks for it, and where it is not kept.
        gone: what became of text that is not kept; empty where it is.
    """

    id: int
    slice: str
    place: str
    source: str
    label: str | None
    before: float | None
    after: float | None
    change: float | None
    answers: tuple[str, str] | None
    characters: int
    text: str | None
    gone: str


@dataclass(frozen=True, slots=True)
class FlippedGroup:
    """Documents that flipped in one direction: those that changed most, `of` so many."""

    name: str
    title: str
    documents: tuple[Flipped, ...]
    of: int


@dataclass(frozen=True, slots=True)
class FlipsView:
    """What flipped.

    Attributes:
        how: in which way a document counts as flipped, a clause.
        is_shown: whether the text is.
        limit: most documents in each direction.
    """

    round: int
    parent: int
    generation: int | None
    candidate: str
    documents: int
    how: str
    unit: str
    groups: tuple[FlippedGroup, ...]
    erased: int
    left: int
    note: str
    by_ledger: bool
    is_shown: bool
    limit: int


def flips_view(answer: FlipsAnswer, *, limit: int, text: bool) -> FlipsView:
    """What flipped, with the text only where that is asked for."""
    how = "its answer" if answer["margin"] is None else f"its loss by more than {answer['margin']} {answer['unit']}"
    return FlipsView(
        round=answer["round"],
        parent=answer["parent"],
        generation=answer["generation"],
        candidate=answer["candidate"] or "",
        documents=answer["documents"],
        how=how,
        unit=answer["unit"],
        groups=(
            FlippedGroup("worse", "Worse than before", _documents(answer["worst"]), answer["worse"]),
            FlippedGroup("better", "Better than before", _documents(answer["best"]), answer["better"]),
        ),
        erased=answer["erased"],
        left=answer["left"],
        note=answer["note"],
        by_ledger=answer["scores"] == "ledger",
        is_shown=text,
        limit=limit,
    )


def _documents(documents: Sequence[FlippedDocument]) -> tuple[Flipped, ...]:
    return tuple(map(_document, documents))


def _document(document: FlippedDocument) -> Flipped:
    sample, before, after = document["sample"], document["before"], document["after"]
    answers = document["answer_before"], document["answer_after"]
    return Flipped(
        id=document["id"],
        slice=document["slice"] or "",
        place="" if sample is None else f"{sample['topic']}/{sample['partition']} at {sample['offset']}",
        source="" if sample is None else sample["source"],
        label=None if sample is None else sample["label"],
        before=before,
        after=after,
        change=None if before is None or after is None else after - before,
        answers=None if answers[0] is None or answers[1] is None else (answers[0], answers[1]),
        characters=document["characters"] or 0,
        text=shown_text(sample) if sample is not None and "text" in sample else None,
        gone="" if sample is not None else became_of_text(document["erased_at"]),
    )
