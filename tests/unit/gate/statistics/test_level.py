"""The level that the gate states is the one that it keeps: simulations in which the true harm lies at the bound.

A candidate that is as bad as the bound allows must pass no more often than stated, times 1.5: whether documents are
independent or come ten a key, whether the harm is even, strikes one in ten, or grows with length.
"""

from collections.abc import Callable

import numpy as np
import pytest

from gate.judge import GateSettings
from gate.statistics.bootstrap import Resampling, interval
from gate.statistics.comparisons import Comparison, Floats, mean_of, ratio

BOUND = 0.08
STATED = 0.05 / 3
"""Of one of three candidates, which share what `gate.confidence` leaves."""
ALLOWED = 1.5 * STATED
TRIALS = 1_000
RESAMPLES = 600
ENOUGH = GateSettings().minimum_documents

Draw = Callable[[np.random.Generator, int], Comparison]


def of_documents(harm: Floats, tokens: Floats) -> Comparison:
    """A difference in loss, each document with so much harm a token."""
    return ratio(harm * tokens, tokens, np.arange(len(harm)))


def independent(random: np.random.Generator, keys: int) -> Comparison:
    """Every document is a little better or worse, by chance."""
    return of_documents(random.normal(BOUND, 0.15, keys), np.ones(keys))


def ten_a_key(random: np.random.Generator, keys: int) -> Comparison:
    """Most of what is by chance is the key's."""
    harm: Floats = np.repeat(random.normal(BOUND, 0.15, keys), 10) + random.normal(0, 0.05, 10 * keys)
    key_of = {document: document // 10 * 10 for document in range(10 * keys)}
    return ratio(harm, np.ones(10 * keys), np.arange(10 * keys), key_of)


def rare(random: np.random.Generator, keys: int) -> Comparison:
    """One document in ten is harmed by 0.8 nats a token, the others by nothing."""
    return of_documents(10 * BOUND * (random.random(keys) < 0.1) + random.normal(0, 0.01, keys), np.ones(keys))


def rare_gain(random: np.random.Generator, keys: int) -> Comparison:
    """One document in ten gains 0.8 nats a token, the others lose what makes it up but for the bound."""
    gains = 0.8 * (random.random(keys) < 0.1)
    return of_documents(BOUND + 0.08 - gains + random.normal(0, 0.01, keys), np.ones(keys))


def growing_with_length(random: np.random.Generator, keys: int) -> Comparison:
    """Harm a token in proportion to the document's length: the mean over tokens hangs on the longest few."""
    spread = 0.5
    lengths = np.exp(spread * random.normal(size=keys))
    # The mean over tokens of a harm c times the length is c E[L²] / E[L] = c exp(1.5 spread²).
    harm = BOUND * lengths / np.exp(1.5 * spread**2)
    return of_documents(harm + random.normal(0, 0.02, keys), lengths)


def rare_on_average(random: np.random.Generator, keys: int) -> Comparison:
    """The mean of four slices, in each of which one document in ten is harmed."""
    harms: list[Floats] = [np.where(random.random(keys) < 0.1, 10 * BOUND, 0.0) for _ in range(4)]
    return mean_of([ratio(harm, np.ones(keys), np.arange(keys) + 1000 * at) for at, harm in enumerate(harms)])


def share_that_passes(draw: Draw, keys: int, confidence: float = 1 - STATED) -> float:
    """How often a candidate whose true harm is the bound is taken for one that keeps it."""
    random = np.random.default_rng(keys)
    passed = 0
    for trial in range(TRIALS):
        limits = interval(draw(random, keys), Resampling(confidence, RESAMPLES, seed=trial))
        passed += max(limits.estimate, limits.upper) <= BOUND
    return passed / TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("keys", [ENOUGH, 50, 256])
@pytest.mark.parametrize("draw", [independent, ten_a_key, rare, rare_gain, growing_with_length])
def test_a_harm_at_the_bound_passes_no_oftener_than_stated(draw: Draw, keys: int) -> None:
    """From the fewest keys that are judged at all."""
    assert share_that_passes(draw, keys) <= ALLOWED


@pytest.mark.slow
def test_a_harm_at_the_bound_on_average_passes_no_oftener_than_stated() -> None:
    """Over several slices of as few keys as are judged at all."""
    assert share_that_passes(rare_on_average, ENOUGH) <= ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("draw", [independent, ten_a_key, rare, growing_with_length])
def test_one_candidate_alone_is_held_to_the_level_of_the_setting(draw: Draw) -> None:
    """Who tries one candidate shares its chance of error with none."""
    assert share_that_passes(draw, 50, confidence=0.95) <= 1.5 * 0.05


@pytest.mark.parametrize("keys", [5, 8, 12])
def test_fewer_keys_than_by_default_hold_the_level_of_even_harm(keys: int) -> None:
    """Who lowers `gate.minimum_documents` gives up seeing rare harm, not more."""
    assert share_that_passes(independent, keys) <= ALLOWED


def test_what_strikes_one_document_in_ten_is_rarely_unseen_in_the_fewest_that_are_judged() -> None:
    """No interval sees a harm that no document of the sample shows; one fewer would show none too often."""
    assert 0.9**ENOUGH <= ALLOWED < 0.9 ** (ENOUGH - 1)


def test_even_harm_is_told_hardly_less_sharply_than_by_students_interval() -> None:
    """Safety against rare and uneven harm costs a plain sample little: the half-width grows by less than a tenth."""
    random = np.random.default_rng(0)
    grown = []
    for trial in range(100):
        harm = random.normal(BOUND, 0.15, 50)
        limits = interval(of_documents(harm, np.ones(50)), Resampling(1 - STATED, 2000, seed=trial))
        student = 2.187 * harm.std(ddof=1) / np.sqrt(50)  # the quantile 1 - STATED of 49 degrees of freedom
        grown.append((limits.upper - limits.estimate) / student)
    assert 1.0 <= float(np.mean(grown)) < 1.1
