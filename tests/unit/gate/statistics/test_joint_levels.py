"""Candidates on one line share the chance of error by what they do alike: together they err no oftener than stated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.judge import GateSettings
from gate.keys import NO_KEYS, KeyOf
from gate.statistics.bootstrap import Resampling, interval
from gate.statistics.comparisons import Comparison, Floats, ratio
from gate.statistics.joint_levels import joint_level

BOUND = 0.08
STATED = 0.05
WAYS = (1.0, 0.75, 0.5, 0.25)
"""Of the way from the parent to the result: the default's candidates."""
TRIALS = 200
RESAMPLES = 300
ENOUGH = GateSettings().minimum_documents


@dataclass(frozen=True)
class Harm:
    """How each document's harm differs from the bound, on average over tokens by nothing."""

    each: Floats
    tokens: Floats
    key_of: KeyOf = field(default_factory=lambda: NO_KEYS)


Draw = Callable[[np.random.Generator, int], Harm]


def independent(random: np.random.Generator, keys: int) -> Harm:
    """By chance."""
    return Harm(random.normal(0, 0.15, keys), np.ones(keys))


def ten_a_key(random: np.random.Generator, keys: int) -> Harm:
    """Most of it is the key's."""
    of_key = np.repeat(random.normal(0, 0.15, keys), 10)
    key_of = {document: document // 10 * 10 for document in range(10 * keys)}
    return Harm(of_key + random.normal(0, 0.05, 10 * keys), np.ones(10 * keys), key_of)


def rare(random: np.random.Generator, keys: int) -> Harm:
    """One document in ten is harmed by 0.8."""
    return Harm(10 * BOUND * (random.random(keys) < 0.1) - BOUND + random.normal(0, 0.01, keys), np.ones(keys))


def growing_with_length(random: np.random.Generator, keys: int) -> Harm:
    """In proportion to the document's length."""
    lengths = np.exp(0.5 * random.normal(size=keys))
    return Harm(BOUND * (lengths / np.exp(1.5 * 0.5**2) - 1) + random.normal(0, 0.02, keys), lengths)


def on_a_line(harm: Harm, random: np.random.Generator, own: float = 0.02) -> list[Comparison]:
    """Candidates each of which truly lies at the bound, so that any that passes is an error."""
    documents = np.arange(len(harm.each))
    each = [BOUND + way * (harm.each + random.normal(0, own, len(harm.each))) for way in WAYS]
    return [ratio(shift * harm.tokens, harm.tokens, documents, harm.key_of) for shift in each]


def level(candidates: Sequence[Comparison], seed: int, chance: float = STATED) -> float:
    """What each may err by."""
    return joint_level(candidates, chance, resamples=RESAMPLES, seed=seed)


def upper(candidate: Comparison, chance: float, seed: int) -> float:
    """The limit that decides."""
    return interval(candidate, Resampling(1 - chance, RESAMPLES, seed)).upper


def share_that_errs(draw: Draw, keys: int) -> float:
    """How often any candidate of a round is taken for one that keeps the bound."""
    random = np.random.default_rng(keys)
    wrong = 0
    for trial in range(TRIALS):
        candidates = on_a_line(draw(random, keys), random)
        each = level(candidates, trial)
        wrong += any(upper(candidate, each, trial) <= BOUND for candidate in candidates)
    return wrong / TRIALS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "keys"),
    [*product([independent, ten_a_key, rare, growing_with_length], [ENOUGH, 50]), (rare, 256)],
)
def test_a_round_whose_best_candidate_lies_at_the_bound_passes_no_oftener_than_stated(draw: Draw, keys: int) -> None:
    """Though each candidate has more than its equal part of the chance."""
    assert share_that_errs(draw, keys) <= 1.5 * STATED


def test_candidates_on_a_line_have_nearly_the_whole_chance_each() -> None:
    """And limits nearly as narrow as those of one alone: an equal part would widen them by a fifth."""
    random = np.random.default_rng(1)
    levels, narrower = [], []
    for trial in range(20):
        candidates = on_a_line(independent(random, 50), random)
        each = joint_level(candidates, STATED, resamples=2000, seed=trial)
        limits = [interval(candidates[0], Resampling(1 - chance, 2000, trial)) for chance in (each, STATED / 4)]
        levels.append(each)
        joint, shared = (found.upper - found.estimate for found in limits)
        narrower.append(1 - joint / shared)
    assert 0.7 * STATED < float(np.mean(levels)) <= STATED
    assert 0.15 < float(np.mean(narrower)) < 0.3


def test_candidates_that_have_nothing_in_common_have_an_equal_part_each() -> None:
    """What each does is by its own chance: then there is nothing to be had beyond Bonferroni."""
    random = np.random.default_rng(2)
    unlike = [ratio(random.normal(0, 1, 400), np.ones(400), np.arange(400)) for _ in range(4)]
    levels = [joint_level(unlike, STATED, resamples=2000, seed=seed) for seed in range(10)]
    assert STATED / 4 <= float(np.mean(levels)) < 1.25 * STATED / 4


@settings(max_examples=40)
@given(st.integers(1, 6), st.floats(0, 1), st.sampled_from([0.01, 0.05, 0.3]), st.integers(0, 99))
def test_no_candidate_gets_less_than_an_equal_part_or_more_than_the_whole(
    number: int, common: float, chance: float, seed: int
) -> None:
    """Whatever they have in common."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=40)
    moved = [common * shared + (1 - common) * random.normal(size=40) for _ in range(number)]
    each = level([ratio(move, np.ones(40), np.arange(40)) for move in moved], seed, chance)
    assert chance / number <= each <= chance


def test_one_candidate_alone_has_the_whole_chance() -> None:
    """Also beside others that cannot err, as they differ by the same on every document."""
    random = np.random.default_rng(3)
    moving, still = (ratio(each, np.ones(40), np.arange(40)) for each in (random.normal(size=40), np.full(40, 0.3)))
    assert level([moving], 1) == STATED
    assert level([moving, still, still], 1) == STATED


def test_differences_that_are_no_numbers_get_an_equal_part() -> None:
    """They pass no bound in any case."""
    damaged = np.arange(40.0)
    damaged[3] = np.nan
    both = [ratio(each, np.ones(40), np.arange(40)) for each in (np.arange(40.0), damaged)]
    assert level(both, 1) == STATED / 2
