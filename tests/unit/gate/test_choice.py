"""The chosen candidate's figures come from the documents that chose it: simulations of how much that flatters it.

Each candidate is truly as good as the others, so that chance alone chooses; each slice has as few keys as are judged.
"""

import numpy as np
import pytest

from gate.bootstrap import Interval, Resampling, interval
from gate.comparisons import Floats, ratio
from gate.judge import GateSettings, best_candidate

SHARES = {"0.00": 1.0, "0.25": 0.75, "0.50": 0.5}
KEYS = GateSettings().minimum_documents
GAIN = 0.1
STATED = 0.05
TRIALS = 600


def limits_of(differences: Floats, trial: int) -> Interval:
    """A candidate's difference to the parent on the newest text, as the gate gives it for one of three candidates."""
    comparison = ratio(differences, np.ones(KEYS), np.arange(KEYS))
    return interval(comparison, Resampling(1 - STATED / len(SHARES), 400, seed=trial))


def choices(common: float, own: float) -> list[Interval]:
    """Limits on the gain of the candidate that was chosen, trial by trial.

    Args:
        common: spread over documents, in nats, of what the candidates share: they lie on one line of weights.
        own: spread of what each has by itself.
    """
    random = np.random.default_rng(3)
    chosen = []
    for trial in range(TRIALS):
        shared = random.normal(0, common, (2, KEYS))  # the newest slice, and one older one
        moved = {name: share * shared + random.normal(0, own, (2, KEYS)) for name, share in SHARES.items()}
        best = best_candidate({name: 3.5 + float(moves.mean()) for name, moves in moved.items()})
        chosen.append(limits_of(moved[best][0] - GAIN, trial))
    return chosen


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
