"""Whether the serving pointer names what the store says serves and is watched, and mending it after a crash."""

import structlog

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from checkpoints.serving_pointer import Canary, Pointer
from memory.ledger.history.canaries import CanaryRecord
from memory.store import Store

log = structlog.get_logger(__name__)

BY = "the daemon, as its files are broken"


def move_pointer(store: Store, checkpoints: GenerationStore) -> None:
    """Let followers serve what the store says, and watch what it says beside that.

    A canary whose files are broken goes back, here and in the store.

    Raises:
        CheckpointsError: the serving generation cannot be pointed to.
    """
    serving, watched = store.generations.serving(), store.canaries.watched()
    if serving is None:
        return
    rolled_back = store.generations.rolled_back()
    if watched is not None:
        try:
            checkpoints.point_to(serving, canary=_canary(watched), rolled_back=rolled_back)
        except CheckpointsError as error:
            log.warning("canary_cannot_be_watched", generation=watched.generation, reason=str(error))
            # First whether it is the canary: this raises where the serving generation is the one that is broken.
            checkpoints.point_to(serving, rolled_back=rolled_back)
            store.canaries.roll_back(watched.generation, {"sentence": f"It cannot be watched: {error}"}, by=BY)
        return
    checkpoints.point_to(serving, rolled_back=rolled_back)


def _canary(watched: CanaryRecord) -> Canary:
    return Canary(watched.generation, watched.share, watched.mode, watched.since)


def reconcile_pointer(store: Store, checkpoints: GenerationStore) -> str:
    """Let followers serve what the store says; returns what is wrong, or an empty sentence."""
    serving = store.generations.serving()
    if serving is None:
        return ""
    try:
        # A pointer that does not move verifies nothing.
        checkpoints.verify(serving)
        move_pointer(store, checkpoints)
    except CheckpointsError as error:
        log.critical("serving_generation_unusable", generation=serving, reason=str(error))
        return str(error)
    return ""


def repair_pointer(store: Store, checkpoints: GenerationStore) -> None:
    """Move the pointer where a disk error held it back when the store's was moved."""
    try:
        pointer = checkpoints.serving()
        in_step = pointer is not None and _names(pointer) == (
            store.generations.serving(),
            None if (watched := store.canaries.watched()) is None else watched.generation,
        )
    except CheckpointsError:
        # A pointer that cannot be read is written anew.
        in_step = False
    if not in_step:
        reconcile_pointer(store, checkpoints)


def _names(pointer: Pointer) -> tuple[int, int | None]:
    return pointer.generation, None if pointer.canary is None else pointer.canary.generation
