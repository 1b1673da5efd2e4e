"""A new memory in the place of one that is lost."""

from contextlib import suppress

from daemon.control.asker import whose_word
from daemon.errors import Refused
from daemon.settings.tree import Settings
from memory.store import Store


def begin_anew(settings: Settings) -> None:
    """Put an empty database where none is, whole or not at all.

    Raises:
        Refused: one is there, or what belongs to one.
        StoreError: it cannot be made.
    """
    path = settings.database
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        file = path.with_name(name)
        # An empty file holds nothing that could be lost.
        if file.exists() and file.stat().st_size:
            raise Refused(
                f"{file} is there, and nothing was changed. Where it is damaged, move it, with {path.name}-wal and "
                f"{path.name}-shm if there are such, elsewhere first."
            )
    # Under another name until it is whole: a crash leaves nothing behind that looks like a memory.
    made = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        made.unlink()
    # Closed before it is renamed: SQLite knows its write-ahead log by the database's name.
    with Store.open(made, settings.memory) as store:
        store.audit.note("begin_anew", {}, who=whose_word())
    made.replace(path)
