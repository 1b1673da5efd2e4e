"""The rooms that a round walks through."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from checkpoints.generation_store import GenerationStore
from memory.store import Store


@dataclass(frozen=True, slots=True)
class Rooms:
    """What is kept, and where: shared by the parts of the daemon.

    Attributes:
        rounds_dir: the rounds' directories, one below it for each.
    """

    store: Store
    checkpoints: GenerationStore
    rounds_dir: Path

    def round_dir(self, number: int) -> Path:
        """The directory of one round."""
        return round_directory(self.rounds_dir, number)


def round_directory(rounds_dir: Path, number: int) -> Path:
    """Where a round stands, among the directories of all rounds."""
    return rounds_dir / f"{number:06d}"


def round_directories(rounds_dir: Path) -> dict[int, Path]:
    """The directories of rounds that there are, by number, oldest first."""
    paths = rounds_dir.iterdir() if rounds_dir.is_dir() else ()
    # Whatever else a person put there is left alone.
    return dict(sorted((int(path.name), path) for path in paths if path.name.isdecimal()))


def prune_directories(rooms: Rooms, kept: int) -> None:
    """Remove the directories of finished rounds but for the latest; those of waiting rounds stay."""
    waiting = set(rooms.store.rounds.waiting())
    finished = [path for number, path in round_directories(rooms.rounds_dir).items() if number not in waiting]
    for path in finished[: max(0, len(finished) - kept)]:
        shutil.rmtree(path)
