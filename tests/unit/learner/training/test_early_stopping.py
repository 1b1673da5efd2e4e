"""When a round stops, and what it keeps."""

import pytest
import torch
from torch import nn

from learner.training.early_stopping import EarlyStopping


def run(losses: list[float], *, checks: int, patience: int, steps: int = 8) -> tuple[int, int | None, float]:
    """Train a weight that counts steps; return steps taken, step kept, and the weight in the end."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    looks = iter(losses)
    stopping = EarlyStopping(model, lambda: next(looks), steps=steps, checks=checks, patience=patience)
    taken = 0
    for index in range(steps):
        with torch.no_grad():
            model.weight += 1
        taken += 1
        if stopping.ends_after(index):
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
