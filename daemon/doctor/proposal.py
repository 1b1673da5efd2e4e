"""Which settings of a round fit into the memory that is free, by the estimate. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from daemon.sizes.estimate import SHORTEST, halves, rows_at_once, training_bytes
from daemon.sizes.shape import ModelShape
from learner.settings import RecipeSettings


def proposal(shape: ModelShape, recipe: RecipeSettings, free: int) -> dict[str, Any] | None:
    """The smallest change of the recipe with which a round takes no more than `free` bytes.

    What costs no quality is tried first: rows at once, then checkpointing, then an adapter, then the length of
    sequences.

    Returns:
        settings of `[learner.recipe]` to change, none larger than it is; None where no change is enough.
    """
    for change in _changes(recipe):
        if training_bytes(shape, recipe.model_copy(update=change)) <= free:
            return {name: value for name, value in change.items() if value != getattr(recipe, name)}
    return None


def _changes(recipe: RecipeSettings) -> Iterator[dict[str, Any]]:
    rows = rows_at_once(recipe)
    yield {}
    # As the recipe has it first, and once where it has an adapter or checkpoints already.
    adapters = list(dict.fromkeys([recipe.adapter, recipe.adapter or "lora"]))
    for adapter in adapters:
        for saving in dict.fromkeys([recipe.gradient_checkpointing, True]):
            for fewer in (rows, *halves(rows, 1)):
                yield {"micro_batch": fewer, "gradient_checkpointing": saving, "adapter": adapter}
    least = {"micro_batch": 1, "gradient_checkpointing": True, "adapter": adapters[-1]}
    for shorter in halves(recipe.length, SHORTEST):
        yield least | {"sequence_length": shorter}


def as_lines(change: dict[str, Any]) -> str:
    """Settings as they are written in TOML, one after another: `learner.recipe.micro_batch = 4`."""
    # JSON's words for numbers, texts and truth are TOML's too.
    return ", ".join(f"`learner.recipe.{name} = {json.dumps(value)}`" for name, value in change.items())
