"""A round that trains a model whose weights are divided over its ranks: before and after training each has it whole."""

from dataclasses import replace
from typing import Any, Final

from learner.devices.divisible import why_not_divisible
from learner.errors import LearnerError
from learner.weights.sharded import gather_into, layers_of, same_modules, shard
from learner.workbench import Workbench

HOW: Final = "Set learner.sharded to false: each device then holds the whole model with its optimizer"


class NotShardable(LearnerError):
    """A round cannot be trained with divided weights."""


def require_shardable(bench: Workbench) -> None:
    """Refuse what cannot be trained so, before anything is scored.

    Raises:
        NotShardable: names it.
    """
    if not bench.is_sharded:
        return
    spec = bench.given.spec
    if spec.recipe.adapter is not None:
        raise NotShardable(f"an adapter is trained beside whole weights, never beside divided ones. {HOW}.")
    if spec.recipe.optimizer != "adamw":
        raise NotShardable(f"{spec.recipe.optimizer} moves whole weights, never divided ones. {HOW}.")
    if why := why_not_divisible(spec.kind, bench.model.config.to_dict()):
        raise NotShardable(f"{why}. {HOW}.")
    if not layers_of(bench.model):
        raise NotShardable(f"{type(bench.model).__name__} has no layers that its weights could be divided by. {HOW}.")


def divide(bench: Workbench) -> Workbench:
    """Return a bench whose model's weights are divided over the ranks; the given one itself where none are to be.

    The given one's model is empty until `make_whole`.
    """
    if not bench.is_sharded:
        return bench
    bench.ranks.take_over([*bench.model.parameters(), *bench.model.buffers()])
    return replace(bench, model=divided(bench, same_modules(bench.model)))


def divided(bench: Workbench, model: Any) -> Any:
    """Return a model, which may lie in main memory, with its weights divided over the ranks' devices."""
    shard(model, bench.ranks, bench.device)
    return model


def make_whole(bench: Workbench, trained: Workbench) -> None:
    """Give a bench's model the weights that were trained on the one that `divide` made of it."""
    if trained is not bench:
        gather_into(bench.model, trained.model)
