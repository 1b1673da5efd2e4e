"""Copies of requests for a generation that is watched as a shadow: answered when nobody else waits, and thrown away."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from serving.errors import RequestError, frames

_log = structlog.get_logger(__name__)


class HasQueue(Protocol):
    """What answers requests."""

    @property
    def waiting(self) -> int:
        """How many wait."""


class Shadows:
    """Answers one copy at a time, and none while requests wait. For the event loop alone.

    Args:
        worker: whose queue tells whether there is time for a copy.
    """

    def __init__(self, worker: HasQueue) -> None:
        self._worker = worker
        self._running: asyncio.Task[None] | None = None

    def copy(self, answer: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Answer a copy beside what is under way; or drop it, where one is being answered or requests wait."""
        if self._running is not None and not self._running.done():
            self.give_way()
        elif not self._worker.waiting:
            self._running = asyncio.get_running_loop().create_task(_answer(answer))

    def give_way(self) -> None:
        """Drop the copy that is being answered, where requests wait by now."""
        # The copy itself may be the one that waits.
        if self._running is not None and self._worker.waiting > 1:
            self._running.cancel()


async def _answer(answer: Callable[[], Coroutine[Any, Any, object]]) -> None:
    try:
        await answer()
    except RequestError:
        return  # counted where it is the generation's fault, and nobody else is to learn of it
    except Exception as error:  # noqa: BLE001 - no client waits for it
        _log.error("shadow_failed", error=type(error).__name__, at=frames(error))
