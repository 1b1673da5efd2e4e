"""Adam's moments from one round to the next: a round begins with those of its parent, and leaves its own.

Begun anew they know nothing: the first steps move each weight by nearly the whole rate, whatever its gradient, until
the means have filled. An accepted round's moments are those of its result and of every candidate between that and the
parent; each takes two bytes a weight, in the code of 8-bit AdamW, whatever optimizer the recipe has.

They are kept of a round whose last weights were kept. Where early stopping put back earlier ones, moments would tell
the next round of text that lineage says its parent never saw.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from checkpoints.adapters.ground import is_adapter
from checkpoints.files.disk_errors import disk_errors
from learner.devices.ranks import Ranks
from learner.directory.round_directory import CANDIDATES, MOMENTS, PARENT, RoundInput, candidate_name
from learner.directory.trained_result import MOMENTS_OF_RESULT, RESULT
from learner.errors import LearnerError
from learner.progress import Progress
from learner.training.coded_moments import Moments
from learner.training.train import Trainer, Training
from learner.weights.streamed_tensors import StreamedTensors, write_streamed

SHOWN: Final = 3
"""Weights that a note names."""


class RoundMoments:
    """Moments of a round; nothing is carried where the recipe says so, nor with an adapter, which is new each time.

    Args:
        given: what the round's directory holds.
        progress: told of what the round begins with.
        ranks: that run the round together; the first one writes.

    Attributes:
        note: one sentence where weights begin without moments though the recipe carries them; else empty.
    """

    def __init__(self, given: RoundInput, progress: Progress, ranks: Ranks) -> None:
        recipe = given.spec.recipe
        self._path, self._spec, self._progress, self._ranks = given.path, given.spec, progress, ranks
        self._carries, self.note = recipe.carry_moments and recipe.adapter is None, ""

    def begin(self, trainer: Trainer) -> None:
        """Let the first step begin with the parent's, as far as there are such.

        Raises:
            BadRoundDirectory: their file is damaged.
            LearnerError: another rank of the round has read others.
        """
        if not self._carries:
            return
        path, weights = self._path / PARENT / MOMENTS, trainer.trained()
        is_there = path.exists()
        carried, unfit = read_moments(path, weights) if is_there else ({}, [])
        self._require_alike(carried)
        trainer.begin_with(carried)
        self.note = (
            _anew(unfit, carried, self._spec.parent.generation)
            if is_there
            else f"The optimizer's moments began anew: {self._why_none()}."
        )
        self._progress.say("moments", carried=len(carried), weights=len(weights), reason=self.note)

    def _why_none(self) -> str:
        parent = self._spec.parent
        if parent.digest == self._spec.base.digest:
            return "the parent is the base model"
        why = "is an adapter" if is_adapter(self._path / PARENT) else "has none beside it"
        return f"generation {parent.generation} {why}"

    def _require_alike(self, carried: Mapping[str, Moments]) -> None:
        if self._ranks.is_alone:
            return
        sum_ = sum(moments.sum_of_bytes() for moments in carried.values())
        if self._ranks.agree(sum_) != sum_:
            path = self._path / PARENT / MOMENTS
            raise LearnerError(f"{path} is not the same for all ranks of the round. Copy its directory anew to each.")

    def keep(self, trainer: Trainer, training: Training) -> None:
        """Write the round's moments to where they go with its candidates.

        Raises:
            OSError: the disk refused.
        """
        if not self._carries:
            return
        if training.early_stopped_at is not None:
            reason = f"the weights are those of step {training.early_stopped_at} of {training.steps}"
            self._progress.say("moments_not_kept", reason=reason)
            return
        kept: dict[str, Tensor] = {}
        for name, moments in trainer.moments():
            # To main memory: a large model's, whole, need not fit beside a rank's share of its weights.
            if self._ranks.is_first:
                kept |= {f"{name}.{own}": tensor.cpu() for own, tensor in moments.tensors().items()}
        if not self._ranks.is_first:
            return
        path = self._path / _place(self._spec.recipe.interpolation)
        with disk_errors(path):
            # Not the round's directory: one that was erased meanwhile must not begin anew.
            for folder in list(path.relative_to(self._path).parents)[-2::-1]:
                (self._path / folder).mkdir(exist_ok=True)
            # Sorted: a round that went on has them in the order that its save had, and is to write the same bytes.
            write_streamed(path, dict(sorted(kept.items())), self._progress.alive)


def _place(shares: tuple[float, ...]) -> Path:
    """Where a round's moments are, below its directory: beside its result, or the only candidate's."""
    share, *further = set(shares)
    return Path(RESULT) / MOMENTS_OF_RESULT if further else Path(CANDIDATES) / candidate_name(share) / MOMENTS


def read_moments(path: Path, weights: Mapping[str, nn.Parameter]) -> tuple[dict[str, Moments], list[str]]:
    """Read moments from beside a generation.

    Args:
        path: of the file.
        weights: whose they are to be, by name.

    Returns:
        those that fit, by the weight's name, and the names of weights that it has in another shape.

    Raises:
        BadRoundDirectory: it is damaged.
    """
    held = StreamedTensors(path)
    fitting, unfit = {}, []
    for name, weight in weights.items():
        moments = Moments.of(weight)
        own = {each: f"{name}.{each}" for each in moments.tensors()}
        if moments.take({each: held[full] for each, full in own.items() if full in held}):
            fitting[name] = moments
        elif own["steps"] in held:
            unfit.append(name)
    return fitting, unfit


def _anew(unfit: list[str], carried: Mapping[str, Moments], generation: int) -> str:
    """Say of which weights the moments began anew; empty where all of the parent's were taken."""
    if not carried:
        return f"The optimizer's moments began anew: those of generation {generation} are of other weights."
    if not unfit:
        return ""
    named = ", ".join(unfit[:SHOWN]) + (", …" if len(unfit) > SHOWN else "")
    return f"The optimizer's moments of {named} began anew: generation {generation} has such weights in another shape."
