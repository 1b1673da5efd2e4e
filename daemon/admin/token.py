"""The bearer token of the admin surface: the operator's, or one made for this machine alone."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import DaemonError, said_by_the_system
from daemon.settings.admin import AdminSettings
from serving.door.bearer import INVISIBLE

FILE_NAME = "admin.token"


@dataclass(slots=True)
class Token:
    """What the surface asks for; another one is assigned while it listens, on SIGHUP."""

    text: str


def token_path(settings: AdminSettings, state_dir: Path) -> Path:
    """The file that the token is in."""
    return settings.token_file if settings.token_file is not None else state_dir / FILE_NAME


def ensure_token(settings: AdminSettings, state_dir: Path) -> str:
    """The token that the surface asks for; made, for this service's user alone, where none is configured.

    Raises:
        DaemonError: the file cannot be read or is empty.
    """
    path = token_path(settings, state_dir)
    if settings.token_file is None and not path.exists():
        # With its mode from the first instant, and never into a file that somebody else has put there meanwhile.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return read_token(settings, state_dir)


def read_token(settings: AdminSettings, state_dir: Path) -> str:
    """The token, for a command that talks to the daemon.

    Raises:
        DaemonError: the file cannot be read or is empty.
    """
    path = token_path(settings, state_dir)
    try:
        token = path.read_text(encoding="utf-8-sig").strip(INVISIBLE)
        token.encode("ascii")
    except (OSError, UnicodeError) as error:
        reason = said_by_the_system(error) if isinstance(error, OSError) else "it is not ASCII"
        raise DaemonError(
            f"The admin token cannot be read from {path}: {reason}. Run the command as the service's user, "
            "or name a readable `admin.token_file`."
        ) from error
    if not token:
        raise DaemonError(f"The admin token file {path} is empty. Write a token into it, or remove it.")
    return token
