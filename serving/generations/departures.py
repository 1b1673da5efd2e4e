"""Engines whose generation no new request gets: each ends with the last who holds the generation, or is taken again."""

import threading
import weakref
from collections.abc import Callable

from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine


class Departures:
    """Waits for those who hold a generation, and then has its engine ended. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaving: dict[RunningEngine, threading.Event] = {}

    def begin(self, generation: LoadedGeneration, within_s: float, end: Callable[[RunningEngine], None]) -> None:
        """Have a generation's engine ended once nobody holds the generation; does not wait for that.

        Args:
            generation: which the caller is about to hold no more.
            within_s: after which it is ended all the same.
            end: does so, on a thread of its own.
        """
        engine = generation.engine
        assert engine is not None
        over = threading.Event()
        # By the last reference: requests that wait in the queue hold it as well, and none of them is to fail.
        weakref.finalize(generation, over.set)
        with self._lock:
            self._leaving[engine] = over
        threading.Thread(target=self._wait, args=(engine, over, within_s, end), daemon=True).start()

    def call_off(self, generation: LoadedGeneration) -> bool:
        """Have a generation's engine stay; False where its end has begun, or was never asked for."""
        assert generation.engine is not None
        with self._lock:
            over = self._leaving.pop(generation.engine, None)
        if over is None:
            return False
        over.set()
        return True

    def _wait(
        self, engine: RunningEngine, over: threading.Event, within_s: float, end: Callable[[RunningEngine], None]
    ) -> None:
        over.wait(within_s)
        with self._lock:
            # Called off meanwhile, and perhaps begun anew, which another thread waits for.
            if self._leaving.get(engine) is not over:
                return
            del self._leaving[engine]
        end(engine)
