"""Which generation the pointer names, and which generations go: after a round, after a rollback, after a crash."""

import structlog

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from checkpoints.retention import removable
from daemon.rounds.directories import Rooms
from daemon.settings.tree import Settings
from memory.store import Store

log = structlog.get_logger(__name__)


def retire(rooms: Rooms, settings: Settings) -> list[int]:
    """Remove the generations that retention lets go; the ledger remembers them.

    Called at a promotion alone: until then a person may go forward again to what they went back from.
    """
    on_disk = rooms.checkpoints.numbers()
    going = removable(
        # What the database does not know is not its to remove: it is an older copy, or a new one.
        rooms.store.generations.accepted_among(on_disk),
        line=rooms.store.generations.serving_line(),
        serving=rooms.store.generations.serving(),
        previous=_previous(rooms.store),
        keep_last=settings.checkpoints.keep_last,
    )
    if going:
        rooms.store.generations.retire(going)
    for number in going:
        rooms.checkpoints.remove(number)
    return list(going)


def _previous(store: Store) -> int | None:
    serving = store.generations.serving()
    return None if serving is None else store.generations.read(serving).parent


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


def move_pointer(store: Store, checkpoints: GenerationStore) -> None:
    """Move the pointer where a disk error held it back when the store's was moved."""
    try:
        pointer = checkpoints.serving()
        in_step = pointer is not None and pointer.generation == store.generations.serving()
    except CheckpointsError:
        in_step = False
    if not in_step:
        reconcile_pointer(store, checkpoints)
