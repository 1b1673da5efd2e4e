"""When a round stops before its last step, and which weights it keeps. Never decided on what the gate reports."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from learner.directory.saved_round import StoppingPlace
from learner.weights.sharded import at_rest, local_part


class EarlyStopping:
    """Looks at a loss a few times in a round, keeps the best weights, stops after too many looks without gain.

    Looks are due when the share of the round that is done, in steps or in time, passes the next of `checks` even
    parts. However the round ends, its last step is looked at before anything is put back: no trained step is thrown
    away for not having been looked at.

    Args:
        model: whose trained weights are kept (in main memory) and put back.
        loss: the mean loss on the early-stopping samples.
        checks: how many looks a whole round has.
        patience: looks without gain until the round stops.
    """

    def __init__(self, model: Any, loss: Callable[[], float], *, checks: int, patience: int) -> None:
        self._model, self._loss, self._checks, self._patience = model, loss, checks, patience
        # Counted in parts, not added up as shares: ten times a tenth is not one.
        self._next_part = 1
        self._steps = self._step_of_last_look = 0
        self._best_loss = float("inf")
        self._best_weights: list[Tensor] = []
        self._best_step = 0
        self._without_gain = 0

    def ends_after(self, done: float) -> bool:
        """Count a step; look if it is time to; tell whether the round should stop.

        Args:
            done: share of the round, in (0, 1], that is done with this step.
        """
        self._steps += 1
        if done < self._next_part / self._checks:
            return False
        # A slow step may pass several parts: one look is enough for all of them.
        while self._next_part / self._checks <= done:
            self._next_part += 1
        self._look()
        return self._without_gain >= self._patience

    def _look(self) -> None:
        self._step_of_last_look = self._steps
        loss = self._loss()
        self._without_gain += 1
        # A loss that is not a number compares as false, so that broken weights are never the best.
        if loss < self._best_loss:
            self._best_loss, self._best_step, self._without_gain = loss, self._steps, 0
            # To main memory: a second copy of the model beside its gradients and moments need not fit the device.
            self._best_weights = [local_part(weight.detach()).to("cpu", copy=True) for weight in self._trained()]

    @torch.no_grad()
    def restore_best(self) -> int | None:
        """Look at the last step where that was not done, then put the best weights back.

        Returns:
            the step of the best weights, from 1; None where the last step's are the best.
        """
        # Time runs out between two looks as a rule: what was trained since the last one may be the best.
        if self._steps > self._step_of_last_look:
            self._look()
        if not self._best_weights or self._best_step == self._steps:
            return None
        for weight, best in zip(self._trained(), self._best_weights, strict=True):
            local_part(weight).copy_(best)
        return self._best_step

    def _trained(self) -> Iterator[nn.Parameter]:
        at_rest(self._model)
        return (weight for weight in self._model.parameters() if weight.requires_grad)

    def place(self) -> StoppingPlace:
        """Return where it stands, without the best weights."""
        return StoppingPlace(
            next_part=self._next_part,
            steps=self._steps,
            step_of_last_look=self._step_of_last_look,
            best_loss=self._best_loss if self._best_weights else None,
            best_step=self._best_step,
            without_gain=self._without_gain,
        )

    def best_weights(self) -> Sequence[Tensor]:
        """Return the best weights so far, in the order of the model's; none before there are any."""
        return self._best_weights

    def go_on(self, place: StoppingPlace, best_weights: Sequence[Tensor]) -> None:
        """Stand where another stood in the same round.

        Args:
            place: as `place` gave it.
            best_weights: as `best_weights` gave them, in main memory.
        """
        self._next_part, self._steps = place.next_part, place.steps
        self._step_of_last_look, self._without_gain = place.step_of_last_look, place.without_gain
        self._best_loss = float("inf") if place.best_loss is None else place.best_loss
        self._best_step, self._best_weights = place.best_step, list(best_weights)
