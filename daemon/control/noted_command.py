"""A line of the audit log for a command that changes something beside the memory, which it must not depend on."""

from collections.abc import Mapping
from typing import Any, Final

from daemon.control.asker import whose_word
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
