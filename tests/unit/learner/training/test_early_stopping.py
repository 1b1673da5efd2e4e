"""When a round stops, and what it keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learner.training.early_stopping import EarlyStopping


def run(losses: list[float], *, checks: int, patience: int, steps: int = 8) -> tuple[int, int | None, float]:
    """Train a weight that counts steps; return steps taken, step kept, and the weight in the end."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    looks = iter(losses)
    stopping = EarlyStopping(model, lambda: next(looks), checks=checks, patience=patience)
    taken = 0
    for index in range(steps):
        with torch.no_grad():
            model.weight += 1
        taken += 1
        if stopping.ends_after((index + 1) / steps):
            break
    return taken, stopping.restore_best(), model.weight.item()


def test_round_stops_after_too_many_looks_without_gain() -> None:
    """Two looks in a row no better than the best end it, and the best weights come back."""
    assert run([3.0, 2.0, 2.5, 2.0], checks=4, patience=2) == (8, 4, 4.0)
    assert run([2.0, 2.5, 2.4], checks=4, patience=2) == (6, 2, 2.0)


def test_round_that_gains_to_the_end_keeps_its_last_weights() -> None:
    """Nothing is put back."""
    assert run([3.0, 2.0, 1.5, 1.0], checks=4, patience=2) == (8, None, 8.0)


def test_last_look_is_after_the_last_step() -> None:
    """Even where steps and checks do not divide."""
    assert run([3.0, 2.0, 1.0], checks=3, patience=1, steps=7)[0] == 7


def test_more_checks_than_steps_look_after_each() -> None:
    """A short round looks as often as it can."""
    assert run([3.0, 2.0], checks=9, patience=1, steps=2) == (2, None, 2.0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_no_gain(loss: float) -> None:
    """It counts against patience."""
    assert run([2.0, loss], checks=4, patience=1) == (4, 2, 2.0)


class Counted:
    """A model that counts its steps in its only weight, looked at with a loss that falls with each."""

    def __init__(self, checks: int) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.looks: list[int] = []
        self.stopping = EarlyStopping(self.model, self._look, checks=checks, patience=1)

    def _look(self) -> float:
        self.looks.append(int(self.model.weight.item()))
        return -self.model.weight.item()

    def step(self, done: float) -> None:
        """Take a step with which this share of the round is done."""
        with torch.no_grad():
            self.model.weight += 1
        assert not self.stopping.ends_after(done)


def test_no_trained_step_is_thrown_away_where_a_round_ends_between_two_looks() -> None:
    """A round of 100 steps that ends after 74 is looked at after the 74th, which it keeps, not the 50th."""
    round_ = Counted(checks=4)
    for step in range(1, 75):
        round_.step(step / 100)
    assert round_.stopping.restore_best() is None
    assert round_.looks == [25, 50, 74]
    assert round_.model.weight.item() == 74


@given(steps=st.integers(1, 200), checks=st.integers(1, 30))
def test_looks_are_spread_over_the_whole_round(steps: int, checks: int) -> None:
    """A round that is not cut off has as many as were asked for, no two further apart than a part and a step."""
    round_ = Counted(checks)
    for step in range(1, steps + 1):
        round_.step(step / steps)
    assert round_.stopping.restore_best() is None
    assert len(round_.looks) == min(steps, checks)
    assert round_.looks[-1] == steps
    gaps = [after - before for before, after in zip([0, *round_.looks], round_.looks, strict=False)]
    assert max(gaps) <= steps / checks + 1


@given(shares=st.lists(st.floats(1e-6, 1), min_size=1, max_size=60).map(sorted), checks=st.integers(1, 30))
def test_last_step_is_always_looked_at_however_uneven_the_steps(shares: list[float], checks: int) -> None:
    """Steps may pass several looks at once or none: never more looks than asked for and one, the last step's always."""
    round_ = Counted(checks)
    for share in shares:
        round_.step(share)
    assert round_.stopping.restore_best() is None
    assert round_.looks[-1] == len(shares)
    assert len(round_.looks) == len(set(round_.looks)) <= checks + 1
