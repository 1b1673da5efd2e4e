"""From the worker's thread to the event loop."""

import asyncio
from contextlib import suppress
from typing import Generic, TypeVar

E = TypeVar("E")


class Listener(Generic[E]):
    """Events that a worker's thread puts and one coroutine gets, in order. Made on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[E] = asyncio.Queue()

    def put(self, event: E) -> None:
        """Hand over an event; from any thread, never blocks. After the loop has ended nobody listens."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def get(self) -> E:
        """The next event."""
        return await self._events.get()
