"""A round that trains an adapter in place of all weights."""

from learner.weights.adapter import Adapter, AdapterShape, attach
from learner.weights.grown_head import GrownRows
from learner.workbench import Workbench


def attach_adapter(bench: Workbench, rows: GrownRows | None) -> Adapter | None:
    """Put the recipe's adapter beside the model's weights, in place; None where it has none.

    Args:
        bench: of the round, before a step was taken.
        rows: what the head has grown; None where it has not.

    Raises:
        learner.weights.adapter.NoAdapters: peft is not installed.
        learner.weights.adapted_modules.NoSuchModules: the model has nothing of what is to be changed.
    """
    spec, recipe = bench.given.spec, bench.given.spec.recipe
    if recipe.adapter is None:
        return None
    adapter = attach(
        bench.model,
        AdapterShape(recipe.adapter, recipe.adapter_rank, recipe.adapter_alpha, recipe.adapter_modules),
        seed=spec.seed,
        heads=spec.kind == "classifier",
        known_labels=None if rows is None else rows.first,
    )
    trained = sum(weight.numel() for weight in bench.model.parameters() if weight.requires_grad)
    bench.progress.say("adapter", kind=recipe.adapter, parameters=trained, matrices=len(adapter.adapted))
    return adapter
