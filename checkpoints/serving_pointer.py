"""Which generation serves: the pointer that followers read, its canary, and those to fall back to."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python

from checkpoints.errors import CheckpointsError
from checkpoints.json_files import STRICT, explain_unreadable, read_json

# Far more than retention leaves on disk by default, and still a small file.
POINTERS_KEPT: Final = 32


CanaryMode = Literal["canary", "shadow"]
"""Whether a new generation answers a share of the requests, or copies of them whose answers nobody gets."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Canary:
    """A generation that is watched in traffic before it serves.

    Attributes:
        generation: its number.
        share: of requests that it answers, or gets a copy of, 0 to 1.
        mode: whether its answers are given, or thrown away.
        since: when it began to be watched, unix seconds.
        digest: its manifest's digest; the store fills it in.
    """

    generation: int
    share: Annotated[float, Field(ge=0, le=1)]
    mode: CanaryMode
    since: float
    digest: str = ""


@dataclass(frozen=True, slots=True, config=STRICT)
class Pointer:
    """Which generation serves.

    Attributes:
        generation: its number.
        digest: its manifest's digest, so that a follower loads what was meant.
        since: when it was pointed to, unix seconds.
        before: those that served before and were not rolled back from, newest first: what to fall back to.
        canary: the one that is watched beside it; None mostly.
    """

    generation: int
    digest: str
    since: float
    before: tuple[int, ...] = ()
    canary: Canary | None = None


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


def write_pointer(pointer: Pointer) -> bytes:
    """The bytes that `read_pointer` reads back; without a canary such as versions before there were any read too."""
    values = to_jsonable_python(pointer, exclude_none=True)
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def fall_back_list(current: Pointer | None, number: int, rolled_back: Collection[int] = ()) -> tuple[int, ...]:
    """What to fall back to once generation `number` serves after the current one, newest first.

    Pointing back to an older one takes those after it off the list, and none is on it that was rolled back from.
    """
    stack = (current.generation, *current.before) if current else ()
    # Only older ones: what a person went back from was not good enough to fall back to.
    return tuple(earlier for earlier in stack if earlier < number and earlier not in rolled_back)[:POINTERS_KEPT]
