"""The settings in force: each value, and where it came from."""

from typing import Any, TypedDict


class SettingLine(TypedDict):
    """One setting.

    Attributes:
        key: in full, `streams.topics[0].name`.
        value: in force, as JSON; `(not shown)` where it may be a secret.
        default: what counts where nothing is written; None also for what has none.
        origin: `file`, `environment`, `default`; `chosen`: nothing is written, and Riverkeep chose another value than
            the default by what it found; `earlier`: it was written when the daemon read it, and is not any more.
        place: `riverkeep.toml line 12`, or the variable's name; empty for the other origins.
        waits: whether what is written is something else by now, and is not in force before a reload or a restart.
        about: what it is for, a sentence or more.
    """

    key: str
    value: Any
    default: Any
    origin: str
    place: str
    waits: bool
    about: str


class SettingsAnswer(TypedDict):
    """All settings.

    Attributes:
        file: the settings file; None where the environment alone is read.
        running: whether these are in force in a running daemon; else those that one would start with.
        settings: in the order of the reference.
        mistakes: why what is written could not be taken over, a sentence; empty where there are none.
    """

    file: str | None
    running: bool
    settings: list[SettingLine]
    mistakes: str
