"""What moves weights by their gradients, and keeps what it needs to go on: where a round was saved, or in the next."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from learner.settings import RecipeSettings
from learner.training.adamw_8bit import AdamW8bit
from learner.training.coded_moments import Moments
from learner.weights.sharded import is_divided, local_part, placed_like, share_like, whole_of


class Optimizer(Protocol):
    """Of a round's training; called by `learner.training.train.Trainer`, in its thread."""

    def step(self, rate: float) -> None:
        """Move each weight that has a gradient, at this learning rate, and drop the gradients."""

    def tensors(self) -> dict[str, Tensor]:
        """Return all that steps change but the weights themselves, by name."""

    def go_on(self, held: Mapping[str, Tensor]) -> None:
        """Stand where another stood whose `tensors` these are; they are copied.

        Raises:
            UnusableSave: they are another model's; nothing is changed.
        """

    def moments(self) -> Iterator[tuple[int, Moments]]:
        """Yield the moments of each weight that has taken a step, with its place among the weights.

        Where the weights are divided over ranks, all of these have to go through them together.
        """

    def begin_with(self, moments: Mapping[int, Moments]) -> None:
        """Take these for its own before the first step; a weight that has none begins with none."""


class AdamW:
    """Torch's AdamW, fused.

    Args:
        weights: which are trained.
        recipe: betas and weight decay.
    """

    def __init__(self, weights: Sequence[nn.Parameter], recipe: RecipeSettings) -> None:
        self._weights, self._optimizer = list(weights), adamw(weights, recipe)

    def step(self, rate: float) -> None:
        """See `Optimizer`."""
        # The schedule is ours, not torch's: it follows time as well as steps, where a round may take only so long.
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """See `Optimizer`."""
        states = self._optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": local_part(moment)
            for index, moments in states.items()
            for name, moment in moments.items()
        }

    def go_on(self, held: Mapping[str, Tensor]) -> None:
        """See `Optimizer`."""
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        # Torch's own numbers follow its groups.
        weights = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        for name, moment in held.items():
            number, _, which = name.partition(".")
            index = int(number)
            moments[index][which] = moment.clone() if which == "step" else share_like(moment.clone(), weights[index])
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": dict(moments)})

    def moments(self) -> Iterator[tuple[int, Moments]]:
        """See `Optimizer`; they are coded here, a weight after the other."""
        # Torch's own numbers follow its groups, not the weights.
        for index, weight in enumerate(self._weights):
            if state := self._optimizer.state.get(weight):
                mean, square = whole_of(state["exp_avg"]), whole_of(state["exp_avg_sq"])
                yield index, Moments.coded(weight, int(state["step"]), mean, square)

    def begin_with(self, moments: Mapping[int, Moments]) -> None:
        """See `Optimizer`."""
        for index, held in moments.items():
            weight = self._weights[index]
            whole = torch.empty(weight.shape, device=weight.device) if is_divided(weight) else weight
            mean, square = (placed_like(exact, weight) for exact in held.exact(whole))
            step = torch.tensor(float(held.steps), device=weight.device)
            self._optimizer.state[weight] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}


def adamw(weights: Iterable[nn.Parameter], recipe: RecipeSettings) -> torch.optim.AdamW:
    """Return the optimizer; weight decay is for matrices alone, as biases and norms have no zero to shrink to."""
    listed = list(weights)
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in listed if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in listed if weight.ndim < 2], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    # No rate: each step sets its own before it moves.
    return torch.optim.AdamW(filled, lr=0.0, betas=(recipe.beta1, recipe.beta2), fused=True)


def optimizer_of(weights: Sequence[nn.Parameter], recipe: RecipeSettings) -> Optimizer:
    """Return the optimizer that a recipe names."""
    return AdamW8bit(weights, recipe) if recipe.optimizer == "adamw-8bit" else AdamW(weights, recipe)
