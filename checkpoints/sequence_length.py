"""The length of sequences that was chosen when a base was imported. Imports no torch.

Longer sequences make text easier, so that scores of two lengths cannot be compared: it is chosen once, and goes with
every generation.
"""

from pathlib import Path
from typing import Final

from pydantic import PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.errors import UnusableModel
from checkpoints.json_files import STRICT, explain_unreadable, read_json, write_json

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
    path = directory / LENGTH_FILE
    try:
        return read_json(SequenceLength, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UnusableModel(
            f"{path} cannot be read: {explain_unreadable(error, 'sequence_length')}; "
            "verify the generation, roll back if it is damaged"
        ) from error


def write_length(directory: Path, length: SequenceLength) -> None:
    """Keep with a model what was chosen.

    Raises:
        OSError: the disk refused.
    """
    (directory / LENGTH_FILE).write_bytes(write_json(length, indent=2))
