"""The auxiliary loss of a mixture's router, which keeps its experts in use.

    loss + coefficient × experts × Σₑ fₑ Pₑ

where fₑ is how often a token goes to expert e and Pₑ the router's mean probability of it (Fedus et al. 2022, "Switch
Transformers", equations 4 to 6; as transformers counts it, the least is the number of experts that a token goes to).
Trained without it a router comes to prefer a few experts and the others wither. The coefficient is the model's own.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from learner.devices.device import move_to_device
from learner.objectives.forward_pass import MicroBatch
from learner.objectives.halves import Halves, Read

ROUTER: Final = "router"
"""Of the term in a step's figures: the loss itself, before the coefficient."""

_COEFFICIENTS: Final = ("router_aux_loss_coef", "aux_loss_coef")
_TRIAL_TOKENS: Final = 4


@dataclass(frozen=True, slots=True)
class RouterLoss:
    """How a mixture of experts is asked for its router's loss.

    Attributes:
        coefficient: what the loss is multiplied with, above 0.
    """

    coefficient: float

    @classmethod
    def of(cls, model: Any) -> "RouterLoss | None":
        """Return how a causal LM is asked; None where it has no such loss, or a coefficient of 0.

        Args:
            model: on its device; it is asked once, with a few tokens.
        """
        coefficient = _coefficient(model)
        if not coefficient or "output_router_logits" not in inspect.signature(model.forward).parameters:
            return None
        # A configuration names the coefficient also where no layer has experts: only the model knows.
        ids = torch.zeros((1, _TRIAL_TOKENS), dtype=torch.long, device=model.device)
        try:
            with torch.no_grad():
                loss = model(input_ids=ids, use_cache=False, output_router_logits=True).aux_loss
        except (AttributeError, IndexError, TypeError):
            return None
        return cls(coefficient) if isinstance(loss, Tensor) else None

    def read(self, model: Halves, batch: MicroBatch) -> Read:
        """Return what the model's body makes of a batch, with the loss over all tokens that are no padding."""
        asked = partial(model.model, attention_mask=_mask(batch), output_router_logits=True)
        with _mask_for_the_loss_alone(model.model):
            return model.read(batch.inputs, asked)


def _coefficient(model: Any) -> float:
    config = model.config.get_text_config()
    named = (getattr(holder, name, None) for holder in (model, config) for name in _COEFFICIENTS)
    return float(next((value for value in named if isinstance(value, int | float)), 0.0))


def _mask(batch: MicroBatch) -> Tensor:
    """Return 1 where a row has tokens and 0 where it is padded, on the right; shape (rows, width)."""
    ids = batch.inputs["input_ids"]
    widths = move_to_device(np.asarray(batch.widths), ids.device)[:, None]
    return (torch.arange(ids.shape[1], device=ids.device) < widths).long()


@contextmanager
def _mask_for_the_loss_alone(model: Any) -> Iterator[None]:
    """Keep the mask that a model is called with from its attention.

    Transformers hands the mask both to the layers and to the loss. Given one, the layers do not keep packed documents
    apart by their positions any more.
    """

    def without_mask(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, named | {"attention_mask": None}

    hook = model.base_model.register_forward_pre_hook(without_mask, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
