"""A client that is not inside yet: TLS has to be agreed on first, for which it takes a place like everybody."""

import asyncio
from collections.abc import Callable

from serving.door.connection_times import ConnectionEnding, ConnectionState, Stage


class Handshake:
    """One that is under way. Nothing can be said to its client in words; its time is that of a request's head.

    Args:
        host: the client's address.
        since: when it began, of the event loop's clock.
        ended: told why it is ended from here.
        left: told at once that its place is free.
    """

    stage = Stage.HEAD
    regular = False

    def __init__(
        self, host: str, since: float, *, ended: Callable[[ConnectionEnding], None], left: Callable[["Handshake"], None]
    ) -> None:
        self.host = host
        self._since = since
        self._ended = ended
        self._left = left
        self._over = False
        self.task: asyncio.Task[None] | None = None

    def standing(self, now: float) -> ConnectionState:  # noqa: ARG002 - as connections have it
        """How it stands."""
        return ConnectionState(self.stage, self._since)

    def end(self, ending: ConnectionEnding, *, at_once: bool = False) -> None:  # noqa: ARG002 - it always is
        """End it from here."""
        reason = ConnectionEnding.NO_HANDSHAKE if ending is ConnectionEnding.SLOW_HEAD else ending
        if not self._over:
            self._over = True
            self._ended(reason)
        self._left(self)
        if self.task is not None:
            self.task.cancel()

    def broke_off(self) -> None:
        """Its client went away, or the two do not come together."""
        if not self._over:
            self._over = True
            self._ended(ConnectionEnding.NO_HANDSHAKE)
