"""Who asks for what is done: so that a rollback can be told of with whose word it was."""

import getpass
import os
import socket
from contextvars import ContextVar
from typing import Final

HEADER: Final = "x-riverkeep-by"
"""In which a command says over HTTP on whose behalf it asks."""
LONGEST: Final = 200

# Not an argument of each operation: most do not tell whose word they were.
asker: ContextVar[str] = ContextVar("asker", default="")
"""Who asks, in words, where that is known; set while a request is answered."""


def local_user() -> str:
    """Who runs this process, for others: `name@host`; of one who became root, also who they were."""
    try:
        name = getpass.getuser()
    # In containers a user often is a number that no file gives a name.
    except (KeyError, OSError):
        name = str(os.getuid())
    before = os.environ.get("SUDO_USER", "")
    return f"{name}@{socket.gethostname()}" + (f" ({before})" if before and before != name else "")


def name_asker(header: str, peer: str) -> str:
    """Who asks over HTTP: what the header says, else from where. Nothing of it can command a terminal or a log."""
    # Whoever has the token may send anything, and the name is shown on terminals and stands in logs.
    name = "".join(letter for letter in header if letter.isprintable())[:LONGEST]
    return name or f"a request from {peer or 'nowhere'}"


def whose_word() -> str:
    """On whose word something is done."""
    return asker.get() or local_user()
