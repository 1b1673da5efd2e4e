"""What the door tells of those it turned away: a counter, and one line a minute for each reason."""

from collections import Counter as Count
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from serving.door.connection_times import ConnectionEnding

_log = structlog.get_logger(__name__)

TELL_EVERY_S: Final = 60.0
# Each listener's own, in full: a name that is searched for is found.
METRICS: Final = {
    "serving": ("riverkeep_serving_connections", "riverkeep_serving_connections_ended"),
    "admin": ("riverkeep_admin_connections", "riverkeep_admin_connections_ended"),
}
REMEDIES: Final = {
    ConnectionEnding.NO_ROOM: "all connections are being answered: add replicas, or raise the most connections",
    ConnectionEnding.NO_DESCRIPTOR: "raise the limit of open files (LimitNOFILE under systemd)",
}


class Endings:
    """Counts connections that were ended by this side.

    Args:
        name: of the listener, "serving" or "admin".
        registry: where they are registered.
    """

    def __init__(self, name: str, registry: CollectorRegistry) -> None:
        self._name = name
        open_now, ended = METRICS[name]
        self.connections = Gauge(open_now, "Connections that are open, probes' own aside.", registry=registry)
        self._ended = Counter(
            ended,
            "Connections that were ended from here, by reason.",
            ["reason"],
            registry=registry,
        )
        for ending in ConnectionEnding:
            self._ended.labels(ending.value)
        self._unlogged: Count[ConnectionEnding] = Count()
        self._logged_at: dict[ConnectionEnding, float] = {}

    def count(self, ending: ConnectionEnding) -> None:
        """Note one."""
        self._ended.labels(ending.value).inc()
        self._unlogged[ending] += 1

    def tell(self, now: float) -> None:
        """Log what was noted: each reason at once, and then once a minute with its count. `now`: monotonic seconds."""
        for ending, count in list(self._unlogged.items()):
            if now - self._logged_at.get(ending, -TELL_EVERY_S) < TELL_EVERY_S:
                continue
            self._logged_at[ending] = now
            del self._unlogged[ending]
            # Idle connections end all day; that is no news.
            if ending is not ConnectionEnding.NOT_USED:
                remedy = REMEDIES.get(ending)
                fields = {"listener": self._name, "reason": ending.value, "connections": count}
                _log.warning("connections_ended", **fields, **({"remedy": remedy} if remedy else {}))
