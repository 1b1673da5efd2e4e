"""What a round under way has saved of itself, from which it goes on where its learner was killed. Torch-free.

saved/state.json           where it stands, and what the tensors' file must be: written last, so that the save is whole
saved/000120.safetensors   weights, optimizer, the best weights so far, random state, after as many steps
saved/000120-1.safetensors of weights that are divided over ranks what the second holds, and so on
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.files.durable_writes import replace_file, sha256_of, sync_directory
from checkpoints.json_files import STRICT, explain_json, read_json, write_json
from checkpoints.manifest import ListedFile

SAVED: Final = "saved"
STATE: Final = "state.json"
FORMAT: Final = 1
"""Raised whenever a step or its place is computed otherwise: no round goes on that began in another way."""


class UnusableSave(Exception):
    """A round cannot go on from what it saved; the message ends a sentence."""


@dataclass(frozen=True, slots=True, config=STRICT)
class StoppingPlace:
    """Where early stopping stands; see `learner.training.early_stopping`.

    Attributes:
        next_part: of the round, counted from 1, at whose end it looks next.
        steps: it has counted.
        step_of_last_look: the step that it looked after last; 0 before the first.
        best_loss: nats per token; None before the first look that was finite.
        best_step: the step of the best weights; 0 where there are none.
        without_gain: looks since then.
    """

    next_part: PositiveInt
    steps: NonNegativeInt
    step_of_last_look: NonNegativeInt
    best_loss: float | None
    best_step: NonNegativeInt
    without_gain: NonNegativeInt


@dataclass(frozen=True, slots=True, config=STRICT)
class TrainingPlace:
    """Where a round's training stands, without its tensors.

    Attributes:
        steps: optimizer steps taken.
        tokens_new, tokens_replayed: trained so far.
        seconds: trained so far.
        recent: the loss terms of the last steps.
        stopping: where early stopping stands; None where the round never looks.
    """

    steps: PositiveInt
    tokens_new: NonNegativeInt
    tokens_replayed: NonNegativeInt
    seconds: float
    recent: tuple[Mapping[str, float], ...]
    stopping: StoppingPlace | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class SavedShare:
    """What a rank saved that holds a share of divided weights.

    Attributes:
        tensors: name of its file.
        listed: what that file must be.
    """

    tensors: str
    listed: ListedFile


@dataclass(frozen=True, slots=True, config=STRICT)
class SavedRound:
    """A save, without its tensors.

    Attributes:
        belongs_to: what its round is known by (round, parent, recipe, …): of a round that differs in one it is not.
        place: where the training stands.
        tensors: name of their file.
        listed: what that file must be.
        shares: those of the ranks after the first, in their order, where weights are divided over them.
        format: of the save.
    """

    belongs_to: Mapping[str, str]
    place: TrainingPlace
    tensors: str
    listed: ListedFile
    shares: tuple[SavedShare, ...] = ()
    format: Literal[1] = FORMAT

    def of_rank(self, rank: int) -> SavedShare:
        """What a rank goes on from: where nothing is divided, all from the same.

        Raises:
            UnusableSave: it had no such rank.
        """
        every = (SavedShare(self.tensors, self.listed), *self.shares)
        if not self.shares:
            return every[0]
        if rank >= len(every):
            raise UnusableSave(f"it is divided over {len(every)} ranks")
        return every[rank]


def tensors_path(directory: Path, steps: int, rank: int = 0) -> Path:
    """Where a round's tensors go after so many steps, or a rank's share; the folder is made. No two saves share a file.

    Raises:
        OSError: the round's directory is gone, or the disk refused.
    """
    # Without parents: a round whose directory was erased meanwhile must not begin it anew.
    (directory / SAVED).mkdir(exist_ok=True)
    return directory / SAVED / f"{steps:06d}{f'-{rank}' if rank else ''}.safetensors"


def note_saved(directory: Path, saved: SavedRound) -> None:
    """Let a save whose tensors are written take the place of the one before.

    Raises:
        OSError: the disk refused; one of both stands.
    """
    folder = directory / SAVED
    # First the file's name: the note must not outlive a power cut without it.
    sync_directory(folder)
    replace_file(folder / STATE, write_json(saved, indent=2))


def drop_unnoted(directory: Path) -> None:
    """Remove from a round's save what its note does not name: an earlier save, or one that was cut off."""
    try:
        saved = read_saved(directory)
    except UnusableSave:
        saved = None
    noted = set() if saved is None else {STATE, saved.tensors, *(share.tensors for share in saved.shares)}
    for path in (directory / SAVED).glob("*"):
        if path.name not in noted:
            path.unlink(missing_ok=True)


def read_saved(directory: Path) -> SavedRound | None:
    """Read what a round saved last; None where it saved nothing.

    Raises:
        UnusableSave: it cannot be understood.
    """
    try:
        return read_json(SavedRound, (directory / SAVED / STATE).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableSave(f"it cannot be read: {error}") from error
    except ValidationError as error:
        raise UnusableSave(f"it cannot be understood: {explain_json(error, 'save')}") from error


def saved_step(directory: Path) -> int | None:
    """After how many steps a round saved itself last; None where it did not, or nobody can tell."""
    try:
        saved = read_saved(directory)
    except UnusableSave:
        return None
    return None if saved is None else saved.place.steps


def require_usable(directory: Path, saved: SavedRound, belongs_to: Mapping[str, str], rank: int = 0) -> Path:
    """Return the file of a save's tensors, or of a rank's share, of a round that is known by `belongs_to`.

    Raises:
        UnusableSave: it is of another round, or damaged.
    """
    differing = sorted(name for name, value in belongs_to.items() if saved.belongs_to.get(name) != value)
    if differing:
        raise UnusableSave(f"it was saved with another {', '.join(differing)}")
    share = saved.of_rank(rank)
    path = directory / SAVED / share.tensors
    try:
        # The size first: it costs nothing, and tells the most frequent damage, a file that was cut off.
        is_whole = path.stat().st_size == share.listed.bytes and sha256_of(path) == share.listed.sha256
    except OSError as error:
        raise UnusableSave(f"{path.name} cannot be read: {error.strerror}") from error
    if not is_whole:
        raise UnusableSave(f"{path.name} is damaged: it is not what was saved")
    return path


def forget_saved(directory: Path) -> None:
    """Remove what a round saved of itself; what the disk holds on to is of no use without its note."""
    (directory / SAVED / STATE).unlink(missing_ok=True)
    shutil.rmtree(directory / SAVED, ignore_errors=True)
