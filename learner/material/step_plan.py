"""From a round's samples to its steps: what is fed, in which order, and what is minimised."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch

from checkpoints.probe.conduct import Side
from learner.material.batches import (
    LonePieces,
    Rows,
    Step,
    add_replay,
    balanced_draws,
    bearable_ratio,
    equal_steps,
    rows_of,
    shuffled_passes,
    within_budget,
)
from learner.material.encoding import Encoded, Ints
from learner.material.feeds import CausalFeed, ClassifierFeed, Feed, MaskedFeed, PairFeed
from learner.material.masks import Masking, masked_rows
from learner.material.pairs import pair_rows
from learner.material.rows_of_passes import WIDTH_MULTIPLE, PiecesApart
from learner.material.touched import RowContents, document_contents, rows_contents
from learner.material.weights import document_weights
from learner.objectives.losses import CausalObjective, ClassifierObjective, Objective
from learner.settings import RecipeSettings

GAPS = 5
"""The purpose, among those that a round draws for, of what a masked LM is to guess."""


@dataclass(frozen=True, slots=True)
class InputShape:
    """What the model says about its input.

    Attributes:
        longest: tokens in a sequence.
        pad: the token that fills a row.
        packed: whether the model keeps packed documents apart.
        classes: a classifier's number of labels; None for a language model.
        rows_together: whether rows of several widths may share a pass; where not, each is read alone and unpadded.
        side: on which rows are padded; those of a causal LM always on the right.
        several: whether any number of its labels fits a document.
        masking: how a masked LM's text is written; None for other models.
        start: what the decoder of a sequence-to-sequence model begins with; None for other models.
    """

    longest: int
    pad: int
    packed: bool = False
    classes: int | None = None
    rows_together: bool = True
    side: Side = "right"
    several: bool = False
    masking: Masking | None = None
    start: int | None = None

    def rows(self, wanted: int) -> int:
        """Rows in a pass, of as many as are wanted."""
        return wanted if self.rows_together else 1


@dataclass(frozen=True, slots=True)
class Material:
    """A round ready to train; with no steps where nothing new can be trained on.

    Attributes:
        feed: of the rows.
        objective: what is minimised.
        steps: over rows of new and of replayed text.
        new: what the rows of new text hold.
        replay: what those of replayed text hold.
        replay_ratio: that the steps are planned at: less than the recipe's where there is too little to replay.
    """

    feed: Feed
    objective: Objective
    steps: list[Step]
    new: RowContents
    replay: RowContents
    replay_ratio: float

    @property
    def tokens(self) -> int:
        """Tokens of all steps, new and replayed."""
        return sum(sum(self.feed.tokens(step)) for step in self.steps)

    @property
    def sequences(self) -> int:
        """Rows of all passes."""
        return sum(self.feed.sequences(step) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of text by what counts for a plan; each of shape (rows,).

    Attributes:
        weights: what the replay ratio is kept in: tokens to predict, or 1 for a classifier's documents.
        tokens: what a budget is kept in.
        ages: rows of older text have lower ones.
    """

    weights: Ints
    tokens: Ints
    ages: Ints


@dataclass(frozen=True, slots=True)
class Replayable:
    """Rows that can be replayed.

    Attributes:
        sizes: of the rows.
        draws: given how many rows are wanted, and how often one may come at most, begins a draw of them.
    """

    sizes: Sizes
    draws: Callable[[int, int], Iterator[int]]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What decides on a round's steps, beside its text.

    Attributes:
        recipe: batch, ratio, budgets and objective.
        shape: what the model takes.
        seed: of the order of new rows and of what is replayed.
        device: where batches go.
        compiles: whether code is compiled for the shapes of passes, which are to be few.
    """

    recipe: RecipeSettings
    shape: InputShape
    seed: int
    device: torch.device
    compiles: bool = False

    def random(self, purpose: int, number: int | None = None) -> np.random.Generator:
        """Return a generator for one purpose, or for a step of it, independent of those for others."""
        return np.random.Generator(np.random.PCG64([self.seed, purpose, *([] if number is None else [number])]))

    def steps(self, new: Sizes, old: Replayable) -> tuple[list[Step], float]:
        """Plan the steps on new and replayed rows, within the recipe's budgets; return them with their replay ratio.

        A step has as many new rows whether or not there is anything to replay: replay is added, it replaces nothing.
        Where the budgets end a round before all new rows were seen, it sees the oldest: what it leaves is drawn again,
        and would else be left again by chance.

        Args:
            new: rows of new text, the oldest text first.
            old: rows that can be replayed.
        """
        limit, oldest = self.recipe.max_steps, np.argsort(new.ages, kind="stable")
        # Steps that are few are whole ones: all rows spread over smaller ones would train fewer of them.
        fitting = oldest if limit is None else oldest[: limit * self._new_per_step]
        steps, bearable = self._over(np.sort(fitting), new, old, limit)
        kept = self._within_tokens(steps, new, old)
        if len(kept) == len(steps):
            return steps, bearable
        # Planned again also where only a later epoch was cut: replay that is short is spread over what is trained.
        seen = np.unique(np.concatenate([step.new for step in kept]))
        steps, bearable = self._over(np.sort(oldest[: len(seen)]), new, old, len(kept))
        return self._within_tokens(steps, new, old), bearable

    @property
    def _new_per_step(self) -> int:
        return max(1, round(self.recipe.batch_sequences * (1 - self.recipe.replay_ratio)))

    def _over(self, rows: Ints, new: Sizes, old: Replayable, limit: int | None) -> tuple[list[Step], float]:
        """Plan at most `limit` steps over some of the new rows."""
        parts = equal_steps(
            len(rows),
            most=self._new_per_step,
            epochs=self.recipe.epochs,
            random=self.random(0),
            # How far a limit in seconds reaches nobody knows before.
            ages=None if self.recipe.max_seconds is None else new.ages[rows],
        )
        of_new = [rows[part] for part in islice(parts, limit)]
        trained, replayable = float(sum(new.weights[part].sum() for part in of_new)), float(old.sizes.weights.sum())
        # For each pass over the new text: where that comes several times, what is replayed beside it may too.
        passes = math.ceil(sum(map(len, of_new)) / max(1, len(rows)))
        most = self.recipe.most_replays * passes
        bearable = bearable_ratio(self.recipe.replay_ratio, new=trained, replayable=replayable, most=most)
        # One more than the ratio comes to: what is owed is rounded to whole rows.
        drawn = old.draws(math.ceil(trained * bearable / (1 - bearable)) + 1, most)
        return list(add_replay(of_new, new.weights, old.sizes.weights, drawn, ratio=bearable)), bearable

    def _within_tokens(self, steps: list[Step], new: Sizes, old: Replayable) -> list[Step]:
        return within_budget(steps, new.tokens, old.sizes.tokens, max_tokens=self.recipe.max_tokens)


def prepare(fresh: Encoded, replay: Encoded, plan: StepPlan) -> Material:
    """Plan a round's steps on new and replayed documents."""
    if plan.shape.classes is not None:
        return _classifier(fresh, replay, plan, plan.shape.classes)
    if plan.shape.masking is not None:
        return _masked(fresh, replay, plan, plan.shape.masking)
    if plan.shape.start is not None:
        return _paired(fresh, replay, plan, plan.shape.start)
    return _causal(fresh, replay, plan)


def _steps_of_rows(new: Rows, old: Rows, plan: StepPlan) -> tuple[list[Step], float]:
    """Plan the steps on a language model's rows, with their replay ratio."""
    return plan.steps(
        Sizes(new.targets, new.widths, _ages(new)),
        Replayable(
            Sizes(old.targets, old.widths, _ages(old)),
            lambda _, most: islice(shuffled_passes(len(old), plan.random(1)), most * len(old)),
        ),
    )


def _masked(fresh: Encoded, replay: Encoded, plan: StepPlan, masking: Masking) -> Material:
    recipe, shape = plan.recipe, plan.shape
    new, old = (masked_rows(text, shape.longest, masking) for text in (fresh, replay))
    steps, ratio = _steps_of_rows(new, old, plan)
    return Material(
        feed=MaskedFeed(
            new=new,
            replay=old,
            masking=masking,
            random=partial(plan.random, GAPS),
            pad=shape.pad,
            size=shape.rows(recipe.micro_batch),
            device=plan.device,
            longest=shape.longest,
            multiple=WIDTH_MULTIPLE if shape.rows_together else 1,
            side=shape.side,
        ),
        objective=CausalObjective(recipe.kl, recipe.kl_temperature),
        steps=steps,
        new=rows_contents(new, fresh),
        replay=rows_contents(old, replay),
        replay_ratio=ratio,
    )


def _paired(fresh: Encoded, replay: Encoded, plan: StepPlan, start: int) -> Material:
    recipe, shape = plan.recipe, plan.shape
    new, old = pair_rows(fresh), pair_rows(replay)
    steps, ratio = _steps_of_rows(new, old, plan)
    return Material(
        feed=PairFeed(
            new=new,
            replay=old,
            start=start,
            pad=shape.pad,
            size=shape.rows(recipe.micro_batch),
            device=plan.device,
        ),
        objective=CausalObjective(recipe.kl, recipe.kl_temperature),
        steps=steps,
        new=rows_contents(new, fresh),
        replay=rows_contents(old, replay),
        replay_ratio=ratio,
    )


def _causal(fresh: Encoded, replay: Encoded, plan: StepPlan) -> Material:
    recipe, shape = plan.recipe, plan.shape
    # Also where the model reads its pieces apart: a step holds as many tokens.
    new, old = (rows_of(text, shape.longest) for text in (fresh, replay))
    apart = None
    if not shape.packed:
        most = recipe.micro_batch * shape.longest if shape.rows_together else 0
        apart = PiecesApart(LonePieces.of(new, fresh), LonePieces.of(old, replay), most)
    contents = rows_contents(new, fresh)
    steps, ratio = _steps_of_rows(new, old, plan)
    return Material(
        feed=CausalFeed(
            new=new,
            replay=old,
            pad=shape.pad,
            size=shape.rows(recipe.micro_batch),
            device=plan.device,
            longest=shape.longest,
            multiple=WIDTH_MULTIPLE if shape.rows_together else 1,
            # Rows of one piece each would be little else than padding.
            alike=plan.compiles and shape.packed,
            apart=apart,
        ),
        objective=CausalObjective(recipe.kl, recipe.kl_temperature),
        steps=steps,
        new=contents,
        replay=rows_contents(old, replay),
        replay_ratio=ratio,
    )


def _ages(rows: Rows) -> Ints:
    """Where the oldest text of each row stands among all: rows with the lowest come first."""
    return np.asarray([min(piece.start for piece in pieces) for pieces in rows.rows], dtype=np.int64)


def _classifier(fresh: Encoded, replay: Encoded, plan: StepPlan, classes: int) -> Material:
    recipe = plan.recipe
    several = plan.shape.several
    steps, ratio = plan.steps(
        Sizes(np.ones_like(fresh.lengths), fresh.lengths, np.arange(len(fresh))),
        Replayable(
            Sizes(np.ones_like(replay.lengths), replay.lengths, np.arange(len(replay))),
            lambda wanted, most: balanced_draws(_strata(replay.labels), plan.random(1), wanted=wanted, most=most),
        ),
    )
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
            weights=(document_weights(fresh), document_weights(replay)),
        ),
        objective=ClassifierObjective(recipe.der_alpha, recipe.der_beta, several),
        steps=steps,
        new=document_contents(fresh),
        replay=document_contents(replay),
        replay_ratio=ratio,
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


def replay_note(share: float, documents: int, recipe: RecipeSettings) -> str:
    """Say, in a sentence, that less is replayed than the recipe asks for; empty where all is, or there is nothing.

    Args:
        share: of what is trained, that is replayed; see `Material.replay_ratio`.
        documents: that can be replayed.
        recipe: of the round.
    """
    wanted = recipe.replay_ratio
    if not documents or share >= wanted:
        return ""
    return (
        f"{share:.1%} of what was trained is replayed text, not {wanted:.0%}: there are {documents:,} documents to "
        f"replay, each at most {recipe.most_replays} times in a pass over the new text (learner.recipe.most_replays)."
    )
