"""The settings that count now, and what became of those that were read since the start."""

from dataclasses import dataclass, replace

from daemon.settings.load import Reloaded, reload
from daemon.settings.mistakes import BadSettings, Mistake
from daemon.settings.tree import Settings, with_kept_length


@dataclass(frozen=True, slots=True)
class RefusedReload:
    """Settings that were read and are wrong, so that those before them count.

    Attributes:
        at: unix seconds.
    """

    at: float
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class _Standing:
    settings: Settings
    need_restart: tuple[str, ...] = ()
    refused: RefusedReload | None = None


class SettingsInForce:
    """Read from any thread; taken over by the one that reloads."""

    def __init__(self, settings: Settings) -> None:
        # One value, replaced whole: nobody reads settings of one reload beside the refusal of another.
        self._standing = _Standing(settings)

    @property
    def now(self) -> Settings:
        """The settings that count now."""
        return self._standing.settings

    @property
    def need_restart(self) -> tuple[str, ...]:
        """Sections that a reload found changed, and that only a restart takes over."""
        return self._standing.need_restart

    @property
    def refused(self) -> RefusedReload | None:
        """What the latest reload refused; None where it took over what it read."""
        return self._standing.refused

    def complete(self) -> None:
        """Take over how long sequences are, once the base is there: nobody knew it before."""
        standing = self._standing
        self._standing = replace(standing, settings=with_kept_length(standing.settings))

    def take(self, loaded: Settings) -> Reloaded:
        """Let what was read count, as far as a service that runs can take it over."""
        result = reload(self.now, loaded)
        self._standing = _Standing(result.settings, result.need_restart)
        return result

    def refuse(self, error: BadSettings, now: float) -> None:
        """Leave all as it is, for what was read is wrong."""
        standing, refused = self._standing, RefusedReload(now, tuple(error.mistakes))
        self._standing = _Standing(standing.settings, standing.need_restart, refused)
