"""Whether the serving pointer names what the store says serves, and mending it after a crash or a disk error."""

import structlog

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from memory.store import Store

log = structlog.get_logger(__name__)


def reconcile_pointer(store: Store, checkpoints: GenerationStore) -> str:
    """Let followers serve what the store says; returns what is wrong, or an empty sentence."""
    serving = store.generations.serving()
    if serving is None:
        return ""
    try:
        # A pointer that does not move verifies nothing.
        checkpoints.verify(serving)
        checkpoints.point_to(serving)
    except CheckpointsError as error:
        log.critical("serving_generation_unusable", generation=serving, reason=str(error))
        return str(error)
    return ""


def repair_pointer(store: Store, checkpoints: GenerationStore) -> None:
    """Move the pointer where a disk error held it back when the store's was moved."""
    try:
        pointer = checkpoints.serving()
        in_step = pointer is not None and pointer.generation == store.generations.serving()
    except CheckpointsError:
        # A pointer that cannot be read is written anew.
        in_step = False
    if not in_step:
        reconcile_pointer(store, checkpoints)
