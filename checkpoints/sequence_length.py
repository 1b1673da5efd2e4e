"""The length of sequences that was chosen when a base was imported. Imports no torch.

Longer sequences make text easier, so that scores of two lengths cannot be compared: it is chosen once, and goes with
every generation.
"""

from pathlib import Path
from typing import Final

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, read_beside, write_json

LENGTH_FILE: Final = "sequence_length.json"


@dataclass(frozen=True, slots=True, config=STRICT)
class SequenceLength:
    """How long sequences are where the recipe does not say so.

    Attributes:
        tokens: in one.
        why: half a sentence, for people.
    """

    tokens: PositiveInt
    why: str


def read_length(directory: Path) -> SequenceLength | None:
    """Read what was chosen at import; None where that was before it was chosen.

    Raises:
        UnusableModel: the file is damaged.
    """
    return read_beside(directory / LENGTH_FILE, SequenceLength, "sequence_length")


def write_length(directory: Path, length: SequenceLength) -> None:
    """Keep with a model what was chosen.

    Raises:
        OSError: the disk refused.
    """
    (directory / LENGTH_FILE).write_bytes(write_json(length, indent=2))
