"""The training of a round: the step, and the loop around it."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from learner.devices.device import Device, random_state, restore_random
from learner.devices.ranks import ALONE, Ranks
from learner.directory.saved_round import TrainingPlace, UnusableSave
from learner.errors import LearnerError
from learner.material.batches import Step
from learner.material.feeds import CausalFeed, Feed
from learner.objectives.losses import Objective
from learner.objectives.passes import pass_of
from learner.objectives.router_loss import ROUTER, RouterLoss
from learner.objectives.weight_pull import Pull
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.training.coded_moments import Moments
from learner.training.compiling import Compiling
from learner.training.early_stopping import EarlyStopping
from learner.training.lockstep import Turn, first_made, turns, turns_alone
from learner.training.optimizers import optimizer_of
from learner.training.schedules import rate_factor, share_done, warmup_share
from learner.weights.sharded import at_rest, clip_gradients, is_divided, local_part

# The report's losses are means over this share of the steps, at the end: one step's alone is mostly chance.
LAST_STEPS_SHARE = 0.1


class Diverged(LearnerError):
    """A step's loss or gradient was not finite; no weight has been touched by it."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What a step came to.

    Attributes:
        losses: each term, per token that it counts (per document for a classifier).
        gradient_norm: before clipping.
        targets: what was predicted, new and replayed, counted by the samples' weights.
        tokens: trained, new and replayed.
    """

    losses: dict[str, float]
    gradient_norm: float
    targets: tuple[float, float]
    tokens: tuple[int, int]


@dataclass(slots=True)
class Training:
    """What the training of a round came to; see `learner.directory.report.TrainingSummary`."""

    steps: int = 0
    tokens_new: int = 0
    tokens_replayed: int = 0
    seconds: float = 0.0
    early_stopped_at: int | None = None
    compile_note: str = ""
    recent: deque[dict[str, float]] = field(default_factory=deque)

    def add(self, figures: StepFigures) -> None:
        """Count one step; keep the losses of the last of those that were taken."""
        self.steps += 1
        self.tokens_new += figures.tokens[0]
        self.tokens_replayed += figures.tokens[1]
        self.recent.append(figures.losses)
        # Of the steps taken, not of those planned: time may end a round long before them.
        while len(self.recent) > max(1, round(self.steps * LAST_STEPS_SHARE)):
            self.recent.popleft()

    def place(self, stopping: EarlyStopping | None) -> TrainingPlace:
        """Return where the round stands, without its tensors; not before its first step."""
        return TrainingPlace(
            steps=self.steps,
            tokens_new=self.tokens_new,
            tokens_replayed=self.tokens_replayed,
            seconds=self.seconds,
            recent=tuple(self.recent),
            stopping=None if stopping is None else stopping.place(),
        )

    @classmethod
    def at(cls, place: TrainingPlace) -> "Training":
        """Return what the training of a round had come to at a place."""
        return cls(
            steps=place.steps,
            tokens_new=place.tokens_new,
            tokens_replayed=place.tokens_replayed,
            seconds=place.seconds,
            recent=deque(dict(losses) for losses in place.recent),
        )

    @property
    def tokens_per_second(self) -> float:
        """Tokens trained each second."""
        return (self.tokens_new + self.tokens_replayed) / self.seconds if self.seconds else 0.0

    @property
    def losses(self) -> dict[str, float]:
        """Mean of each loss term over the last steps."""
        names = self.recent[0] if self.recent else {}
        return {name: math.fsum(step[name] for step in self.recent) / len(self.recent) for name in names}


class Trainer:
    """Takes optimizer steps.

    Args:
        model: of whose weights those that require a gradient are trained in place; in float32, or for 8-bit AdamW in
            bfloat16.
        parent: what it is distilled from; None where the objective needs none.
        standing: the context in which `parent` answers as the parent, where it is the model itself.
        feed: gives micro-batches.
        objective: what is minimised.
        pull: the penalty on weights; None for none.
        router: the auxiliary loss of a mixture's router; None for a model without.
        recipe: of the optimizer.
        peak_rate: the largest learning rate.
        device: where it runs.
        passed: told after each micro-batch how many sequences were in it.
        ranks: that train the round together; each passes a share of a step's rows, and all take the same step.
        compiles: whether the layers are to be compiled; they are by `compile`.
    """

    def __init__(
        self,
        model: Any,
        parent: Any,
        *,
        feed: Feed,
        objective: Objective,
        pull: Pull | None,
        recipe: RecipeSettings,
        peak_rate: float,
        device: Device,
        standing: Callable[[], AbstractContextManager[None]] = nullcontext,
        router: RouterLoss | None = None,
        passed: Callable[[int], None] = lambda _: None,
        ranks: Ranks = ALONE,
        compiles: bool = False,
    ) -> None:
        self.ranks, self.compiles, self._seed = ranks, compiles, torch.initial_seed()
        self.model, self.feed, self._pull = model, feed, pull
        self._recipe, self._peak_rate, self.device = recipe, peak_rate, device
        self.compiling = Compiling(pass_of(model, parent, objective, device, router=router, standing=standing))
        self._passed = passed
        self._weights = list(self.trained().values())
        self._planned = partial(turns if any(map(is_divided, self._weights)) else turns_alone, feed, ranks=ranks)
        self._optimizer = optimizer_of(self._weights, recipe)
        self._begun: tuple[Step, Iterator[Turn]] | None = None

    def compile(self, step: Step, progress: Progress) -> None:
        """Let the layers be compiled from now on, where that gives what they give.

        Args:
            step: the round's first one, on whose text it is tried. Nothing is trained by it.
            progress: told of what came of it.
        """
        alike = isinstance(self.feed, CausalFeed) and self.feed.alike
        batches = list(self.feed.micro_batches(step, self.ranks.share)) if alike else []
        self.compiling.begin(batches, self._weights, self.device, progress)

    def step(self, step: Step, rate: float, following: Step | None = None) -> StepFigures:
        """Take one optimizer step: loss, backward, penalty, clip, finite check, update.

        Args:
            step: what to train.
            rate: of the peak learning rate, in [0, 1].
            following: what comes after it, to be prepared while the device is still busy; None where that is not known.

        Raises:
            Diverged: loss or gradient is not finite; the weights are as they were.
        """
        targets, tokens = self.feed.targets(step), self.feed.tokens(step)
        try:
            sums = self._pass_all(step, sum(targets), sum(tokens))
        except Exception as error:
            if not self.compiling.gives_up(error, step.number):
                raise
            # What the step had come to is dropped.
            for weight in self._weights:
                weight.grad = None
            sums = self._pass_all(step, sum(targets), sum(tokens))
        self.ranks.add_up_gradients(self._weights)
        self.ranks.add_up(sums)
        # After the backward pass and before the clip: the pull is part of the gradient that is bounded.
        if self._pull is not None:
            self._pull.add_gradient()
        norm = clip_gradients(self._weights, self._recipe.clip, self.ranks)
        self._begun = None if following is None else (following, first_made(self._planned(following)))
        # The step's only wait for the device: each figure read by itself would be one more.
        *totals, norm_value = torch.cat([sums, norm[None]]).tolist()
        # Looked at before the optimizer moves: a single step on NaN would leave nothing to go back to.
        if not all(map(math.isfinite, (*totals, norm_value))):
            raise Diverged(f"loss or gradient is not finite (gradient norm {norm_value}, {self._describe(totals)})")
        # What is rounded by chance is rounded alike on all: their weights stay the same.
        self._seed_step(step, of_rank=0)
        self._optimizer.step(rate * self._peak_rate)
        return StepFigures(self._per_target(totals, targets), norm_value, targets, tokens)

    def _pass_all(self, step: Step, targets: float, tokens: int) -> Tensor:
        """Add the gradient of this rank's share of a step; return its loss terms, summed."""
        pass_ = self.compiling.pass_
        sums = torch.zeros(len(pass_.names), device=self.device.where)
        # Each drops others of its rows' values.
        self._seed_step(step, of_rank=1 + self.ranks.rank)
        for turn in self._turns(step):
            if turn.reads_parent:
                pass_.read_parent(turn.batch)
            sums += pass_(turn.batch, targets, tokens)
            self.device.tidy()
            self._passed(turn.rows)
        return sums

    def _turns(self, step: Step) -> Iterator[Turn]:
        begun, self._begun = self._begun, None
        return begun[1] if begun is not None and begun[0] is step else self._planned(step)

    def _seed_step(self, step: Step, *, of_rank: int) -> None:
        """Let ranks draw apart, or alike; by the step, so that a round that goes on draws what it would have drawn."""
        if not self.ranks.is_alone:
            drawn = np.random.SeedSequence([self._seed, step.number, of_rank]).generate_state(1)
            torch.manual_seed(int(drawn[0]))

    def _per_target(self, totals: Sequence[float], targets: tuple[float, float]) -> dict[str, float]:
        new, *replayed = self.compiling.pass_.names
        losses = {new: totals[0] / (targets[0] or 1)}
        for name, total in zip(replayed, totals[1:], strict=True):
            # The router's is no sum over targets.
            losses[name] = total if name == ROUTER else total / (targets[1] or 1)
        return losses

    def _describe(self, totals: Sequence[float]) -> str:
        return ", ".join(f"{name} {total}" for name, total in zip(self.compiling.pass_.names, totals, strict=True))

    def penalty(self) -> float | None:
        """Return the penalty on weights as it stands; None where the recipe has none. Waits for the device."""
        return None if self._pull is None else float(self._pull.value())

    def tensors(self) -> dict[str, Tensor]:
        """Return all that steps change, by name: of weights and the optimizer's moments what this rank holds."""
        held: dict[str, Tensor] = {f"weight.{name}": local_part(weight) for name, weight in self.trained().items()}
        held |= {f"buffer.{name}": buffer for name, buffer in self.model.named_buffers()}
        held |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.tensors().items()}
        return held | {f"random.{name}": state for name, state in random_state(self.device).items()}

    @torch.no_grad()
    def moments(self) -> Iterator[tuple[str, Moments]]:
        """Yield the name of each weight that took a step with the optimizer's moments, a byte each.

        Where the weights are divided over ranks, all of these have to go through them together.
        """
        names = list(self.trained())
        for index, moments in self._optimizer.moments():
            yield names[index], moments

    @torch.no_grad()
    def begin_with(self, moments: Mapping[str, Moments]) -> None:
        """Begin the first step with these of the optimizer's moments, by the name of the weight."""
        named = enumerate(self.trained())
        self._optimizer.begin_with({index: moments[name] for index, name in named if name in moments})

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the weights that are trained, by name, in the optimizer's order."""
        at_rest(self.model)
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def go_on(self, held: Mapping[str, Tensor]) -> None:
        """Stand where another stood whose `tensors` these are, in the same round from the same parent.

        Raises:
            UnusableSave: they are of another model; nothing is changed.
        """
        own = {name: tensor for name, tensor in self.tensors().items() if name.startswith(("weight.", "buffer."))}
        if any(name not in held or held[name].shape != tensor.shape for name, tensor in own.items()):
            raise UnusableSave("its tensors are those of another model")
        # Copied: what was read lies in a file that is soon removed.
        self._optimizer.go_on(_below("optimizer", held))
        for name, tensor in own.items():
            tensor.copy_(held[name])
        restore_random(self.device, _below("random", held))


def _below(prefix: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors whose names begin with a word, by the rest of their names."""
    return {name.removeprefix(f"{prefix}."): value for name, value in held.items() if name.startswith(f"{prefix}.")}


class Saves(Protocol):
    """Keeps where a round stands; called by `train`, in its thread."""

    def go_on(self, trainer: Trainer, stopping: EarlyStopping | None) -> Training:
        """Bring both to where the round was saved; return what its training had come to, nothing where it was not."""

    def due(self) -> bool:
        """Tell, after a step, whether it is time to save."""

    def save(self, trainer: Trainer, stopping: EarlyStopping | None, training: Training) -> None:
        """Save where the round stands after a step. What the disk refuses is told, not raised."""


def train(
    trainer: Trainer,
    steps: Sequence[Step],
    recipe: RecipeSettings,
    *,
    progress: Progress,
    stopping: EarlyStopping | None = None,
    saves: Saves | None = None,
    on_step: Callable[[StepFigures], None] = lambda _: None,
) -> Training:
    """Train a round to its end: all steps, or the time that it may take, or no more improvement.

    Args:
        trainer: takes the steps.
        steps: as planned.
        recipe: warm-up, floor and budgets.
        progress: told of steps.
        stopping: looks at samples that the gate never reports on; None never stops early.
        saves: keeps where the round stands, so that it can go on from there; None for nothing of that.
        on_step: called after each step.

    Raises:
        Diverged: loss or gradient was not finite.
    """
    if trainer.compiles:
        trainer.compile(steps[0], progress)
    training = _begun(trainer, steps, progress, stopping, saves)
    began, ranks = progress.clock() - training.seconds, trainer.ranks

    def note_time(index: int) -> float:
        """Note how long the round has trained; return the share of it that is done after the step of this index."""
        training.seconds = ranks.agree(progress.clock() - began)
        return share_done(index, len(steps), seconds=training.seconds, max_seconds=recipe.max_seconds)

    for index, step in enumerate(steps[training.steps :], training.steps):
        done = note_time(index)
        # The first step is always taken: a round that learned nothing could not be told from one that failed.
        if recipe.max_seconds is not None and index and training.seconds >= recipe.max_seconds:
            break
        warmup = warmup_share(index, done, share=recipe.warmup, least_steps=recipe.warmup_steps)
        rate = rate_factor(done, warmup=warmup, floor=recipe.floor)
        figures = trainer.step(step, rate, *steps[index + 1 : index + 2])
        training.add(figures)
        on_step(figures)
        # The penalty and the memory that are told make a step wait for the device: not at each one.
        if ranks.agree(progress.due() or index + 1 == len(steps)):
            note_time(index)
            _say(progress, training, figures, trainer, len(steps))
        # By the time after the step, as that is when it looks: a slow step may have used up what was left.
        if stopping is not None and stopping.ends_after(note_time(index)):
            break
        if saves is not None and ranks.agree(saves.due()):
            note_time(index)
            saves.save(trainer, stopping, training)
    note_time(training.steps)
    training.compile_note = trainer.compiling.note
    # Back to the best weights also where all steps were taken: the last need not be the best.
    if stopping is not None:
        training.early_stopped_at = stopping.restore_best()
    return training


def _begun(
    trainer: Trainer, steps: Sequence[Step], progress: Progress, stopping: EarlyStopping | None, saves: Saves | None
) -> Training:
    """What the training had come to where it was saved, from which it goes on; else nothing."""
    training = Training() if saves is None else saves.go_on(trainer, stopping)
    if training.steps:
        before = sum(map(trainer.feed.sequences, steps[: training.steps]))
        progress.count_earlier(before, training.seconds)
        progress.say("goes_on", step=training.steps, steps=len(steps), trained_seconds=round(training.seconds, 3))
    return training


def _say(progress: Progress, training: Training, figures: StepFigures, trainer: Trainer, steps: int) -> None:
    progress.say(
        "step",
        step=training.steps,
        steps=steps,
        losses=figures.losses,
        penalty=trainer.penalty(),
        gradient_norm=figures.gradient_norm,
        tokens_new=training.tokens_new,
        tokens_replayed=training.tokens_replayed,
        tokens_per_second=training.tokens_per_second,
        memory_bytes=trainer.device.memory_bytes(),
    )
