"""Which generations are in memory, and by which engine each answers."""

import itertools
import threading
import weakref
from collections import deque
from dataclasses import dataclass

from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.metrics import ServingMetrics


@dataclass(frozen=True, slots=True)
class _Held:
    number: int
    engine: "weakref.ref[RunningEngine] | None"


class HeldGenerations:
    """Generations from when they are loaded until the last that holds them lets go. From any thread.

    Args:
        metrics: what is counted of a generation is shown there for as long.
    """

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self._numbered = itertools.count()
        self._held: dict[int, _Held] = {}
        # Noted alone: a model may be freed in whichever thread, in the midst of whatever it does, with any lock held.
        self._left: deque[int] = deque()
        self._leaving: weakref.WeakSet[LoadedGeneration] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, generation: LoadedGeneration) -> None:
        """Note one that was loaded."""
        engine = None if generation.engine is None else weakref.ref(generation.engine)
        with self._lock:
            self._settle()
            at = next(self._numbered)
            self._held[at] = _Held(generation.number, engine)
            self._metrics.begin_generation(generation.number)
        weakref.finalize(generation, self._left.append, at)

    def leave(self, generation: LoadedGeneration) -> None:
        """Note that no new request gets one. For the follower alone, as are the next two."""
        self._leaving.add(generation)

    def leaving(self, number: int) -> list[LoadedGeneration]:
        """Those of a number that no new request gets, and that answers under way still hold."""
        return [each for each in self._leaving if each.number == number]

    def stay(self, generation: LoadedGeneration) -> None:
        """Note that new requests get it again."""
        self._leaving.discard(generation)

    def engines(self) -> list[tuple[int, RunningEngine]]:
        """The engines that answer, each with its generation's number; none of those that this process answers for."""
        with self._lock:
            self._settle()
            pairs = [(held.number, held.engine()) for held in self._held.values() if held.engine is not None]
        # One that ended just now may be gone before its generation is settled.
        return [(number, engine) for number, engine in pairs if engine is not None]

    def _settle(self) -> None:
        """Forget those that are gone; the same number may be there twice, where it was brought in anew."""
        while self._left:
            number = self._held.pop(self._left.popleft()).number
            if not any(held.number == number for held in self._held.values()):
                self._metrics.end_generation(number)
