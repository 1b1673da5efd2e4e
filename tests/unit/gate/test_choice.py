"""Which candidate is taken of several, and how much it flatters the chosen one that its own documents chose it.

In the simulations each candidate is truly as good as the others, so that chance alone chooses; each slice has as few
keys as are judged.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.choice import Pairwise, best_candidate, pairwise
from gate.judge import GateSettings
from gate.statistics.bootstrap import Interval, Resampling, interval
from gate.statistics.comparisons import Comparison, Floats, mean_of, ratio
from gate.statistics.joint_levels import joint_level
from learner.directory.report import SliceScores
from memory.ledger.records import DocumentScore

SHARES = {"0.00": 1.0, "0.25": 0.75, "0.50": 0.5, "0.75": 0.25}
KEYS = GateSettings().minimum_documents
GAIN = 0.1
STATED = 0.05
TRIALS = 600
NEWEST, OLDER = 0, 1

Moves = Mapping[str, Floats]
"""By candidate, (slices, keys): the difference to the parent, the newest slice first."""


def between(moves: Moves, *slices: int) -> Pairwise:
    """How much worse one candidate is than another over these slices."""
    keys = next(iter(moves.values())).shape[1]

    def difference(one: str, other: str) -> Comparison:
        apart = moves[one] - moves[other]
        return mean_of([ratio(apart[at], np.ones(keys), np.arange(keys) + 1000 * at) for at in slices])

    return difference


def chosen_of(moves: Moves) -> str:
    """The candidate that is taken."""
    return best_candidate(list(moves), on_newest=between(moves, NEWEST), on_older=between(moves, OLDER))


def limits_of(moves: Moves, chosen: str, trial: int) -> Interval:
    """A candidate's difference to the parent on the newest text, as the gate gives it for one of these candidates."""
    newest = {name: ratio(each[NEWEST] - GAIN, np.ones(KEYS), np.arange(KEYS)) for name, each in moves.items()}
    level = joint_level(list(newest.values()), STATED, resamples=400, seed=trial)
    return interval(newest[chosen], Resampling(1 - level, 400, seed=trial))


@lru_cache
def choices(common: float, own: float) -> list[Interval]:
    """Limits on the gain of the candidate that was chosen, trial by trial.

    Args:
        common: spread over documents, in nats, of what the candidates share: they lie on one line of weights.
        own: spread of what each has by itself.
    """
    random = np.random.default_rng(3)
    limits = []
    for trial in range(TRIALS):
        shared = random.normal(0, common, (2, KEYS))
        moved = {name: share * shared + random.normal(0, own, (2, KEYS)) for name, share in SHARES.items()}
        limits.append(limits_of(moved, chosen_of(moved), trial))
    return limits


@pytest.mark.slow
@pytest.mark.parametrize(("common", "own", "most"), [(0.15, 0.05, 0.05), (0.0, 0.15, 0.25)])
def test_figures_of_the_chosen_candidate_flatter_it_by_little(common: float, own: float, most: float) -> None:
    """By a twentieth of the half-width where candidates are alike, as on one line, a quarter where they are not."""
    chosen = choices(common, own)
    flattery = -GAIN - float(np.mean([limits.estimate for limits in chosen]))
    half = float(np.mean([limits.upper - limits.estimate for limits in chosen]))
    assert flattery < most * half


@pytest.mark.slow
@pytest.mark.parametrize(("common", "own"), [(0.15, 0.05), (0.0, 0.15)])
def test_limits_of_the_chosen_candidate_err_no_oftener_than_stated(common: float, own: float) -> None:
    """They are shared by all candidates, so that it does not matter which of them is looked at."""
    wrong = sum(limits.upper < -GAIN for limits in choices(common, own))
    assert wrong <= 1.5 * STATED * TRIALS


def moves(means: Mapping[str, tuple[float, float]], spread: float, keys: int = 50) -> Moves:
    """Candidates on a line, with these means on the newest and the older slice."""
    random = np.random.default_rng(5)
    shared = random.normal(0, spread, (2, keys))
    shared -= shared.mean(axis=1, keepdims=True)
    return {name: np.array(each)[:, None] + SHARES[name] * shared for name, each in means.items()}


def test_four_times_the_harm_is_no_equal_where_documents_tell_it() -> None:
    """A constant of 0.02 nats took them for equal, and so the one that harmed more for so little more gain."""
    means = {"0.00": (-0.10, 0.08), "0.50": (-0.06, 0.02)}
    assert chosen_of(moves(means, 0.05)) == "0.50"


def test_of_what_noise_cannot_tell_apart_the_larger_step_is_taken() -> None:
    """The same means among documents that differ so much say nothing: always the smaller step would cost plasticity."""
    means = {"0.00": (-0.10, 0.05), "0.50": (-0.08, 0.02)}
    assert chosen_of(moves(means, 0.9)) == "0.00"


def test_of_equal_means_the_one_that_forgot_provably_less_is_taken() -> None:
    """On the newest text noise hides which is better, on the older it does not."""
    means = {"0.00": (-0.10, 0.06), "0.50": (-0.06, 0.02)}
    moved = {name: each.copy() for name, each in moves(means, 0.0).items()}
    noise = np.random.default_rng(6).normal(0, 0.5, 50)
    moved["0.00"][NEWEST] += noise - noise.mean()
    assert chosen_of(moved) == "0.50"


def test_of_equal_means_the_one_that_learned_provably_more_is_taken() -> None:
    """What it forgot more it paid for with what it learned: less of both would cost plasticity round after round."""
    means = {"0.00": (-0.10, 0.04), "0.50": (-0.08, 0.02)}
    assert chosen_of(moves(means, 0.0)) == "0.00"


@pytest.mark.parametrize("older", [1, 3, 30])
def test_what_is_learned_weighs_the_same_however_many_older_slices_there_are(older: int) -> None:
    """A mean over all slices learns the less of the news the longer the service has run."""
    apart = {"0.00": (-0.10, 0.05), "0.50": (-0.04, 0.01)}
    moved = {name: np.repeat(moves(apart, 0.0)[name], (1, older), axis=0) for name in apart}
    old = between(moved, *range(1, older + 1))
    assert best_candidate(list(moved), on_newest=between(moved, NEWEST), on_older=old) == "0.00"


def test_without_older_slices_the_news_alone_decides() -> None:
    """As in the first round of a service that has no text from before its stream."""
    moved = moves({"0.00": (-0.10, 0.0), "0.50": (-0.06, 0.0)}, 0.0)
    assert best_candidate(list(moved), on_newest=between(moved, NEWEST), on_older=None) == "0.00"


def is_worse(difference: Comparison) -> bool:
    """By more than its standard error."""
    return difference.estimate > difference.standard_error


@given(st.data(), st.sampled_from([0.0, 0.05, 0.5]))
def test_of_equal_candidates_the_one_that_learned_most_is_taken(data: st.DataObject, spread: float) -> None:
    """Never one that is worse by more than the error, nor a larger share of the parent than what that spares."""
    names = sorted(data.draw(st.sets(st.sampled_from(sorted(SHARES)), min_size=1)))
    figures = st.floats(-0.5, 0.5, allow_nan=False)
    moved = moves({name: (data.draw(figures), data.draw(figures)) for name in names}, spread)
    everywhere, newest, older = between(moved, NEWEST, OLDER), between(moved, NEWEST), between(moved, OLDER)
    chosen = chosen_of(moved)
    lowest = min(names, key=lambda name: (everywhere(name, names[0]).estimate, name))
    equal = [name for name in names if not is_worse(everywhere(name, lowest))]
    assert chosen in equal
    for larger_step in equal[: equal.index(chosen)]:
        assert any(is_worse(older(larger_step, other)) and not is_worse(newest(other, larger_step)) for other in equal)


def test_slices_weigh_alike_and_empty_ones_nothing() -> None:
    """However many documents they have."""

    def scores(first: int, losses: list[float], tokens: int = 1) -> tuple[DocumentScore, ...]:
        return tuple(DocumentScore(first + at, loss, tokens) for at, loss in enumerate(losses))

    def scored(first: int, ours: list[float], theirs: list[float], tokens: int = 1) -> SliceScores:
        parent = scores(first, [0.0] * len(ours), tokens)
        return SliceScores(parent, parent, {"0.00": scores(first, ours, tokens), "0.50": scores(first, theirs, tokens)})

    slices = {
        "a": scored(0, [1.0, 2.0], [0.0, 0.0]),
        "b": scored(10, [0.5] * 8, [0.0] * 8),
        "c": scored(20, [0.0], [0.0], 0),
    }
    difference = pairwise(slices)
    assert difference is not None
    assert difference("0.00", "0.50").estimate == pytest.approx((1.5 + 0.5) / 2)
    assert difference("0.50", "0.00").estimate == pytest.approx(-1.0)
    assert pairwise({"c": slices["c"]}) is None
