"""What a round's penalty on weights is made of: what it pulls toward, and how hard."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from learner.directory.round_directory import BASE
from learner.objectives.change_pull import ChangePull, PullsTogether
from learner.objectives.importance import Importance
from learner.objectives.weight_pull import Pull, QuadraticPull
from learner.round_importance import with_new_rows
from learner.weights.adapter import Adapter
from learner.weights.grown_head import GrownRows, with_rows_of
from learner.workbench import CPU, Workbench


def pull_of(
    bench: Workbench, matters: Importance | None, rows: GrownRows | None = None, adapter: Adapter | None = None
) -> Pull | None:
    """Return the pull on the model's weights as they stand; None where the recipe has none.

    Args:
        bench: of the round, before a step was taken.
        matters: what `RoundImportance.before` said.
        rows: what the head has grown, which nothing pulls on; None where it has not.
        adapter: of the model: what it changes is pulled on, and what it trains whole; None where all weights train.
    """
    recipe = bench.given.spec.recipe
    if not recipe.l2_sp and matters is None:
        return None
    parameters = dict(bench.model.named_parameters())
    weights: Mapping[str, Tensor] = parameters if adapter is None else adapter.weights
    terms: dict[str, Any] = {
        "l2_sp": recipe.l2_sp,
        "base": _weights_of_base(bench, weights) if recipe.l2_sp and recipe.l2_sp_anchor == "base" else None,
        "ewc": recipe.ewc,
        "importance": None if matters is None else with_new_rows(matters, weights),
    }
    free_rows = {} if rows is None else dict.fromkeys(rows.weights, rows.first)
    if adapter is None:
        return QuadraticPull(parameters, free_rows=free_rows, **terms)
    whole = QuadraticPull(adapter.whole, free_rows=free_rows, **terms)
    return PullsTogether(ChangePull(adapter.adapted, **terms), whole)


def _weights_of_base(bench: Workbench, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The base's weights by name; None where the round starts from the base itself."""
    spec = bench.given.spec
    if spec.base.digest == spec.parent.digest:
        return None
    # Divided weights take their shares of it from main memory.
    where = CPU if bench.is_sharded else bench.device.where
    base = dict(bench.load_master(BASE, where).named_parameters())
    # Of a label that the base never had it says nothing: such a row is held to what it was before the round.
    return with_rows_of(
        {name: base[name].detach() for name in weights}, {name: weight.detach() for name, weight in weights.items()}
    )
