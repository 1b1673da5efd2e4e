"""Bounds on fresh text: drawn from trusted rounds and the anchor, generous to drift, closed to poison."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.plausible_new_text import CONTRARY, plausibility_bounds, plausible_history
from gate.settings import GateSettings
from learner.directory.report import PrequentialDocument
from learner.evaluation.text_plausibility import PrequentialSummary, TextFigures, compare
from memory.ledger.records import Round
from memory.ledger.states import RoundState

SETTINGS = GateSettings()


def summary(mean: float, *, repetitive: float = 0.0, **sources: float) -> PrequentialSummary:
    """A round's text, its upper decile 0.5 above its mean."""
    return PrequentialSummary(
        TextFigures(100, 10_000, mean, mean + 0.5, repetitive),
        {source: TextFigures(50, 5_000, level, level + 0.5, repetitive) for source, level in sources.items()},
    )


def round_of(
    number: int,
    state: RoundState,
    mean: float | None,
    *,
    released_from: int | None = None,
    generation: int | None = None,
) -> Round:
    """A line of the ledger whose report holds the summary of its text."""
    report: dict[str, Any] = {} if mean is None else {"prequential": summary(mean).to_json()}
    return Round(
        number=number,
        state=state,
        trigger="volume",
        recipe={},
        seed=0,
        parent_generation=0,
        base_generation=0,
        generation=generation,
        released_from=released_from,
        begun_at=0.0,
        ended_at=None,
        detail="",
        verdict={},
        report=report,
        fresh_samples=0,
        fresh_tokens=0,
        replay_samples=0,
        replay_tokens=0,
        early_stop_samples=0,
    )


def test_nothing_known_bounds_no_loss() -> None:
    """Before the anchor was scored and any round ended there is nothing to compare with."""
    bounds = plausibility_bounds([], [], SETTINGS).overall
    assert (bounds.mean_nll, bounds.upper_nll) == (None, None)
    assert bounds.repetitive_share == pytest.approx(0.1)


def test_the_anchor_alone_sets_the_first_bounds() -> None:
    """Its mean and its upper decile under the serving generation, plus the plausible rise."""
    anchor = [(30.0, 10)] * 9 + [(50.0, 10)] * 1
    bounds = plausibility_bounds([], anchor, SETTINGS).overall
    assert bounds.mean_nll == pytest.approx(3.2 + 1.0)
    assert bounds.upper_nll is not None
    assert bounds.upper_nll >= 4.0


def test_while_rounds_are_few_the_anchor_stands_beside_them() -> None:
    """The highest level known to be harmless counts."""
    bounds = plausibility_bounds([summary(3.9)], [(35.0, 10)] * 5, SETTINGS).overall
    assert bounds.mean_nll == pytest.approx(4.9)


def test_later_rounds_alone_set_the_level() -> None:
    """An anchor far above the stream would leave room for poison."""
    history = [summary(2.0), summary(2.1), summary(1.9)]
    assert plausibility_bounds(history, [(60.0, 10)] * 5, SETTINGS).overall.mean_nll == pytest.approx(3.0)


def test_a_stream_that_varies_much_gets_wider_bounds() -> None:
    """Six robust standard deviations, where they are more than the plausible rise."""
    history = [summary(level) for level in (2.0, 3.0, 4.0, 3.5, 2.5)]
    found = plausibility_bounds(history, [], SETTINGS).overall.mean_nll
    assert found == pytest.approx(3.0 + 6 * 1.4826 * 0.5)


def test_one_odd_round_moves_the_bounds_little() -> None:
    """Medians do not follow an outlier that a person let pass."""
    history = [summary(3.0), summary(3.1), summary(9.0), summary(3.05), summary(2.95)]
    found = plausibility_bounds(history, [], SETTINGS).overall.mean_nll
    assert found is not None
    assert found < 4.2


def test_only_the_latest_rounds_are_compared_with() -> None:
    """The stream may drift far over the years."""
    history = [summary(9.0)] * 50 + [summary(3.0)] * 20
    assert plausibility_bounds(history, [], SETTINGS).overall.mean_nll == pytest.approx(4.0)


def test_repetition_is_bound_above_what_is_usual() -> None:
    """A stream of logs repeats itself every day."""
    history = [summary(3.0, repetitive=share) for share in (0.3, 0.35, 0.32)]
    assert plausibility_bounds(history, [], SETTINGS).overall.repetitive_share == pytest.approx(0.42)


def test_a_source_has_bounds_of_its_own() -> None:
    """Easy text stays easy, hard text may stay hard."""
    history = [summary(3.0, easy=2.0, hard=5.0)] * 3
    bounds = plausibility_bounds(history, [], SETTINGS)
    assert bounds.sources["easy"].mean_nll == pytest.approx(3.0)
    assert bounds.sources["hard"].mean_nll == pytest.approx(6.0)


def test_only_accepted_and_approved_rounds_set_bounds() -> None:
    """What waited, was refused or was gone back from teaches nothing, else poison would open the door for poison."""
    rounds = [
        round_of(8, RoundState.ACCEPTED, 9.0, generation=3),
        round_of(7, RoundState.FAILED, None, released_from=2),
        round_of(6, RoundState.DRAWN, None, released_from=2),
        round_of(5, RoundState.REFUSED, 3.4, released_from=2),
        round_of(4, RoundState.ACCEPTED, 3.3, generation=2),
        round_of(3, RoundState.REFUSED, 9.0),
        round_of(2, RoundState.WAITING, 9.0),
        round_of(1, RoundState.ACCEPTED, 3.1, generation=1),
    ]
    assert [each.overall.mean_nll for each in plausible_history(rounds, {0, 1, 2})] == [3.1, 3.3, 3.4]


@given(st.lists(st.floats(0.5, 8.0), min_size=1, max_size=30), st.floats(0.0, 0.99))
def test_text_like_any_recent_round_stays_plausible(levels: list[float], rise: float) -> None:
    """A rise below the plausible one above the median of earlier text never wakes a person."""
    history = [summary(level) for level in levels]
    recent = sorted(levels[-SETTINGS.plausible_rounds :])
    level = recent[(len(recent) - 1) // 2] + rise
    documents = [PrequentialDocument(n, "new", 100 * level, 100, 0.0) for n in range(30)]
    assert all(each.within for each in compare(documents, plausibility_bounds(history, [], SETTINGS)))


@given(st.lists(st.floats(2.0, 4.0), min_size=1, max_size=30))
def test_shuffled_words_are_never_plausible_after_natural_drift(steps: list[float]) -> None:
    """1.8 nats above a stream that drifts by up to 0.4 nats from round to round."""
    levels = [3.0 + 0.4 * math.sin(step * 7) for step in steps]
    bounds = plausibility_bounds([summary(level) for level in levels], [(300.0, 100)] * 20, SETTINGS)
    documents = [PrequentialDocument(n, "news", 100 * (3.4 + 1.8), 100, 0.0) for n in range(30)]
    failed = [each.name for each in compare(documents, bounds) if not each.within]
    spread = (bounds.overall.mean_nll or 0) - max(levels)
    assert "mean_nll" in failed or spread > 1.0


def test_shares_are_bound_by_what_earlier_rounds_had() -> None:
    """Their median; a version that did not look at them, or nothing at all, counts as none."""
    looked = replace(summary(3.0).overall, incoherent_share=0.2, contradicted_share=0.1)
    history = [summary(3.0), *[PrequentialSummary(looked, {})] * 3]
    bounds = plausibility_bounds(history, [], SETTINGS).overall
    assert bounds.incoherent_share == pytest.approx(0.2 + SETTINGS.plausible_incoherence)
    assert bounds.contradicted_share == pytest.approx(0.1 + SETTINGS.plausible_contradiction)
    unknown = plausibility_bounds([summary(3.0)], [], SETTINGS).overall
    assert (unknown.incoherent_share, unknown.contradicted_share) == pytest.approx((0.1, 0.3))


def test_how_contrary_answers_may_be_is_asked_from_the_second_round_on() -> None:
    """A new head answers anything; what earlier answers did is no reason to ask for more, or less."""
    assert plausibility_bounds([], [(3.0, 1)], SETTINGS).overall.contrary_share is None
    for share in (0.0, 0.3, math.nan):
        earlier = PrequentialSummary(replace(summary(3.0).overall, contrary_share=share), {})
        assert plausibility_bounds([earlier], [], SETTINGS).overall.contrary_share == CONTRARY


def test_noisy_labels_are_no_news_where_the_anchor_has_them() -> None:
    """A fifth of its labels get less than a tenth: before any round ended, so many may be contradicted."""
    anchor = [(3.0, 1)] * 20 + [(0.1, 1)] * 80
    found = plausibility_bounds([], anchor, SETTINGS).overall.contradicted_share
    assert found == pytest.approx(0.2 + SETTINGS.plausible_contradiction)


def test_a_round_without_a_loss_sets_no_bound_on_it() -> None:
    """All its labels were new."""
    assert plausibility_bounds([summary(math.nan), summary(3.0)], [], SETTINGS).overall.mean_nll == pytest.approx(4.0)
