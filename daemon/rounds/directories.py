"""The rooms that a round walks through."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from checkpoints.generation import GenerationStore
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
        return self.rounds_dir / f"{number:06d}"


def prune_directories(rooms: Rooms, kept: int) -> None:
    """Remove the directories of finished rounds but for the latest; those of waiting rounds stay."""
    directories = sorted(path for path in rooms.rounds_dir.iterdir() if path.name.isdecimal())
    waiting = set(rooms.store.rounds.waiting())
    finished = [path for path in directories if int(path.name) not in waiting]
    for path in finished[: max(0, len(finished) - kept)]:
        shutil.rmtree(path)
