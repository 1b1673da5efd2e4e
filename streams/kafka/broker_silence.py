"""Whether a broker answers: told once when it counts as away, and once when it is back."""

import time
from collections.abc import Callable

import structlog

from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)

REMEDY = "check bootstrap_servers and security, and that one runs"


class Absence:
    """How long no broker has answered.

    Args:
        away_seconds: connections may come and go for so long before it counts as trouble.
        monotonic: seconds, of a clock that never goes back.

    Attributes:
        trouble: that no broker answers, since when and what to do; empty until it counts as away.
    """

    def __init__(
        self, settings: StreamsSettings, away_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._away_seconds = away_seconds
        self._monotonic = monotonic
        self._answered_at = monotonic()
        self._known = False
        self.trouble = ""

    def answered(self) -> None:
        """Note that a broker is there."""
        now = self._monotonic()
        away = {"away_seconds": round(now - self._answered_at)} if self.trouble else {}
        if away or not self._known:
            log.info("broker_reached", group=self._settings.group_id, **away)
        self._answered_at, self._known, self.trouble = now, True, ""

    def silent(self, why: str) -> None:
        """Note that none is, and why, if that is known."""
        away = self._monotonic() - self._answered_at
        # Brokers close idle connections, and leaders move: a short silence is no news.
        if away <= self._away_seconds:
            return
        servers, why = ",".join(self._settings.bootstrap_servers), why or "silence"
        if not self.trouble:
            log.warning("broker_not_reached", servers=servers, away_seconds=round(away), error=why, remedy=REMEDY)
        self.trouble = f"no broker of {servers} has answered for {away:.0f} s ({why}): {REMEDY}"
