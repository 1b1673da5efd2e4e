"""Whether a generation can be loaded beside everything else: how much memory it takes, and what has to stay free."""

from collections.abc import Callable, Iterable
from typing import Final

from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from daemon.sizes.estimate import FLOAT_BYTES
from daemon.sizes.free_memory import free_bytes
from daemon.sizes.model_shape import shape_of_files

GIB: Final = 2**30
RUNTIME_BYTES: Final = 800 * 2**20
"""Of the process without a model: torch and transformers."""
WORKING_SHARE: Final = 1.15
"""Of the weights in float32: with what an answer and loading take beside them."""
KEPT_FREE_BYTES: Final = 512 * 2**20
"""Left to everything else when a comparison begins."""
SHORT_BYTES: Final = 256 * 2**20
"""So little is left that whoever serves could go without: the comparison ends."""


def needed_bytes(checkpoints: GenerationStore, number: int, kind: ModelKind) -> int:
    """What a process takes that answers from a generation on the CPU; of an adapter with what it lies on.

    Raises:
        CheckpointsError: its files are not there, or damaged.
    """
    ground = checkpoints.ground(number)
    whole = number if ground is None else ground.generation
    shape = shape_of_files(checkpoints.path(whole), kind, device_type="cpu", compute_bytes=FLOAT_BYTES)
    # Where the files do not tell, as if they were of half precision.
    weights = 2 * checkpoints.size(whole) if shape is None else FLOAT_BYTES * shape.parameters
    adapter = 0 if ground is None else checkpoints.size(number)
    return RUNTIME_BYTES + round(WORKING_SHARE * weights) + 2 * adapter


def why_no_room(
    checkpoints: GenerationStore, numbers: Iterable[int], kind: ModelKind, free: Callable[[], int] = free_bytes
) -> str:
    """Why none of these generations can be loaded now, one at a time, a sentence; empty where each can.

    Raises:
        CheckpointsError: the files of one are not there, or damaged.
    """
    needed, number = max((needed_bytes(checkpoints, number, kind), number) for number in numbers)
    left = free() - KEPT_FREE_BYTES
    if needed <= left:
        return ""
    return (
        f"Generation {number} takes about {needed / GIB:.1f} GiB of main memory to answer, and "
        f"{max(0, left) / GIB:.1f} GiB can be taken here without others going short: ask again when less is in use, "
        "after a round that runs on the CPU for one."
    )


def is_short(free: Callable[[], int] = free_bytes) -> bool:
    """Whether so little memory is left that others would soon go without."""
    return free() < SHORT_BYTES
