"""The paired bootstrap: right where the answer is known, honest about small samples, the same on every run.

How often its limits cover the truth is in `test_level.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.measures import accuracy, macro_f1, mean_nll
from gate.statistics.bootstrap import Interval, Replicates, Resampling, TooFewKeys, interval, resample, t_quantile
from gate.statistics.comparisons import (
    Comparison,
    Floats,
    accuracy_difference,
    f1_difference,
    mean_of,
    nll_difference,
    ratio,
)
from memory.ledger.records import DocumentScore

HOW = Resampling(confidence=0.95, resamples=4000, seed=7)


def rows(nlls: list[float], tokens: list[int]) -> list[DocumentScore]:
    """Scores of documents 0, 1, 2 and so on."""
    return [DocumentScore(at, nll, count) for at, (nll, count) in enumerate(zip(nlls, tokens, strict=True))]


def difference(candidate: Sequence[DocumentScore], reference: Sequence[DocumentScore], how: Resampling) -> Interval:
    """Mean loss of the candidate minus that of the reference, with its limits."""
    return interval(nll_difference(candidate, reference), how)


def quotient(numerators: Floats, denominators: Floats, first: int = 0) -> Comparison:
    """A ratio of sums over documents that are numbered from `first` on."""
    return ratio(numerators, denominators, np.arange(first, first + len(numerators)))


def test_the_estimate_is_a_ratio_of_sums() -> None:
    """Long documents weigh more: (1 + 30) / (10 + 90) - (2 + 90) / (10 + 90), not a mean of ratios."""
    found = difference(rows([1.0, 30.0], [10, 90]), rows([2.0, 90.0], [10, 90]), HOW)
    assert found.estimate == pytest.approx(31 / 100 - 92 / 100)
    assert found.documents == 2


def test_equal_models_differ_by_exactly_nothing() -> None:
    """What makes a document hard cancels in a pair."""
    same = rows([3.0, 50.0, 7.5], [2, 10, 4])
    found = difference(same, same, HOW)
    assert (found.estimate, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_a_constant_difference_is_certain() -> None:
    """Each token 0.25 nats worse, whatever the document: no resample can say otherwise."""
    tokens = [3, 40, 17, 8]
    reference = rows([9.0, 100.0, 60.0, 30.0], tokens)
    candidate = [replace(row, nll=row.nll + 0.25 * row.tokens) for row in reference]
    found = difference(candidate, reference, HOW)
    assert (found.estimate, found.lower, found.upper) == pytest.approx((0.25, 0.25, 0.25))


def test_limits_of_a_mean_match_the_analytic_ones() -> None:
    """For equal lengths the ratio is a mean, whose limits are mean ± t · s / sqrt(n)."""
    generator = np.random.default_rng(3)
    values = generator.normal(0.1, 0.3, size=200)
    found = interval(quotient(values, np.ones(200)), Resampling(0.95, 20_000, seed=1))
    half = t_quantile(0.95, 199) * values.std(ddof=1) / math.sqrt(200)
    assert found.estimate == pytest.approx(values.mean())
    assert found.lower == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.upper == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_limits_of_a_ratio_match_the_delta_method() -> None:
    """For unequal lengths the ratio's standard error is sqrt(sum((d - r·w)²)) / sum(w)."""
    generator = np.random.default_rng(5)
    weights = generator.integers(20, 400, size=300).astype(float)
    values = 0.2 * weights + generator.normal(0, 0.4, size=300) * weights
    found = interval(quotient(values, weights), Resampling(0.95, 20_000, seed=1))
    ratio = values.sum() / weights.sum()
    error = math.sqrt(((values - ratio * weights) ** 2).sum()) / weights.sum()
    assert found.estimate == pytest.approx(ratio)
    assert found.upper - found.estimate == pytest.approx(1.645 * error, rel=0.1)
    assert found.estimate - found.lower == pytest.approx(1.645 * error, rel=0.1)


@pytest.mark.parametrize(
    ("probability", "freedom", "tabulated"),
    [(0.95, 5, 2.015), (0.95, 10, 1.812), (0.95, 30, 1.697), (0.975, 10, 2.228), (0.99, 19, 2.539), (0.95, 1e6, 1.645)],
)
def test_students_quantile_matches_the_tables(probability: float, freedom: int, tabulated: float) -> None:
    """To within 1 %."""
    assert t_quantile(probability, int(freedom)) == pytest.approx(tabulated, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("documents", [12, 20, 60])
def test_limits_cover_the_truth_as_often_as_they_claim(documents: int) -> None:
    """Each one-sided 95 % limit, over 1,500 small samples of documents of skewed lengths, within chance."""
    generator = np.random.default_rng(documents)
    trials, below, above = 1500, 0, 0
    for trial in range(trials):
        tokens = generator.lognormal(4, 0.5, size=documents)
        values = tokens * generator.normal(0.1, 0.2, size=documents)
        found = interval(quotient(values, tokens), Resampling(0.95, 500, seed=trial))
        below += found.lower <= 0.1
        above += found.upper >= 0.1
    assert 0.925 <= below / trials <= 0.99
    assert 0.925 <= above / trials <= 0.99


def test_more_confidence_is_a_wider_interval() -> None:
    """And the estimate does not move."""
    generator = np.random.default_rng(1)
    replicates = resample(quotient(generator.normal(size=50), np.ones(50)), HOW)
    narrow, wide = replicates.interval(0.8), replicates.interval(0.99)
    assert wide.lower < narrow.lower < narrow.estimate == wide.estimate < narrow.upper < wide.upper


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(1, 1000)), min_size=5, max_size=30),
    st.randoms(use_true_random=False),
)
def test_laws_of_a_difference(documents: list[tuple[float, float, int]], order: object) -> None:
    """Order changes nothing, exchange flips the estimate's sign, limits enclose what the resamples say."""
    tokens = [count for _, _, count in documents]
    ours, theirs = rows([d[0] for d in documents], tokens), rows([d[1] for d in documents], tokens)
    how = Resampling(0.9, 200, seed=1)
    found = difference(ours, theirs, how)
    order.shuffle(ours)  # type: ignore[attr-defined]  # a Random
    assert difference(ours, theirs, how) == found
    assert difference(theirs, ours, how).estimate == pytest.approx(-found.estimate, abs=1e-9)
    assert found.lower <= found.upper
    assert found.estimate == pytest.approx(mean_nll(ours) - mean_nll(theirs), abs=1e-6)


def test_equal_seeds_give_equal_limits_and_others_do_not() -> None:
    """A verdict can be repeated."""
    generator = np.random.default_rng(1)
    values, ones = generator.normal(size=40), np.ones(40)
    first, again, other = (interval(quotient(values, ones), replace(HOW, seed=s)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once() -> None:
    """More resamples than a chunk holds are all drawn."""
    replicates = resample(quotient(np.arange(5.0), np.ones(5)), Resampling(0.95, 1000, seed=1))
    assert replicates.above.shape == replicates.below.shape == (1000,)
    assert len(set(replicates.above.tolist())) == 1000


def test_too_few_documents_give_no_interval() -> None:
    """The caller says how many are enough."""
    with pytest.raises(TooFewKeys, match="3 keys, at least 10"):
        difference(rows([1.0] * 3, [1] * 3), rows([1.0] * 3, [1] * 3), Resampling(minimum_keys=10))


def test_unlike_documents_cannot_be_paired() -> None:
    """Other documents, or other token counts of the same."""
    ours = rows([1.0, 2.0], [5, 6])
    for theirs in (rows([1.0, 2.0], [5, 7]), rows([1.0], [5]), [replace(ours[0], id=9), ours[1]]):
        with pytest.raises(ValueError, match="same documents"):
            difference(ours, theirs, HOW)


@pytest.mark.parametrize("bad", [{"confidence": 1.0}, {"confidence": 0.4}, {"resamples": 10}, {"minimum_keys": 1}])
def test_senseless_resampling_is_refused(bad: dict[str, float]) -> None:
    """At construction, before anything was judged by it."""
    with pytest.raises(ValueError, match=r"confidence|bootstrap"):
        Resampling(**bad)  # type: ignore[arg-type]  # any of its fields


def test_a_loss_that_is_not_finite_gives_limits_that_pass_nothing() -> None:
    """NaN compares false with every bound."""
    ours = rows([math.nan, 1.0, 2.0], [1, 1, 1])
    found = difference(ours, rows([1.0, 1.0, 2.0], [1, 1, 1]), HOW)
    assert math.isnan(found.estimate)
    assert math.isnan(found.upper)


def labelled(answers: str, labels: str) -> list[DocumentScore]:
    """A classifier's scores, one letter for each answer and label."""
    return [DocumentScore(at, 0.5, 1, a, b) for at, (a, b) in enumerate(zip(answers, labels, strict=True))]


def test_accuracy_and_f1_differences_are_those_of_the_measures() -> None:
    """The estimates agree with the measures computed alone."""
    ours, theirs = labelled("aabbcac", "aabbccc"), labelled("abbbcaa", "aabbccc")
    drop = accuracy_difference(ours, theirs)
    f1 = f1_difference(ours, theirs)
    assert drop.estimate == pytest.approx((accuracy(ours) or 0) - (accuracy(theirs) or 0))
    assert f1.estimate == pytest.approx((macro_f1(ours) or 0) - (macro_f1(theirs) or 0))
    limits = interval(f1, HOW)
    assert limits.lower < f1.estimate < limits.upper


def test_influences_say_what_one_more_document_changes() -> None:
    """To first order, of every measure; they tell the worst key and the skewness."""
    ours, theirs = labelled("aabbcac" * 9, "aabbccc" * 9), labelled("abbbcaa" * 9, "aabbccc" * 9)
    for measured in (accuracy_difference(ours, theirs), f1_difference(ours, theirs), nll_difference(ours, theirs)):
        for key in range(7):
            twice = np.ones((1, 63))
            twice[0, key] = 2
            moved = float(measured.figure(twice)[0]) - measured.estimate
            assert measured.influence[key] == pytest.approx(moved, abs=1e-3)


def test_a_mean_of_slices_weighs_each_the_same() -> None:
    """Whatever their numbers of documents; independent errors shrink."""
    generator = np.random.default_rng(2)
    parts = [
        quotient(generator.normal(mean, 1, size=size), np.ones(size), first=1000 * at)
        for at, (mean, size) in enumerate(((0.0, 100), (1.0, 101), (2.0, 102)))
    ]
    mean = mean_of(parts)
    assert mean.estimate == pytest.approx(sum(part.estimate for part in parts) / 3)
    assert mean.documents == 303
    alone, together = (resample(each, HOW).above.std() for each in (parts[0], mean))
    assert together == pytest.approx(alone / math.sqrt(3), rel=0.2)


def test_errors_of_slices_that_share_their_keys_do_not_shrink() -> None:
    """An author who is in every slice is no more than one voice in their mean."""
    generator = np.random.default_rng(2)
    values = generator.normal(0, 1, size=100)
    parts = [
        ratio(values, np.ones(100), np.arange(1000 * at, 1000 * at + 100), {1000 * at + n: n for n in range(100)})
        for at in range(3)
    ]
    mean = mean_of(parts)
    assert (mean.documents, len(mean.keys)) == (300, 100)
    assert interval(mean, HOW).upper == pytest.approx(interval(parts[0], HOW).upper)


def test_documents_of_one_key_are_one_voice() -> None:
    """Ten copies of each document say no more than one of each."""
    generator = np.random.default_rng(4)
    values = generator.normal(0.1, 0.3, size=60)
    single = interval(quotient(values, np.ones(60)), HOW)
    key_of = {document: document % 60 for document in range(600)}
    tenfold = interval(ratio(np.tile(values, 10), np.ones(600), np.arange(600), key_of), HOW)
    assert (tenfold.documents, tenfold.keys) == (600, 60)
    assert (tenfold.lower, tenfold.upper) == pytest.approx((single.lower, single.upper))


def test_the_mean_of_nothing_is_refused() -> None:
    """Rather than a number that passes."""
    with pytest.raises(ValueError, match="not defined"):
        mean_of([])


def test_a_replicate_interval_is_symmetric_for_symmetric_replicates() -> None:
    """Lower and upper limits are treated alike."""
    values = np.linspace(-1, 1, 2001)
    found = Replicates(0.0, values, values, 0.01, 0.0, 50, 50).interval(0.95)
    assert found.lower == pytest.approx(-found.upper)


def test_a_harm_of_few_moves_the_upper_limit_and_a_gain_of_few_the_lower_one() -> None:
    """What is skewed to one side is doubted on that side."""
    rare = np.zeros(100)
    rare[:5] = 0.8
    harm, gain = interval(quotient(rare, np.ones(100)), HOW), interval(quotient(-rare, np.ones(100)), HOW)
    assert harm.upper - harm.estimate > 1.5 * (harm.estimate - harm.lower)
    assert gain.estimate - gain.lower > 1.5 * (gain.upper - gain.estimate)


def test_differences_of_one_document_set_share_their_resamples() -> None:
    """Two candidates on one slice are compared on the same draws."""
    reference = rows([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1])
    ours = [replace(row, nll=row.nll + 1) for row in reference]
    first, second = (resample(nll_difference(each, reference), HOW) for each in (ours, reference))
    assert np.allclose(first.above - second.above, 1.0)
