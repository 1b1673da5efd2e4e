"""A round that trains an adapter in place of all weights."""

from learner.settings import RecipeSettings
from learner.weights.adapter import Adapter, AdapterShape, attach, require_adaptable
from learner.weights.four_bits import require_four_bits
from learner.weights.grown_head import GrownRows
from learner.workbench import Workbench


def require_adapter_fits(bench: Workbench) -> None:
    """Refuse a recipe whose adapter cannot be made, before anything is scored.

    Raises:
        learner.weights.adapter.NoAdapters: peft is not installed.
        learner.weights.adapted_modules.NoSuchModules: the model has nothing of what is to be changed.
    """
    if (shape := _shape(bench.given.spec.recipe)) is not None:
        require_adaptable(bench.model, shape)
    if bench.given.spec.recipe.adapter_base == "4bit":
        require_four_bits()


def attach_adapter(bench: Workbench, rows: GrownRows | None) -> Adapter | None:
    """Put the recipe's adapter beside the model's weights, in place; None where it has none.

    Args:
        bench: of the round, before a step was taken.
        rows: what the head has grown; None where it has not.

    Raises:
        learner.weights.adapter.NoAdapters: peft is not installed.
        learner.weights.adapted_modules.NoSuchModules: the model has nothing of what is to be changed.
    """
    spec = bench.given.spec
    shape = _shape(spec.recipe)
    if shape is None:
        return None
    adapter = attach(
        bench.model,
        shape,
        seed=spec.seed,
        heads=spec.kind == "classifier",
        known_labels=None if rows is None else rows.first,
    )
    trained = sum(weight.numel() for weight in bench.model.parameters() if weight.requires_grad)
    bench.progress.say("adapter", kind=shape.kind, parameters=trained, matrices=len(adapter.adapted))
    return adapter


def _shape(recipe: RecipeSettings) -> AdapterShape | None:
    if recipe.adapter is None:
        return None
    return AdapterShape(recipe.adapter, recipe.adapter_rank, recipe.adapter_alpha, recipe.adapter_modules)
