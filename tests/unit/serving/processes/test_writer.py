"""Whose turn it is at an engine that is a program of its own."""

import gc
import threading

from serving.engine.completion import Completion, Event, Finished
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.metrics import ServingMetrics
from serving.processes.writer import EngineWriter


class NotingWriter(EngineWriter):
    """A fake: instead of asking an engine it notes whose turn it was."""

    def __init__(self, metrics: ServingMetrics) -> None:
        super().__init__(at_once=1, queue=20, metrics=metrics)
        self.turns: list[str] = []

    async def _ask(self, job: Completion) -> None:
        self.turns.append(job.owner)
        job.emit(Finished("stop", 1))


def test_a_flood_is_not_waited_for(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """Who comes behind ten of another is asked for second."""
    writer, ended = NotingWriter(metrics), threading.Semaphore(0)

    def note(_: Event) -> None:
        ended.release()

    owners = ["flood"] * 10 + ["guest"]
    writer.submit(*(Completion(first, [1], 1, Sampling(), (), note, owner=owner) for owner in owners))
    writer.start()
    assert all(ended.acquire(timeout=60) for _ in owners)
    writer.close()
    assert writer.turns[:3] == ["flood", "guest", "flood"]


def test_one_that_never_began_leaves_nothing_open(metrics: ServingMetrics) -> None:
    """As where a service ends while it starts: its loop holds two sockets, told as a warning when they are lost."""
    writer = NotingWriter(metrics)
    writer.close()
    del writer
    gc.collect()
