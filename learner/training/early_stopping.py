"""When a round stops before its last step, and which weights it keeps. Never decided on what the gate reports."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class EarlyStopping:
    """Looks at a loss a few times in a round, keeps the best weights, stops after too many looks without gain.

    Args:
        model: whose weights are kept (in main memory) and put back.
        loss: the mean loss on the early-stopping samples.
        steps: how many the round plans.
        checks: how often to look, evenly spread; the last look is after the last step.
        patience: looks without gain until the round stops.
    """

    def __init__(self, model: Any, loss: Callable[[], float], *, steps: int, checks: int, patience: int) -> None:
        self._model, self._loss, self._patience = model, loss, patience
        self._looks = {max(1, round(steps * number / checks)) - 1 for number in range(1, checks + 1)}
        self._best_loss = float("inf")
        self._best_weights: list[Tensor] = []
        self._best_step = self._last_step = 0
        self._without_gain = 0

    def ends_after(self, index: int) -> bool:
        """Tell whether the round should stop after the step of this index (from 0); look if it is time to."""
        self._last_step = index + 1
        if index not in self._looks:
            return False
        loss = self._loss()
        self._without_gain += 1
        if loss < self._best_loss:
            self._best_loss, self._best_step, self._without_gain = loss, index + 1, 0
            self._best_weights = [weight.detach().to("cpu", copy=True) for weight in self._model.parameters()]
        return self._without_gain >= self._patience

    @torch.no_grad()
    def restore_best(self) -> int | None:
        """Put the best weights back; return their step, or None where the last step's are the best."""
        if not self._best_weights or self._best_step == self._last_step:
            return None
        for weight, best in zip(self._model.parameters(), self._best_weights, strict=True):
            weight.copy_(best)
        return self._best_step
