"""What a reload takes over, and what only a restart can. Pure."""

from dataclasses import dataclass

from daemon.settings import Settings

RELOADABLE = ("log", "triggers", "gate", "learner", "checkpoints")
"""Sections that are read again whenever they are used; the others shape parts that already run."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The settings after a reload.

    Attributes:
        changed: sections that were taken over.
        need_restart: sections that changed in the file and still are as before.
    """

    settings: Settings
    changed: tuple[str, ...]
    need_restart: tuple[str, ...]


def reloaded(now: Settings, read: Settings) -> Reloaded:
    """The settings in use after `read` was read while `now` was in use."""
    different = [name for name in Settings.model_fields if getattr(now, name) != getattr(read, name)]
    changed = tuple(name for name in different if name in RELOADABLE)
    settings = now.model_copy(update={name: getattr(read, name) for name in changed})
    return Reloaded(settings, changed, tuple(name for name in different if name not in RELOADABLE))
