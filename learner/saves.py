"""How a round saves itself into its directory while it trains, and goes on from there."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor

from checkpoints.json_files import write_sorted_json
from checkpoints.manifest import ListedFile
from learner.devices.ranks import ALONE, Ranks
from learner.directory.round_directory import EARLY_STOP, FRESH, REPLAY
from learner.directory.saved_round import (
    SavedRound,
    SavedShare,
    UnusableSave,
    drop_unnoted,
    forget_saved,
    note_saved,
    read_saved,
    require_usable,
    tensors_path,
)
from learner.errors import BadRoundDirectory, LearnerError
from learner.material.batches import Step
from learner.material.step_plan import InputShape
from learner.progress import Progress
from learner.training.early_stopping import EarlyStopping
from learner.training.save_times import SaveTimes
from learner.training.train import Trainer, Training
from learner.weights.streamed_tensors import write_streamed
from learner.weights.tensor_files import load_tensors
from learner.workbench import Workbench

COPIES: Final = 3
"""What a save has of each trained weight, in its own size: itself and the optimizer's two moments. The best so far is
one more.
"""


class RoundSaves:
    """Saves a round into its directory; see `learner.training.train.Saves`.

    Args:
        directory: of the round.
        belongs_to: what the round is known by.
        every: seconds between two saves; None for never.
        progress: told of each.
        ranks: that run the round together: all of them go on from what the first one saves.
        divided: whether the weights are divided over them; each then saves its shares, and goes on from these.
    """

    def __init__(
        self,
        directory: Path,
        belongs_to: Mapping[str, str],
        *,
        every: float | None,
        progress: Progress,
        ranks: Ranks = ALONE,
        divided: bool = False,
    ) -> None:
        self._ranks, self._divided = ranks, divided
        self._directory, self._belongs_to, self._progress = directory, dict(belongs_to), progress
        self._every, self._times = every, SaveTimes(every, progress.clock())

    def go_on(self, trainer: Trainer, stopping: EarlyStopping | None) -> Training:
        """Bring both to where the round was saved; what cannot be used is removed, and the round begins anew."""
        training = self._go_on(trainer, stopping)
        # None removes or replaces what another still reads.
        if self._ranks.agree(training.steps) != training.steps:
            raise LearnerError(f"{self._directory}: its ranks read different saves. Run the round again.")
        self._tidy(training)
        trained = (weight for weight in trainer.model.parameters() if weight.requires_grad)
        weights = sum(weight.numel() * weight.element_size() for weight in trained)
        size = weights * (COPIES if stopping is None else COPIES + 1)
        self._times = SaveTimes.begun(self._every, self._progress.clock(), size)
        return training

    def _go_on(self, trainer: Trainer, stopping: EarlyStopping | None) -> Training:
        try:
            saved, held = self._read()
            if saved is None:
                return Training()
            trainer.go_on(held)
        except UnusableSave as error:
            self._progress.say("begun_anew", reason=f"what the round had saved cannot be used: {error}")
            return Training()
        if stopping is not None and saved.place.stopping is not None:
            stopping.go_on(saved.place.stopping, _best_weights(held))
        return Training.at(saved.place)

    def _read(self) -> tuple[SavedRound | None, dict[str, Tensor]]:
        """What was saved, and its tensors.

        Raises:
            UnusableSave: it cannot be used; of divided weights, any of its shares.
        """
        saved, held, why = None, dict[str, Tensor](), ""
        try:
            saved = read_saved(self._directory)
            if saved is not None:
                rank = self._ranks.rank if self._divided else 0
                held = _read(require_usable(self._directory, saved, self._belongs_to, rank))
        except UnusableSave as error:
            why = str(error)
        if self._divided:
            why = next(filter(None, self._ranks.gather(why)), "")
        if why:
            raise UnusableSave(why)
        return saved, held

    def _tidy(self, training: Training) -> None:
        """Remove what no round goes on from: what could not be used, or what a save left half done when cut off."""
        if not self._ranks.is_first:
            return
        if training.steps:
            drop_unnoted(self._directory)
        else:
            forget_saved(self._directory)

    def due(self) -> bool:
        """Tell whether it is time to save."""
        return self._times.due(self._progress.clock())

    def save(self, trainer: Trainer, stopping: EarlyStopping | None, training: Training) -> None:
        """Save where the round stands; one that the disk refuses is told of, and the one before it stands."""
        if not (self._ranks.is_first or self._divided):
            return
        began = self._progress.clock()
        try:
            size = self._write(trainer, stopping, training)
        except OSError as error:
            reason = f"{error.strerror or error}: {error.filename or self._directory}"
            self._progress.say("not_saved", step=training.steps, reason=reason)
        else:
            took = round(self._progress.clock() - began, 3)
            self._progress.say("saved", step=training.steps, bytes=size, took_seconds=took)
        self._times = self._times.saved(began, self._progress.clock())

    def _write(self, trainer: Trainer, stopping: EarlyStopping | None, training: Training) -> int:
        tensors = trainer.tensors()
        if stopping is not None:
            tensors |= {f"best.{index:06d}": weight for index, weight in enumerate(stopping.best_weights())}
        try:
            first, *others = self._shares(tensors, training.steps)
            if self._ranks.is_first:
                place = training.place(stopping)
                saved = SavedRound(self._belongs_to, place, first.tensors, first.listed, tuple(others))
                note_saved(self._directory, saved)
        finally:
            if self._ranks.is_first:
                drop_unnoted(self._directory)
            if self._divided:
                # None writes the next one's while another still looks what is to go.
                self._ranks.wait()
        return sum(share.listed.bytes for share in (first, *others))

    def _shares(self, tensors: Mapping[str, Tensor], steps: int) -> list[SavedShare]:
        """Write this rank's tensors; return what all that write have written.

        Raises:
            OSError: the disk refused, this rank's or another's.
        """
        own: list[Any] | None = None
        refused: OSError | None = None
        try:
            size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
            _require_room(self._directory, size * self._ranks.count if self._divided else size)
            path = tensors_path(self._directory, steps, self._ranks.rank)
            listed = write_streamed(path, tensors, self._progress.alive)
            own = [path.name, listed.sha256, listed.bytes]
        except OSError as error:
            refused = error
        every = self._ranks.gather(own) if self._divided else [own]
        if refused is not None:
            raise refused
        written = [each for each in every if each is not None]
        if len(written) < len(every):
            raise OSError(errno.EIO, "another rank could not write its share", str(self._directory))
        return [SavedShare(name, ListedFile(sha256, size)) for name, sha256, size in written]


def _require_room(directory: Path, size: int) -> None:
    """Refuse what would fill the disk, before it stops others that write there."""
    if shutil.disk_usage(directory).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded = load_tensors(path)
    except BadRoundDirectory as error:
        raise UnusableSave(str(error)) from error
    assert loaded is not None
    return loaded[0]


def _best_weights(held: Mapping[str, Tensor]) -> list[Tensor]:
    # Copies: what was read lies in a file that is soon removed.
    return [held[name].clone() for name in sorted(held) if name.startswith("best.")]


def saves_of(bench: Workbench, steps: Sequence[Step]) -> RoundSaves:
    """Return what saves a round whose steps are planned."""
    spec = bench.given.spec
    # By the first one's device: each rank has another.
    belongs_to, every = bench.ranks.gather(known_by(bench, steps))[0], spec.save_seconds
    return RoundSaves(
        bench.given.path,
        belongs_to,
        every=every,
        progress=bench.progress,
        ranks=bench.ranks,
        divided=bench.is_sharded,
    )


def known_by(bench: Workbench, steps: Sequence[Step]) -> dict[str, str]:
    """Return what a round is known by: whatever would train other weights if it were another.

    How many rows a pass has is no part of it, nor whether activations are computed again: a round that ran out of
    memory goes on with less of it.
    """
    spec, path = bench.given.spec, bench.given.path
    recipe = spec.recipe.model_dump(mode="json", exclude={"micro_batch", "gradient_checkpointing"})
    adapters = {} if spec.recipe.adapter is None else {"version of peft": version("peft")}
    # Before, each was a row of the plan: the same numbers would name other text.
    apart = {"pieces": "read apart, planned in rows"} if _reads_pieces_apart(bench.shape) else {}
    divided = {"weights": f"divided over {bench.ranks.count} ranks"} if bench.is_sharded else {}
    return (
        adapters
        | apart
        | divided
        | {
            "round": f"{spec.round}, seed {spec.seed}",
            "parent": spec.parent.digest,
            "base": spec.base.digest,
            "recipe": hashlib.sha256(write_sorted_json([recipe, spec.new_labels])).hexdigest(),
            "text": _digest((path / name).read_bytes() for name in (FRESH, REPLAY, EARLY_STOP)),
            "plan of steps": _digest(part.tobytes() for step in steps for part in (step.new, step.replayed)),
            "device": f"{bench.device_name}, {bench.device.compute}",
            "version of torch": torch.__version__,
            "version of transformers": transformers.__version__,
        }
    )


def _reads_pieces_apart(shape: InputShape) -> bool:
    is_causal = shape.classes is None and shape.masking is None and shape.start is None
    return is_causal and not shape.packed


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        # With its length: else what ends one part could begin the next.
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
