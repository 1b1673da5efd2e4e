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
    retired = removable(
        # What the database does not know is not its to remove: it is an older copy, or a new one.
        rooms.store.generations.accepted_among(on_disk),
        line=rooms.store.generations.serving_line(),
        serving=rooms.store.generations.serving(),
        previous=_previous(rooms.store),
        keep_last=settings.checkpoints.keep_last,
    )
    if retired:
        # The ledger first: cut off between, recovery removes the files of what it calls retired.
        rooms.store.generations.retire(retired)
    for number in retired:
        rooms.checkpoints.remove(number)
    return list(retired)


def _previous(store: Store) -> int | None:
    serving = store.generations.serving()
    return None if serving is None else store.generations.read(serving).parent
