"""How a round's model is trained: by which trainer, from which parent, with which looks whether to stop early.

Where the round asks for it its weights are divided over the ranks meanwhile; before and after each has it whole.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

import torch

from checkpoints.files.label_names import NEW_WEIGHTS
from learner.devices.divisible import why_not_divisible
from learner.devices.ranks import ALONE
from learner.directory.round_directory import PARENT
from learner.errors import LearnerError
from learner.evaluation.document_scores import mean_nll
from learner.material.encoding import Encoded
from learner.material.step_plan import Material
from learner.objectives.router_loss import RouterLoss
from learner.objectives.weight_pull import Pull
from learner.saves import saves_of
from learner.training.early_stopping import EarlyStopping
from learner.training.round_moments import RoundMoments
from learner.training.train import Trainer, Training, train
from learner.weights.adapter import Adapter
from learner.weights.sharded import gather_into, layers_of, same_modules, shard
from learner.workbench import CPU, SEQUENCES, Workbench

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
    if spec.compile:
        raise NotShardable(f"divided layers are not compiled. {HOW}, or learner.compile.")
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
    shard(model, bench.ranks, bench.device.where)
    return model


def make_whole(bench: Workbench, trained: Workbench) -> None:
    """Give a bench's model the weights that were trained on the one that `divide` made of it."""
    if trained is not bench:
        gather_into(bench.model, trained.model)


class TrainingText(Protocol):
    """What of a round's text decides on how it is trained."""

    @property
    def replay(self) -> Encoded:
        """What is replayed."""

    @property
    def early_stop(self) -> Encoded:
        """What it is looked at whether later weights are better."""


def train_round(
    bench: Workbench,
    material: Material,
    pull: Callable[[], Pull | None],
    adapter: Adapter | None,
    *,
    given: TrainingText,
    moments: RoundMoments,
) -> Training:
    """Train the model of a bench, whose weights may be divided over ranks.

    Args:
        bench: of the round.
        material: its steps, and their text.
        pull: makes the penalty on weights, which is let go of with the training: its anchors are as large as the model.
        adapter: of the model; None where all weights are trained.
        given: the round's text.
        moments: what the optimizer begins with, and leaves.

    Raises:
        Diverged: loss or gradient was not finite.
    """
    spec, model = bench.given.spec, bench.model
    if adapter is None:
        model.requires_grad_(requires_grad=True)
    model.train()
    if spec.recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    if not bench.is_sharded:
        # What the head has grown, say, was computed by each rank, on a GPU not always alike to the last bit.
        bench.ranks.take_over([*model.parameters(), *model.buffers()])
    # Not loaded where no row would be distilled.
    distils = material.objective.needs_parent and len(given.replay)
    trainer = Trainer(
        model,
        _parent(bench, adapter) if distils else None,
        standing=nullcontext if adapter is None else adapter.off,
        feed=material.feed,
        objective=material.objective,
        pull=pull(),
        recipe=spec.recipe,
        peak_rate=spec.recipe.peak_rate(
            spec.kind, bench.parameters, steps_of_new_head=len(material.steps) if has_new_head(bench) else None
        ),
        device=bench.device,
        router=RouterLoss.of(model) if spec.kind == "causal-lm" else None,
        passed=bench.ranks.for_all(partial(bench.progress.advance, SEQUENCES)),
        ranks=bench.ranks,
        compiles=spec.compile,
    )
    stopping = _stopping(bench, given.early_stop)
    saves = saves_of(bench, material.steps)
    # Before a save that the round goes on from, which has its own.
    moments.begin(trainer)
    training = train(trainer, material.steps, spec.recipe, progress=bench.progress, stopping=stopping, saves=saves)
    moments.keep(trainer, training)
    return training


def _parent(bench: Workbench, adapter: Adapter | None) -> Any:
    """What replayed text is distilled from: the weights that training begins with, as far as the passes resolve them.

    Stored weights, which stay where they are for rounds, would hold back what is learned in steps smaller than theirs.
    With an adapter it is the model itself; else a model of its own, as training overwrites the other.
    """
    if adapter is not None:
        return bench.model
    if bench.trains_as_stored:
        return bench.load(PARENT, device=bench.device.where, dtype=None)
    # What is divided goes to the device layer by layer.
    where = CPU if bench.is_sharded else bench.device.where
    if bench.device.compute is torch.float32:
        parent = bench.load_master(PARENT, where)
    else:
        parent = bench.load(PARENT, device=where, dtype=bench.device.compute)
    return divided(bench, parent) if bench.is_sharded else parent


def has_new_head(bench: Workbench) -> bool:
    """Whether this is the first round of a classifier whose head was drawn at random."""
    spec = bench.given.spec
    return spec.parent.digest == spec.base.digest and hasattr(bench.model.config, NEW_WEIGHTS)


def _stopping(bench: Workbench, text: Encoded) -> EarlyStopping | None:
    recipe = bench.given.spec.recipe
    # Samples that neither train nor are reported on: stopping by either would flatter the candidate.
    if not len(text) or not recipe.early_stop_checks:
        return None
    # With divided weights all ranks pass together: each scores all of the text.
    evaluate = replace(bench.evaluate, ranks=ALONE) if bench.is_sharded else bench.evaluate
    return EarlyStopping(
        bench.model,
        lambda: mean_nll(evaluate(bench.model, text)),
        checks=recipe.early_stop_checks,
        patience=recipe.early_stop_patience,
    )
