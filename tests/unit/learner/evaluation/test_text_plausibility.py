"""The figures of fresh text: by hand, by source, and beside their bounds."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.report import PrequentialDocument
from learner.evaluation.text_plausibility import (
    PHRASE,
    REPETITIVE,
    PrequentialSummary,
    compare,
    copied_shares,
    repetition_share,
    summarise,
)


def document(
    id_: int, loss: float, *, source: str = "news", tokens: int = 10, repetition: float = 0.0
) -> PrequentialDocument:
    """A document of `loss` nats per token."""
    return PrequentialDocument(id_, source, loss * tokens, tokens, repetition)


def test_one_token_repeated_is_all_repetition() -> None:
    """The near-constant text that a loss would praise."""
    assert repetition_share([7] * 100) > 0.95


def test_a_phrase_over_and_over_is_repetition() -> None:
    """Twenty tokens that come back ten times."""
    assert repetition_share(list(range(20)) * 10) > 0.85


def test_text_without_repetition_has_none() -> None:
    """All tokens differ, or there are too few to repeat anything."""
    assert repetition_share(range(1000)) == 0.0
    assert repetition_share([1, 1, 1, 1]) == 0.0
    assert repetition_share([]) == 0.0


def test_texts_from_one_template_copy_each_other() -> None:
    """The first of them does not; texts that share a turn of phrase do not either."""
    template = list(range(100, 160))
    filled = [[*template, *range(1_000 * n, 1_000 * n + 20)] for n in range(1, 5)]
    shares = copied_shares(filled)
    assert shares[0] == 0.0
    assert all(share > REPETITIVE for share in shares[1:])
    assert copied_shares([[*range(1, 10), n, *range(50 * n, 50 * n + 40)] for n in range(20, 30)]) == [0.0] * 10


@given(st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=6))
def test_a_copied_share_is_a_share_and_a_copy_is_all_copied(documents: list[list[int]]) -> None:
    """Between 0 and 1; the same documents again are copies throughout, where they are long enough to tell."""
    shares = copied_shares([*documents, *documents])
    assert all(0 <= share <= 1 for share in shares)
    again = shares[len(documents) :]
    assert again == [float(len(document) >= 2 * PHRASE) for document in documents]


def test_a_template_that_memory_holds_is_no_news() -> None:
    """Boilerplate that was there before, and that a person let in, wakes nobody again."""
    template = list(range(100, 160))
    filled = [[*template, *range(1_000 * n, 1_000 * n + 20)] for n in range(1, 6)]
    assert copied_shares(filled[1:], known=filled[:1]) == [0.0] * 4


def test_a_phrase_that_comes_back_far_away_is_no_repetition() -> None:
    """Long documents are comparable with short ones."""
    phrase = [1, 2, 3, 4, 5]
    assert repetition_share([*phrase, *range(10, 261), *phrase]) == 0.0


@given(st.lists(st.integers(0, 3), max_size=600))
def test_repetition_is_a_share(tokens: list[int]) -> None:
    """Between 0 and 1 for anything."""
    assert 0 <= repetition_share(tokens) <= 1


def test_figures_by_hand() -> None:
    """All losses over all tokens; the decile over documents; repetitive is more than half."""
    documents = [
        document(1, 2.0, tokens=30),
        document(2, 4.0, repetition=0.6),
        document(3, 5.0, source="web", repetition=0.5),
    ]
    summary = summarise(documents)
    assert summary.overall.mean_nll == pytest.approx((60 + 40 + 50) / 50)
    assert summary.overall.upper_nll == pytest.approx(4.8)
    assert summary.overall.repetitive_share == pytest.approx(1 / 3)
    assert (summary.overall.documents, summary.overall.tokens) == (3, 50)
    assert set(summary.sources) == {"news", "web"}
    assert summary.sources["web"].mean_nll == pytest.approx(5.0)


def plausible(documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds) -> bool:
    """Whether every figure keeps its bound."""
    return all(departure.within for departure in compare(documents, bounds))


def test_nothing_scored_has_no_figures_and_breaks_no_bound() -> None:
    """NaN is shown, not compared."""
    assert math.isnan(summarise([]).overall.mean_nll)
    assert compare([], PlausibilityBounds(TextBounds(1.0, 1.0, 0.5))) == ()


def test_a_loss_that_is_not_finite_is_not_plausible() -> None:
    """Nor an infinite one."""
    bounds = PlausibilityBounds(TextBounds(10.0, 10.0, 0.5))
    for broken in (math.nan, math.inf, -math.inf):
        assert not plausible([document(1, 3.0), PrequentialDocument(2, "news", broken, 5, 0.0)], bounds)


def test_a_source_is_bound_by_its_own_history_and_an_unknown_one_by_the_rest() -> None:
    """Hard text from a source that always was hard is plausible; from a new one it is not."""
    bounds = PlausibilityBounds(TextBounds(9.0, 9.0, 0.5), {"code": TextBounds(6.0, 6.5, 0.5)}, 5)
    hard = [document(n, 5.5, source="code") for n in range(10)]
    assert plausible(hard, bounds)
    strict = PlausibilityBounds(TextBounds(5.0, 9.0, 0.5), {}, 5)
    assert [(d.name, d.source) for d in compare(hard, strict) if not d.within] == [
        ("mean_nll", None),
        ("mean_nll", "code"),
    ]


def test_a_source_with_few_documents_is_not_judged_by_itself() -> None:
    """Three odd documents among many are no reason to wake a person."""
    bounds = PlausibilityBounds(TextBounds(4.0, 4.0, 0.5), {}, 20)
    documents = [document(n, 3.0) for n in range(60)] + [document(100 + n, 9.0, source="web") for n in range(3)]
    assert plausible(documents, bounds)


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50), st.sampled_from("ab")), max_size=30),
    st.randoms(use_true_random=False),
)
def test_order_changes_no_figure(rows: list[tuple[float, int, str]], order: random.Random) -> None:
    """Documents may come in any order."""
    documents = [document(n, loss, tokens=tokens, source=source) for n, (loss, tokens, source) in enumerate(rows)]
    shuffled = list(documents)
    order.shuffle(shuffled)
    assert summarise(shuffled).to_json() == summarise(documents).to_json()


def test_summary_and_bounds_come_back_from_json() -> None:
    """What round.json and the ledger hold can be read again."""
    summary = summarise([document(1, 2.0), document(2, 4.0, source="web")])
    assert PrequentialSummary.from_json(summary.to_json()) == summary
    bounds = PlausibilityBounds(TextBounds(4.0, None, 0.2), {"web": TextBounds(5.0)}, 7)
    kept = TypeAdapter(PlausibilityBounds)
    assert kept.validate_json(kept.dump_json(bounds)) == bounds


def test_a_summary_of_nothing_is_json_with_nulls() -> None:
    """NaN does not reach the ledger."""
    value = summarise([]).to_json()
    assert value["mean_nll"] is None
    assert math.isnan(PrequentialSummary.from_json(value).overall.mean_nll)
