"""From reports and the ledger to R and its measures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import scores as knowledge
from gate.kept_knowledge import NOTHING_SCORED, ScoredDocuments
from memory.ledger.records import DocumentScore, Generation, GenerationState, ScoreRow, SliceScore


def generation(number: int, parent: int | None, round_: int | None = None) -> Generation:
    """A line of the ledger of which only the lineage matters."""
    return Generation(number, GenerationState.ACCEPTED, parent, round_, "", "", 0.0, {})


def row(number: int, name: str, loss: float) -> ScoreRow:
    """One entry of R."""
    return ScoreRow(number, name, SliceScore(loss, 100, 10))


LEDGER = [generation(0, None), generation(1, 0, round_=1), generation(2, 1, round_=4)]
MATRIX = [
    row(0, "anchor", 3.0), row(1, "anchor", 3.1), row(2, "anchor", 3.3),
    row(0, "wiki@1-1", 4.0), row(1, "wiki@1-1", 3.0), row(2, "wiki@1-1", 3.2),
    row(0, "wiki@2-4", 5.0), row(1, "wiki@2-4", 4.0), row(2, "wiki@2-4", 3.0),
    row(0, "wiki@5-5", 6.0), row(2, "wiki@5-5", 6.0),
]  # fmt: skip


def documents_of(rows: list[ScoreRow]) -> ScoredDocuments:
    """Ten documents of each slice, by which every generation comes to what R has."""
    names = sorted({each.slice for each in rows})
    slices = {name: {10 * at + n: 10 * at + n for n in range(10)} for at, name in enumerate(names)}
    scores: dict[int, dict[int, DocumentScore]] = {}
    for each in rows:
        of_generation = scores.setdefault(each.generation, {})
        of_generation.update({n: DocumentScore(n, 10 * each.score.mean_nll, 10) for n in slices[each.slice]})
    return ScoredDocuments(slices, scores)


SCORED = documents_of(MATRIX)


def test_measures_follow_the_definitions() -> None:
    """Positive forgetting is bad; a slice that nothing was trained on yet counts nowhere."""
    known = knowledge.knowledge(MATRIX, LEDGER, serving=2, documents=SCORED)
    assert known.forgetting is not None
    assert known.backward_transfer is not None
    assert known.forgetting.estimate == pytest.approx(((3.3 - 3.0) + (3.2 - 3.0)) / 2)
    assert known.backward_transfer.estimate == pytest.approx(((3.0 - 3.3) + (3.0 - 3.2)) / 2)
    assert known.plasticity == pytest.approx((3.0 + 3.0) / 2)
    assert known.forward_transfer == pytest.approx(((4.0 - 4.0) + (5.0 - 4.0)) / 2)


def test_what_each_generation_learned_is_the_diagonal() -> None:
    """R[j,j] and what its parent scored there; the mean so far is plasticity; what has no such score is left out."""
    found = knowledge.learned_by_generation(MATRIX, LEDGER, 2, 10)
    assert [(each.generation, each.round, each.before, each.after) for each in found] == [
        (1, 1, 4.0, 3.0),
        (2, 4, 4.0, 3.0),
    ]
    for each in found:
        known = knowledge.knowledge(MATRIX, LEDGER, serving=each.generation, documents=SCORED)
        assert each.plasticity == pytest.approx(known.plasticity)
    assert [each.generation for each in knowledge.learned_by_generation(MATRIX, LEDGER, 2, 1)] == [2]
    unscored = [entry for entry in MATRIX if (entry.generation, entry.slice) != (1, "wiki@1-1")]
    (only,) = knowledge.learned_by_generation(unscored, LEDGER, 2, 10)
    assert (only.generation, only.plasticity) == (2, 3.0)
    assert knowledge.learned_by_generation(MATRIX, LEDGER, -1, 10) == []


def test_a_rolled_back_generation_is_not_in_the_lineage() -> None:
    """After a rollback the measures are those of what serves."""
    assert [each.number for each in knowledge.lineage(LEDGER, 1)] == [0, 1]
    known = knowledge.knowledge(MATRIX, LEDGER, serving=1, documents=SCORED)
    assert known.forgetting is not None
    assert known.forgetting.estimate == pytest.approx(0.1)


def test_nothing_is_known_of_nothing() -> None:
    """Without scores there are no measures."""
    assert knowledge.knowledge([], [], serving=0, documents=NOTHING_SCORED) == knowledge.Knowledge(
        None, None, None, None
    )
    assert knowledge.knowledge([], LEDGER[:1], serving=0, documents=NOTHING_SCORED).forgetting is None


def test_a_merged_slice_is_learned_by_the_generation_of_its_last_round() -> None:
    """Its column right after that is the plasticity; before it, half of the slice had been trained on already."""
    ledger = [generation(0, None), generation(1, 0, round_=1), generation(2, 1, round_=2), generation(3, 2, round_=3)]
    rows = [row(number, "wiki@1-2", loss) for number, loss in ((0, 5.0), (1, 4.0), (2, 3.0), (3, 3.5))]
    known = knowledge.knowledge(rows, ledger, serving=3, documents=documents_of(rows))
    assert known.plasticity == pytest.approx(3.0)
    assert known.backward_transfer is not None
    assert known.backward_transfer.estimate == pytest.approx(-0.5)
    assert known.forward_transfer is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30), st.integers(0, 30))
def test_the_lineage_ends_whatever_the_ledger_says(pairs: list[tuple[int, int]], serving: int) -> None:
    """Even a ledger that goes round in a circle is walked once."""
    ledger = [generation(number, parent) for number, parent in pairs]
    assert len(knowledge.lineage(ledger, serving)) <= len({number for number, _ in pairs})


def test_scores_that_are_not_finite_are_left_out() -> None:
    """A slice without a finite score is no row of R, and its documents are not kept."""
    good, bad = DocumentScore(1, 2.0, 4), DocumentScore(2, math.nan, 4)
    scores = {"a": (good,), "b": (good, bad), "c": ()}
    assert set(knowledge.slice_scores(scores)) == {"a"}
    assert [score.id for score in knowledge.document_scores(scores)] == [1, 1]
