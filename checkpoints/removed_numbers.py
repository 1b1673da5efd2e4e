"""Which numbers of generations are gone for good: a removed one must never name another model."""

from pathlib import Path

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.errors import CheckpointsError
from checkpoints.files.durable_writes import replace_file
from checkpoints.json_files import STRICT, explain_unreadable, read_json, write_sorted_json


@dataclass(frozen=True, slots=True, config=STRICT)
class RemovedNumbers:
    """Which numbers are used up.

    Attributes:
        highest: the highest number of a generation that was ever removed.
    """

    highest: int


def highest_removed(path: Path) -> int:
    """The highest number ever removed, of the file that remembers it; -1 where there is none.

    Raises:
        CheckpointsError: the file cannot be understood.
    """
    try:
        return read_json(RemovedNumbers, path.read_bytes()).highest
    except FileNotFoundError:
        return -1
    except ValidationError as error:
        raise CheckpointsError(
            f"{path} cannot be read: {explain_unreadable(error, path.stem)}; write "
            '{"highest": N} into it, N being the highest number ever used'
        ) from error


def remember_removed(path: Path, number: int) -> None:
    """Make it durable that a number is used up.

    Raises:
        OSError: the disk refused; nothing was changed.
    """
    if number > highest_removed(path):
        replace_file(path, write_sorted_json(RemovedNumbers(number)))
