"""The rooms that a round walks through."""

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
