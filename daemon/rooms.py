"""The rooms that a round walks through."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from checkpoints.generation import GenerationStore
from memory.records import Round
from memory.store import Store

ROUNDS_LOOKED_AT: Final = 32


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


def latest_rounds(store: Store) -> Iterator[Round]:
    """The latest rounds, newest first; one at a time, as their reports are long and the first mostly says it all."""
    for back in range(ROUNDS_LOOKED_AT):
        yield from store.rounds(limit=1, offset=back)
