"""What commands change that no operation does: a new memory in the place of a lost one, and what lies beside it.

Of what lies beside the memory, which it must not depend on, there is a line in the audit log.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from daemon.control.asker import whose_word
from daemon.errors import Refused
from daemon.settings.tree import Settings
from memory.errors import StoreError
from memory.store import Store

WAITS_S: Final = 5.0
"""For another program that writes: a key that leaked is not to wait long for a line that tells of it."""


def note_command(settings: Settings, what: str, detail: Mapping[str, Any]) -> str:
    """Add a line to the audit log, also while the daemon runs.

    Args:
        settings: name the memory.
        what: is done, in the words of the command.
        detail: JSON values only.

    Returns:
        why there is no such line now; empty where there is.
    """
    wait = min(WAITS_S, settings.memory.busy_timeout_s)
    # The daemon looks through the whole file when it starts.
    memory = settings.memory.model_copy(update={"integrity_check": False, "busy_timeout_s": wait})
    try:
        if not settings.database.exists():
            return f"there is no memory in {settings.state_dir} yet"
        with Store.open(settings.database, memory) as store:
            store.audit.note(what, detail, who=whose_word())
    except (StoreError, OSError) as error:
        return str(error)
    return ""


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
