"""Which generations go from the disk, at a promotion; `checkpoints.retention` decides, this carries it out."""

import structlog

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
    # What the database does not know is not its to remove: it is an older copy, or a new one.
    known = rooms.store.generations.accepted_among(on_disk)
    grounds = rooms.checkpoints.grounds()
    retired = removable(
        known,
        line=rooms.store.generations.serving_line(),
        serving=rooms.store.generations.serving(),
        previous=_previous(rooms.store),
        keep_last=settings.checkpoints.keep_last,
        pinned=[ground for number, ground in grounds.items() if number not in known] + _watched(rooms.store),
        grounds=grounds,
    )
    if retired:
        # The ledger first: cut off between, recovery removes the files of what it calls retired.
        rooms.store.generations.retire(retired)
    # The newest first: what an adapter lies on is older than the adapter.
    for number in reversed(retired):
        rooms.checkpoints.remove(number)
    return list(retired)


def _watched(store: Store) -> list[int]:
    canary = store.canaries.watched()
    return [] if canary is None else [canary.generation]


def _previous(store: Store) -> int | None:
    serving = store.generations.serving()
    return None if serving is None else store.generations.read(serving).parent
