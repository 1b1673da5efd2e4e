"""HTTP clients of engines, one for each answer that is asked for at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakKeyDictionary

import httpx

from serving.engine.running import RunningEngine
from serving.errors import EngineLost
from serving.outbound import NoAuthorities, Outbound

CONNECT_S: Final = 5.0


class EngineClients:
    """Gives each answer a client to itself, which keeps its connection for the next one. Used on one event loop.

    One client of them all would look at each of its connections, and ask the kernel about it, for every request.
    """

    def __init__(self) -> None:
        self._free: WeakKeyDictionary[RunningEngine, list[httpx.AsyncClient]] = WeakKeyDictionary()
        # Of each engine once: certificates that are trusted may be others by the next one.
        self._ways: WeakKeyDictionary[RunningEngine, Outbound] = WeakKeyDictionary()

    @contextmanager
    def client(self, engine: RunningEngine) -> Iterator[httpx.AsyncClient]:
        """A client of an engine that nobody else uses meanwhile: the one that was given back last, or a new one.

        Raises:
            EngineLost: it cannot be reached from here.
        """
        free = self._free.setdefault(engine, [])
        client = free.pop() if free else self._made(engine)
        try:
            yield client
        finally:
            # Anew, as the engine may have ended meanwhile.
            self._free.setdefault(engine, []).append(client)

    def _made(self, engine: RunningEngine) -> httpx.AsyncClient:
        way = self._ways.get(engine)
        if way is None:
            try:
                way = self._ways[engine] = Outbound.to(engine.url)
            except NoAuthorities as error:
                raise EngineLost(str(error)) from error
        return httpx.AsyncClient(
            base_url=engine.url,
            headers={"authorization": f"Bearer {engine.key}", "content-type": "application/json"},
            # Long answers are quiet for long: whoever follows the pointer looks after an engine that gives nothing.
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            **way.options(),
        )

    @property
    def any_ended(self) -> bool:
        """Whether there are clients of an engine that has ended, which nobody asks any more."""
        return any(engine.process.ended for engine in self._free)

    async def close_ended(self) -> None:
        """Close clients of engines that have ended: each holds a descriptor."""
        for engine in [each for each in self._free if each.process.ended]:
            await _close(self._free.pop(engine, []))

    async def close(self) -> None:
        """Close those that are free: all, once nothing is asked any more."""
        for engine in list(self._free):
            await _close(self._free.pop(engine, []))


async def _close(clients: list[httpx.AsyncClient]) -> None:
    for client in clients:
        await client.aclose()
