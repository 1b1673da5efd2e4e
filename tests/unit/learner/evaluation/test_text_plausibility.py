"""The figures of fresh text: by hand, by source, and beside their bounds."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from checkpoints.card import ModelKind
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.report import PrequentialDocument
from learner.evaluation.text_plausibility import (
    PHRASE,
    REPETITIVE,
    PrequentialSummary,
    compare,
    copied_shares,
    new_kinds,
    repetition_share,
    summarise,
)


def document(
    id_: int, loss: float, *, source: str = "news", tokens: int = 10, repetition: float = 0.0, **more: Any
) -> PrequentialDocument:
    """A document of `loss` nats per token."""
    return PrequentialDocument(id_, source, loss * tokens, tokens, repetition, **more)


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


BOUNDS = PlausibilityBounds(TextBounds(4.0, 4.5, 0.1, 0.1, 0.35, 0.375), {}, 20)


def beyond(documents: Sequence[PrequentialDocument], kind: ModelKind = "causal-lm") -> list[str]:
    """The figures that do not keep those bounds."""
    return [departure.name for departure in compare(documents, BOUNDS, kind) if not departure.within]


def test_a_new_domain_of_ordinary_text_is_plausible_whatever_its_loss() -> None:
    """What a model has not seen it reads badly; that its words stand in an order is enough."""
    assert beyond([document(n, 6.0, coherent=True) for n in range(50)]) == []
    assert beyond([document(n, 6.0) for n in range(50)]) == ["mean_nll", "upper_nll"] * 2


def test_a_tenth_of_text_that_may_be_poison_is_judged_beside_what_is_coherent() -> None:
    """A new domain hides nothing: what is not shown to be coherent has its loss bounded."""
    coherent = [document(n, 6.0, coherent=True) for n in range(80)]
    assert "upper_nll" in beyond([*coherent, *(document(100 + n, 9.0) for n in range(20))])
    assert beyond([*coherent, *(document(100 + n, 4.0) for n in range(20))]) == []


def test_incoherent_text_waits_however_well_it_is_read() -> None:
    """In a share that earlier text does not have."""
    documents = [document(n, 2.0, coherent=n % 4 > 0) for n in range(80)]
    assert set(beyond(documents)) == {"incoherent_share"}
    assert beyond([document(n, 2.0, coherent=n % 12 > 0) for n in range(84)]) == []


def test_a_loss_that_is_no_number_is_never_hidden_by_coherent_text() -> None:
    """A single one among a hundred."""
    documents = [document(n, 3.0, coherent=True) for n in range(100)]
    broken = PrequentialDocument(100, "news", math.nan, 5, 0.0, coherent=False)
    assert "upper_nll" in beyond([*documents, broken])


def test_documents_of_new_labels_are_not_judged_by_their_loss() -> None:
    """Nobody can be right of a label that was never learned; their text is looked at all the same."""
    known = [document(n, 0.3, tokens=1) for n in range(40)]
    new = [document(100 + n, 9.0, tokens=1, new_label=True) for n in range(40)]
    assert beyond([*known, *new], "classifier") == []
    assert beyond(new, "classifier") == []
    assert compare(new, BOUNDS, "classifier") != ()
    repeated = [document(200 + n, 9.0, tokens=1, new_label=True, repetition=1.0) for n in range(40)]
    assert "repetitive_share" in beyond([*known, *repeated], "classifier")


def test_another_kind_of_text_is_held_to_how_often_its_labels_are_contradicted() -> None:
    """A classifier errs more there, and is sure of it; where it is in every second document the labels are wrong."""
    errs = [document(n, 6.0 * (n % 5 == 0), tokens=1, contradicted=n % 5 == 0, strangeness=1.0) for n in range(100)]
    assert beyond(errs, "classifier") == []
    wrong = [document(n, 6.0 * (n % 2), tokens=1, contradicted=n % 2 > 0, strangeness=1.0) for n in range(100)]
    assert set(beyond(wrong, "classifier")) == {"contradicted_share"}


def answered(documents: int, *, turned: int = 0, **more: Any) -> list[PrequentialDocument]:
    """Documents of two labels in turns; the answer to the first so many is the other label."""
    labels = [("ab" if at % 2 else "ba") for at in range(documents)]
    return [
        document(at, 1.0, tokens=1, answer=pair[at >= turned], label=pair[1], **more) for at, pair in enumerate(labels)
    ]


def test_labels_that_were_turned_round_show_however_unsure_the_answers_are() -> None:
    """It is sure of nothing, so that no loss and no contradiction tells; on text of any kind."""
    for strangeness in (0.1, 1.0):
        assert beyond(answered(60, turned=10, strangeness=strangeness), "classifier") == []
        assert set(beyond(answered(60, turned=60, strangeness=strangeness), "classifier")) == {"contrary_share"}


def test_what_was_left_of_earlier_rounds_does_not_speak_for_what_came_since() -> None:
    """Documents are asked by when they arrived, whatever the order in which they are given."""
    left = answered(120)
    came = [replace(each, id=120 + each.id) for each in answered(120, turned=120)]
    given = [each for pair in zip(came, left, strict=True) for each in pair]
    assert set(beyond(given, "classifier")) == {"contrary_share"}
    # As much of it, but never much at once.
    mixed = [replace(each, id=at) for at, each in enumerate(given)]
    assert beyond(mixed[:200], "classifier") == []


def test_words_that_it_never_saw_are_answered_by_chance() -> None:
    """Each label has its own, so that answers depend on labels; they may be the others as well."""
    assert beyond(answered(60, turned=60, strangeness=5.0), "classifier") == []


def test_of_text_that_it_cannot_read_a_classifiers_word_is_none() -> None:
    """A new language, with labels that it knows: it gives one answer to all, and is sure of it."""
    unread = [replace(each, answer="c", contradicted=True) for each in answered(60, strangeness=5.0)]
    assert beyond(unread, "classifier") == []
    # All that one label has is surely another: it reads the text, and the label is wrong.
    one = [replace(each, answer="c", contradicted=True) if each.label == "a" else each for each in answered(60)]
    assert set(beyond([replace(each, strangeness=5.0) for each in one], "classifier")) == {"contradicted_share"}


def test_a_source_that_it_reads_does_not_speak_for_one_that_it_cannot() -> None:
    """Most of the text is a new language; beside it lies what earlier rounds left, which it reads."""
    unread = [
        replace(each, id=100 + each.id, source="cipher", answer="c", contradicted=True, strangeness=5.0)
        for each in answered(100)
    ]
    assert beyond([*unread, *answered(40, strangeness=1.0)], "classifier") == []
    wrong = [replace(each, contradicted=True) for each in answered(40, turned=40, strangeness=1.0)]
    assert "contradicted_share" in beyond([*unread, *wrong], "classifier")


def test_wrong_labels_of_the_kind_that_memory_knows_wait_as_ever() -> None:
    """A seventh of them shows in the upper decile."""
    wrong = [document(n, 6.0 * (n % 7 == 0), tokens=1, contradicted=n % 7 == 0, strangeness=0.1) for n in range(140)]
    assert set(beyond(wrong, "classifier")) == {"upper_nll"}


def test_sources_of_another_kind_are_named() -> None:
    """Those with enough documents to tell."""
    documents = [document(n, 3.0, source="news", strangeness=0.1) for n in range(30)]
    documents += [document(100 + n, 3.0, source="web", strangeness=0.9) for n in range(30)]
    documents += [document(200 + n, 3.0, source="few", strangeness=5.0) for n in range(3)]
    assert new_kinds(documents, 20) == ["web"]


def test_figures_that_an_older_version_kept_can_be_read() -> None:
    """They lack what was not looked at then, and set the bounds that they can."""
    old = {"documents": 2, "tokens": 20, "mean_nll": 3.0, "upper_nll": 3.5, "repetitive_share": 0.0}
    summary = PrequentialSummary.from_json({**old, "by_source": {"news": old}})
    assert summary.overall.mean_nll == 3.0
    assert math.isnan(summary.overall.incoherent_share)
    assert not summary.overall.is_strange
