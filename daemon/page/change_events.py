"""Pages that are kept current: an event whenever how things stand has changed, to a bounded number of browsers."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import orjson
from anyio import to_thread
from starlette.responses import JSONResponse, Response, StreamingResponse

from daemon.control.answers.status import StatusAnswer
from daemon.page.metrics import PageMetrics

MOST: Final = 32
LOOK_EVERY_S: Final = 2.0
BEAT_EVERY_S: Final = 15.0
"""Shorter than proxies wait for a word."""
FLEETING: Final = frozenset({"version", "pid", "disk"})
"""What changes without anything having happened, or never."""


def digest_of_standing(status: StatusAnswer) -> str:
    """How things stand, in a few letters, which are others whenever something has happened."""
    facts = {name: value for name, value in status.items() if name not in FLEETING}
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_NON_STR_KEYS)).hexdigest()[:16]


class ChangeEvents:
    """Tells browsers that things stand otherwise; what has changed they ask for themselves.

    Args:
        look: how things stand; called in a worker thread, for all listeners together.
        closing: whether the service ends.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[], StatusAnswer],
        closing: Callable[[], bool],
        metrics: PageMetrics,
        *,
        every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._closing = closing
        self._metrics = metrics
        self._every_s = every_s
        self._clock = clock
        self._looking = anyio.Lock()
        self._looked_at, self._digest = -1e9, ""
        self._listeners = 0

    def answer(self, is_signed_in: Callable[[], bool], since: str = "") -> Response:
        """A stream of events until the service, the session or the browser's interest ends; 503 for one too many.

        Args:
            is_signed_in: whether who listens still is.
            since: how things stood when the page was drawn, or at the last event that came; what happened between then
                and now is told at once. Empty: nobody knows.
        """
        if self._closing() or self._listeners >= MOST:
            return JSONResponse({"error": "Nobody can be told of changes now."}, status_code=503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(is_signed_in, since), headers=headers, media_type="text/event-stream")

    async def _events(self, is_signed_in: Callable[[], bool], since: str) -> AsyncIterator[str]:
        self._listeners += 1
        self._metrics.watchers.set(self._listeners)
        try:
            yield "retry: 5000\n\n"
            told, spoke_at = since, self._clock()
            while is_signed_in() and not self._closing():
                digest = await self._now()
                if digest != told:
                    yield f"event: {'changed' if told else 'begun'}\nid: {digest}\ndata: {digest}\n\n"
                    told, spoke_at = digest, self._clock()
                elif self._clock() - spoke_at >= BEAT_EVERY_S:
                    yield ": still here\n\n"
                    spoke_at = self._clock()
                await anyio.sleep(self._every_s)
        finally:
            self._listeners -= 1
            self._metrics.watchers.set(self._listeners)

    async def _now(self) -> str:
        """How things stand, in a few letters; looked at once for all who ask meanwhile."""
        async with self._looking:
            if self._clock() - self._looked_at >= self._every_s / 2:
                self._digest = await to_thread.run_sync(lambda: digest_of_standing(self._look()))
                self._looked_at = self._clock()
            return self._digest
