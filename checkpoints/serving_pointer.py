"""Which generation serves: the pointer that followers read, and what it says of those to fall back to."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.errors import CheckpointsError
from checkpoints.json_files import STRICT, explain_unreadable, read_json

# Far more than retention leaves on disk by default, and still a small file.
POINTERS_KEPT: Final = 32


@dataclass(frozen=True, slots=True, config=STRICT)
class Pointer:
    """Which generation serves.

    Attributes:
        generation: its number.
        digest: its manifest's digest, so that a follower loads what was meant.
        since: when it was pointed to, unix seconds.
        before: those that served before and were not rolled back from, newest first: what to fall back to.
    """

    generation: int
    digest: str
    since: float
    before: tuple[int, ...] = ()


def read_pointer(path: Path) -> Pointer | None:
    """The pointer in a file; None where there is no file.

    Raises:
        CheckpointsError: it cannot be read.
    """
    try:
        return read_json(Pointer, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise CheckpointsError(
            f"{path} cannot be read: {explain_unreadable(error, path.stem)}; "
            "`riverkeep rollback GENERATION` writes it anew"
        ) from error


def fall_back_list(current: Pointer | None, number: int) -> tuple[int, ...]:
    """What to fall back to once generation `number` serves after the current one, newest first.

    Pointing back to an older one takes those after it off the list.
    """
    stack = (current.generation, *current.before) if current else ()
    # Only older ones: what a person went back from was not good enough to fall back to.
    return tuple(earlier for earlier in stack if earlier < number)[:POINTERS_KEPT]
