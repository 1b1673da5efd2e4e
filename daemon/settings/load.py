"""Where settings are read from, all their mistakes at once, and what a reload takes over."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checkpoints.errors import CheckpointsError
from daemon.settings import mistakes as settings_mistakes
from daemon.settings import sources, validation
from daemon.settings.checks import (
    of_adapter,
    of_certificates,
    of_devices,
    of_divided_weights,
    of_engine,
    of_four_bits,
    of_job,
    of_model,
    of_skills,
    of_topics,
    of_tracing,
)
from daemon.settings.contradictions import contradictions
from daemon.settings.fields import nearest
from daemon.settings.mistakes import BadSettings, Mistake
from daemon.settings.tree import Settings, with_kept_length

CONFIG_VARIABLE = "RIVERKEEP_CONFIG"
USUAL_PLACES = (Path("riverkeep.toml"), Path("/etc/riverkeep/riverkeep.toml"))
REACHED_BY = ("state_dir", "admin")
"""What a command must know to find a running daemon and to be let in."""


def config_file(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file that is named, else RIVERKEEP_CONFIG, else ./riverkeep.toml, else /etc's; None: no file."""
    if path is not None:
        return path
    if variable := environment.get(CONFIG_VARIABLE):
        return Path(variable)
    return next((place for place in USUAL_PLACES if place.is_file()), None)


def load(path: Path | None, environment: Mapping[str, str] = os.environ, *, files: bool = False) -> Settings:
    """Read the settings: the file, and over it the environment.

    Args:
        path: the TOML file; None for the environment alone.
        environment: variables; those that begin with RIVERKEEP_ count.
        files: also see that the files that are named can be read.

    Raises:
        BadSettings: with every mistake at once.
    """
    raw = sources.read(Settings, path, environment)
    mistakes: list[Mistake] = settings_mistakes.unknown_variables(Settings, raw)
    if path is not None and raw.file_error:
        mistakes.insert(0, settings_mistakes.unreadable(path, raw.file_error))
        raise BadSettings(mistakes)
    outcome = validation.type_settings(Settings, raw)
    mistakes = [*outcome.mistakes, *mistakes]
    if files:
        mistakes += outcome.new(settings_mistakes.of_files(Settings, raw))
    if files and outcome.settings is not None:
        mistakes += outcome.new(
            of_model(outcome.settings, raw)
            + of_topics(outcome.settings, raw)
            + of_adapter(outcome.settings, raw)
            + of_four_bits(outcome.settings, raw)
        )
        mistakes += outcome.new(of_devices(outcome.settings, raw) + of_divided_weights(outcome.settings, raw))
        mistakes += outcome.new(of_engine(outcome.settings, raw) + of_job(outcome.settings, raw))
        mistakes += outcome.new(of_certificates(outcome.settings, raw))
        mistakes += outcome.new(of_tracing(outcome.settings, raw, environment))
        mistakes += outcome.new(of_skills(outcome.settings, raw))
        mistakes += outcome.new(contradictions(outcome.settings, raw))
    if mistakes or outcome.settings is None:
        raise BadSettings(mistakes)
    return complete(outcome.settings)


def complete(settings: Settings) -> Settings:
    """With how long sequences are, where that was chosen; a base that is damaged is told of where it is loaded."""
    try:
        return with_kept_length(settings)
    except CheckpointsError:
        return settings


def whereabouts(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings | None:
    """Settings with mistakes, as far as they go, where they surely say which daemon is meant; else None.

    A mistake in `state_dir` or `[admin]`, or in a name that may have been meant for one of them, could lead to another
    daemon than the one that a person has in mind.
    """
    raw = sources.read(Settings, path, environment)
    if raw.file_error or (path is None and not raw.place(("state_dir",))):
        return None
    outcome = validation.type_settings(Settings, raw)
    # A typo in one key of a recipe must not keep anybody from a rollback.
    wrong = (*outcome.taken_out, *(key for _, key in raw.unknown_variables))
    if any(key[0] in REACHED_BY or nearest(Settings, key) in REACHED_BY for key in wrong):
        return None
    return outcome.settings


RELOADABLE = ("log", "triggers", "gate", "evaluation", "learner", "checkpoints")
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


def reload(now: Settings, loaded: Settings) -> Reloaded:
    """The settings in use after `read` was read while `now` was in use."""
    different = [name for name in Settings.model_fields if getattr(now, name) != getattr(loaded, name)]
    changed = tuple(name for name in different if name in RELOADABLE)
    settings = now.model_copy(update={name: getattr(loaded, name) for name in changed})
    return Reloaded(settings, changed, tuple(name for name in different if name not in RELOADABLE))
