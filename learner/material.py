"""From a round's samples to its steps: what is fed, in which order, and what is minimised."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from checkpoints.probe.conduct import Side
from learner.batches import Step, balanced_passes, plan_steps, rows_of, shuffled_passes, within_budget
from learner.encoding import Encoded, Ints
from learner.feeds import WIDTH_MULTIPLE, CausalFeed, ClassifierFeed, Feed
from learner.objectives import CausalObjective, ClassifierObjective, Objective
from learner.settings import RecipeSettings


@dataclass(frozen=True, slots=True)
class Shape:
    """What the model says about its input.

    Attributes:
        longest: tokens in a sequence.
        pad: the token that fills a row.
        packed: whether the model keeps packed documents apart.
        classes: a classifier's number of labels; None for a causal LM.
        rows_together: whether rows of several widths may share a pass; where not, each is read alone and unpadded.
        side: on which a classifier's rows are padded.
        several: whether any number of them fits a document.
    """

    longest: int
    pad: int
    packed: bool = False
    classes: int | None = None
    rows_together: bool = True
    side: Side = "right"
    several: bool = False

    def rows(self, wanted: int) -> int:
        """Rows in a pass, of as many as are wanted."""
        return wanted if self.rows_together else 1


@dataclass(frozen=True, slots=True)
class Material:
    """A round ready to train; with no steps where nothing new can be trained on."""

    feed: Feed
    objective: Objective
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides on a round's steps, beside its text.

    Attributes:
        recipe: batch, ratio, budgets and objective.
        shape: what the model takes.
        seed: of the order of new rows and of what is replayed.
        device: where batches go.
    """

    recipe: RecipeSettings
    shape: Shape
    seed: int
    device: torch.device

    def random(self, purpose: int) -> np.random.Generator:
        """Return a generator for one purpose, independent of those for others."""
        return np.random.Generator(np.random.PCG64([self.seed, purpose]))

    def steps(self, new: Ints, old: Ints, draws: Iterator[int], ratio: float) -> Iterator[Step]:
        """Plan steps for new and replayed rows of these sizes.

        A step has as many new rows whether or not there is anything to replay: replay is added, it replaces nothing.
        """
        new_per_step = max(1, round(self.recipe.batch_sequences * (1 - ratio)))
        epochs, random = self.recipe.epochs, self.random(0)
        return plan_steps(new, old, draws, ratio=ratio, new_per_step=new_per_step, epochs=epochs, random=random)

    def kept(self, steps: Iterator[Step], new: Ints, old: Ints) -> list[Step]:
        """Keep the steps within the recipe's budgets; `new` and `old` are the rows' tokens."""
        return within_budget(steps, new, old, max_steps=self.recipe.max_steps, max_tokens=self.recipe.max_tokens)


def prepare(fresh: Encoded, replay: Encoded, plan: Plan) -> Material:
    """Plan a round's steps on new and replayed documents."""
    if plan.shape.classes is None:
        return _causal(fresh, replay, plan)
    return _classifier(fresh, replay, plan, plan.shape.classes)


def _causal(fresh: Encoded, replay: Encoded, plan: Plan) -> Material:
    recipe, shape = plan.recipe, plan.shape
    new = rows_of(fresh, shape.longest, packed=shape.packed)
    old = rows_of(replay, shape.longest, packed=shape.packed)
    draws = shuffled_passes(len(old), plan.random(1))
    steps = plan.steps(new.targets, old.targets, draws, recipe.replay_share("causal-lm"))
    return Material(
        feed=CausalFeed(
            new=new,
            replay=old,
            packed=shape.packed,
            pad=shape.pad,
            size=shape.rows(recipe.micro_batch),
            device=plan.device,
            longest=shape.longest,
            multiple=WIDTH_MULTIPLE if shape.rows_together else 1,
        ),
        objective=CausalObjective(recipe.kl, recipe.kl_temperature),
        steps=plan.kept(steps, new.widths, old.widths),
    )


def _classifier(fresh: Encoded, replay: Encoded, plan: Plan, classes: int) -> Material:
    recipe = plan.recipe
    several = plan.shape.several
    draws = balanced_passes(_strata(replay.labels), plan.random(1))
    sizes = np.ones(len(fresh), dtype=np.int64), np.ones(len(replay), dtype=np.int64)
    steps = plan.steps(*sizes, draws, recipe.replay_share("classifier"))
    return Material(
        feed=ClassifierFeed(
            new=fresh,
            replay=replay,
            classes=classes,
            masks_absent=recipe.er_ace and not several and brings_new_label(fresh, replay),
            pad=plan.shape.pad,
            size=plan.shape.rows(recipe.micro_batch),
            device=plan.device,
            side=plan.shape.side,
        ),
        objective=ClassifierObjective(recipe.der_alpha, recipe.der_beta, several),
        steps=plan.kept(steps, fresh.lengths, replay.lengths),
    )


def _strata(labels: Ints) -> Ints:
    """Return what replay is balanced over: the classes, or the sets of them that occur."""
    if labels.ndim == 1:
        return labels
    strata: Ints = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    return strata


def brings_new_label(fresh: Encoded, replay: Encoded) -> bool:
    """Tell whether new documents have a label that no replayed one has: the memory keeps some of every label."""
    return bool(np.setdiff1d(fresh.labels, replay.labels).size)
