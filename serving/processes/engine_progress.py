"""Whether an engine that owes whole answers still writes them: told by its own count of tokens."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakKeyDictionary

from serving.engine.running import RunningEngine
from serving.processes.engine_metrics import WITHIN_S, metrics_text

COUNTED: Final = "vllm:generation_tokens_total"
LOOK_AFTER: Final = 0.25
"""Of the silence that an engine may keep: it is looked at several times before it passes for lost."""


class EngineProgress:
    """Hears of engines by what they count. Used on one event loop.

    An answer that comes in pieces shows by each of them that its engine lives. One that comes whole shows nothing until
    its end, which may be minutes away, while an engine that hangs is replaced after seconds.

    Args:
        read: what an engine's `/metrics` gives; None: it has none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[RunningEngine], Awaitable[str | None]] = metrics_text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._counted: WeakKeyDictionary[RunningEngine, float] = WeakKeyDictionary()
        self._looked: WeakKeyDictionary[RunningEngine, float] = WeakKeyDictionary()

    def is_due(self, engine: RunningEngine) -> bool:
        """Whether it is time to look at an engine: it has been quiet, and was not looked at just now."""
        pause = engine.silence_s * LOOK_AFTER
        return (
            engine.tells_progress
            and engine.silent_s > pause
            and self._clock() - self._looked.get(engine, -pause) >= pause
        )

    async def look(self, engine: RunningEngine) -> None:
        """Hear of an engine if it has counted further tokens; one that does not answer is not heard of."""
        self._looked[engine] = self._clock()
        try:
            async with asyncio.timeout(WITHIN_S):
                counted = tokens_in(await self._read(engine) or "")
        # Whatever it gives instead: only what it counts says that it lives.
        except Exception:  # noqa: BLE001
            return
        if counted > self._counted.get(engine, 0.0):
            self._counted[engine] = counted
            engine.heard()


def tokens_in(exposition: str) -> float:
    """How many tokens an engine has written, by a text of Prometheus' format; 0 where it does not say.

    Raises:
        ValueError: it says no number.
    """
    return sum(float(line.rpartition(" ")[2]) for line in exposition.splitlines() if line.startswith(COUNTED))
