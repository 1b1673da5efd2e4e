"""What a round's candidate has worse and better than its parent, document by document: what averages hide."""

from typing import TypedDict

from daemon.control.answers.records import SampleLine


class FlippedDocument(TypedDict):
    """A held-out document that the parent had better than the candidate, or the other way round.

    Attributes:
        slice: as the round had it, or as it is now where only the ledger has its scores; None where it is in none now.
        before, after: loss under parent and candidate, nats per token (of a classifier per document).
        tokens: that were scored.
        answer_before, answer_after: a classifier's labels; None of a language model.
        sample: None where its text is not kept any more.
        characters: of its text; None where that is not kept.
        erased_at: when its text was erased by its key, unix seconds; None where it was not.
    """

    id: int
    slice: str | None
    before: float | None
    after: float | None
    tokens: int
    answer_before: str | None
    answer_after: str | None
    sample: SampleLine | None
    characters: int | None
    erased_at: float | None


class FlipsAnswer(TypedDict):
    """What flipped in a round, the greatest change first.

    Attributes:
        candidate: that was compared; None where none was.
        generation: that it became; None where it was not accepted.
        scores: where its scores are from: `report` (the round's directory), or `ledger` (what of them is kept there of
            accepted generations); None where they are kept nowhere.
        unit: of `before` and `after`.
        margin: by which a loss has to move; None of a classifier, of which answers count.
        documents: that are compared now; `documents_then`: that were when the round ended, None where nobody knows.
        worse, better: how many of `documents` flipped.
        worst, best: those of them that changed most, as many as were asked for.
        erased: held-out documents of the round whose text was erased by its key since; `left`: whose text has left
            memory otherwise.
        note: a sentence where less can be told than was known then, else empty.
    """

    round: int
    parent: int
    generation: int | None
    candidate: str | None
    scores: str | None
    unit: str
    margin: float | None
    documents: int
    documents_then: int | None
    worse: int
    better: int
    worst: list[FlippedDocument]
    best: list[FlippedDocument]
    erased: int
    left: int
    note: str
