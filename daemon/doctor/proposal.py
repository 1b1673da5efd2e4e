"""Which settings of a round fit into the memory that is free, by the estimate. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from daemon.sizes.estimate import SHORTEST, halves, rows_at_once, training_bytes
from daemon.sizes.shape import ModelShape
from learner.adapter_library import HOW_TO_INSTALL, has_adapters
from learner.process_settings import LearnerSettings

ADAPTER: Final = "recipe.adapter"


def proposal(shape: ModelShape, learner: LearnerSettings, free: int) -> dict[str, Any] | None:
    """The smallest change of the learner's settings with which a round takes no more than `free` bytes.

    What costs no quality is tried first: rows at once, then checkpointing, then an adapter, then the length of
    sequences. Nothing is proposed that the settings themselves refuse.

    Args:
        shape: of the model, with as many sharing its weights as the settings say.
        learner: the settings.
        free: bytes for each process of a round.

    Returns:
        settings to change by their names below `learner.`, none larger than it is; None where no change is enough.
    """
    for change in _changes(learner):
        changed = changed_by(learner, change)
        if changed is not None and training_bytes(_shared(shape, changed), changed.recipe) <= free:
            return {name: value for name, value in change.items() if value != _value(learner, name)}
    return None


def with_adapter(learner: LearnerSettings) -> dict[str, Any] | None:
    """The change that trains an adapter in place of all weights; None where there is one, or the settings refuse it."""
    # Beside an adapter nothing is left that could be divided.
    change = {ADAPTER: "lora", **({"sharded": False} if learner.sharded else {})}
    return None if learner.recipe.adapter is not None or changed_by(learner, change) is None else change


def changed_by(learner: LearnerSettings, change: Mapping[str, Any]) -> LearnerSettings | None:
    """The settings with a change; None where they refuse it."""
    tree: dict[str, Any] = {**dict(learner), "recipe": dict(learner.recipe)}
    for name, value in change.items():
        table, _, key = name.rpartition(".")
        (tree[table] if table else tree)[key] = value
    try:
        return LearnerSettings.model_validate(tree)
    except ValidationError:
        return None


def _changes(learner: LearnerSettings) -> Iterator[dict[str, Any]]:
    recipe, rows = learner.recipe, rows_at_once(learner.recipe)
    yield {}
    # As the settings have it first, and once where they have an adapter or checkpoints already.
    adapted = [{}, *([change] if (change := with_adapter(learner)) is not None else [])]
    for adapter in adapted:
        for saving in dict.fromkeys([recipe.gradient_checkpointing, True]):
            for fewer in (rows, *halves(rows, 1)):
                yield {"recipe.micro_batch": fewer, "recipe.gradient_checkpointing": saving, **adapter}
    least = {"recipe.micro_batch": 1, "recipe.gradient_checkpointing": True, **adapted[-1]}
    for shorter in halves(recipe.length, SHORTEST):
        yield least | {"recipe.sequence_length": shorter}


def _shared(shape: ModelShape, learner: LearnerSettings) -> ModelShape:
    return shape if learner.sharded else replace(shape, divided_by=1)


def _value(learner: LearnerSettings, name: str) -> Any:
    table, _, key = name.rpartition(".")
    return getattr(getattr(learner, table) if table else learner, key)


def as_lines(change: Mapping[str, Any]) -> str:
    """Settings as they are written in TOML, one after another: `learner.recipe.micro_batch = 4`."""
    # JSON's words for numbers, texts and truth are TOML's too.
    return ", ".join(f"`learner.{name} = {json.dumps(value)}`" for name, value in change.items())


def to_be_installed(change: Mapping[str, Any]) -> str:
    """What a change needs that is not installed, in words that follow it; empty where that is nothing."""
    return f" ({HOW_TO_INSTALL} first)" if ADAPTER in change and not has_adapters() else ""
