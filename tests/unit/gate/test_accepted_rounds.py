"""Good rounds pass: of those that a judge with ten times the held-out text accepts, nearly all are accepted.

A round is one of a stream at default settings: an anchor, three older slices and a new one, of as many keys each as the
memory aims at. `docs/learning-log.md` has the figures of more rounds.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gate.judge import GateSettings
from tests.unit.gate.simulated_rounds import Round, of_a_classifier, of_a_language_model

ROUNDS = 6
TIMES = 10
AT_LEAST = 0.9
TOLERANCE = 0.25
"""Of six rounds that are accepted in nine of ten cases each, four are in 98 %."""


@pytest.mark.slow
@pytest.mark.parametrize(("make", "keys"), [(of_a_language_model, 54), (of_a_classifier, 144)])
def test_nearly_every_round_is_accepted_that_ten_times_the_text_would_let_pass(
    make: Callable[[np.random.Generator], Round], keys: int
) -> None:
    """Whatever candidate it is that passes."""
    both = wanted = 0
    for number in range(ROUNDS):
        # By losses alone, which are what takes most to prove: a judge of answers takes minutes for so many documents.
        what = replace(make(np.random.default_rng(number)), kind="causal-lm", settings=GateSettings(resamples=200))
        if what.decision(np.random.default_rng(20_000 + number), TIMES * keys)[0] == "accept":
            wanted += 1
            both += what.decision(np.random.default_rng(10_000 + number), keys)[0] == "accept"
    assert wanted > ROUNDS / 2
    assert both / wanted >= AT_LEAST - TOLERANCE
