"""Which held-out slices a round has, and where their samples lie in its directory. Torch-free."""

import pydantic.dataclasses

from checkpoints.json_files import STRICT
from memory.ledger.records import SliceKind


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class SliceFile:
    """Where the samples of a slice are in a round's directory: one entry of `slices.json`.

    Attributes:
        name: of the slice.
        kind: the anchor, the held-out text that came since the round before, or that of an earlier period.
        source: where its text came from.
        file: its path in the round's directory.
    """

    name: str
    kind: SliceKind
    source: str
    file: str
