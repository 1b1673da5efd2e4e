"""What one of several ranks does of work that all of them divide. Torch-free."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's part: every `count`-th piece of work, from the one of its own number on.

    Attributes:
        rank: from 0.
        count: of all ranks.
    """

    rank: int = 0
    count: int = 1

    def of(self, pieces: int) -> NDArray[np.int64]:
        """Return which of so many pieces are this rank's; over all ranks each is exactly one's.

        Dealt out in turn: of pieces that are sorted by size all ranks have as much to do, to within one piece.
        """
        return np.arange(self.rank, pieces, self.count, dtype=np.int64)


WHOLE: Final = Share()
"""The part of one that is alone."""


def is_rank(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process was started as one of several; `torchrun` says so in the same words."""
    return "RANK" in environ and int(environ.get("WORLD_SIZE", "1")) > 1
