"""Whose turn it is at an engine that is a program of its own."""

import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue

import orjson
import pytest
from structlog.testing import capture_logs

from serving.engine.completion import Completion, Delta, Event, Finished, Unheard
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.engine.sampling import Sampling
from serving.errors import Failed
from serving.metrics import ServingMetrics
from serving.processes.writer import EngineWriter
from tests.harness import wait_until
from tests.unit.serving.processes.test_asking import NoProcess


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


def test_one_given_up_before_it_was_asked_for_leaves_its_place(
    first: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """Between the queue and the first step of what asks for it, when it is looked for who is not wanted any more."""
    writer, events = NotingWriter(metrics), SimpleQueue[Event]()
    gone, next_one = (Completion(first, [1], 1, Sampling(), (), events.put, owner=owner) for owner in ("gone", "next"))

    def give_up() -> None:
        writer._begin((gone,))
        gone.cancelled = True
        writer._sweep()

    writer.start()
    writer._loop.call_soon_threadsafe(give_up)
    writer.submit(next_one)
    assert events.get(timeout=60) == Finished("stop", 1)
    wait_until(lambda: metrics.registry.get_sample_value("riverkeep_serving_active") == 0, what="no place taken")
    writer.close()
    assert writer.turns == ["next"]


def test_what_breaks_one_answer_is_logged_without_what_a_client_wrote(
    first: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """By its kind and the place in the code; the message of an error may repeat the prompt."""

    class FailingWriter(NotingWriter):
        """A fake: it fails on what it is asked."""

        async def _ask(self, job: Completion) -> None:
            raise ValueError(f"cannot read: my secret of {job.owner}")

    writer, events = FailingWriter(metrics), SimpleQueue[Event]()
    with capture_logs() as logs:
        writer.start()
        writer.submit(Completion(first, [1], 1, Sampling(), (), events.put))
        assert isinstance(events.get(timeout=60), Failed)
        writer.close()
    (told,) = (line for line in logs if line["event"] == "engine_answer_failed")
    assert told["error"] == "ValueError"
    assert told["at"][-1].endswith("_ask")
    assert "secret" not in str(logs)


END = b"0\r\n\r\n"
"""Of a body that comes in chunks."""


@contextmanager
def streaming(closed: threading.Event, *, ends: bool) -> Iterator[str]:
    """A fake engine with one connection, on which it gives answers of three tokens, and `closed` when that is closed.

    Args:
        ends: whether its answers end, or lie open when all of them has been said.
    """

    def give(connection: socket.socket, event: object) -> None:
        data = event if isinstance(event, bytes) else orjson.dumps(event)
        chunk = b"data: " + data + b"\n\n"
        connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection, connection.makefile("rb") as asked:
            while head := list(iter(lambda: asked.readline().strip().lower(), b"")):
                asked.read(next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length")))
                connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                for finish in (None, None, "length"):
                    choice = {"text": "a", "token_ids": [5], "finish_reason": finish}
                    give(connection, {"choices": [choice]})
                give(connection, {"choices": [], "usage": {"completion_tokens": 3}})
                give(connection, b"[DONE]")
                if ends:
                    connection.sendall(END)
        closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        served = pool.submit(serve, listener)
        yield url
        served.result(timeout=60)


def ask(writer: EngineWriter, generation: LoadedGeneration) -> Event:
    """The end of an answer of three tokens."""
    events = SimpleQueue[Event]()
    writer.submit(Completion(generation, [1], 3, Sampling(temperature=0), (), events.put))
    while isinstance(event := events.get(timeout=60), Delta):
        pass
    return event


@pytest.mark.parametrize("tells_tokens", [False, True], ids=["the engine knows the end", "this side knows it first"])
def test_answers_that_come_as_streams_share_a_connection(
    first: LoadedGeneration, metrics: ServingMetrics, *, tells_tokens: bool
) -> None:
    """One that is left before its last chunk is closed; of an engine far away each would begin with a handshake."""
    closed = threading.Event()
    with streaming(closed, ends=True) as url:
        engine = RunningEngine(url, "m@g0001", "key", NoProcess(), 60.0, tells_tokens=tells_tokens)
        writer = EngineWriter(at_once=1, queue=20, metrics=metrics)
        writer.start()
        ends = [ask(writer, replace(first, engine=engine)) for _ in range(3)]
        assert not closed.is_set()
        writer.close()
    assert [(end.reason, end.tokens) for end in ends if isinstance(end, Finished)] == [("length", 3)] * 3


def test_an_answer_that_lies_open_when_all_was_said_is_left(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """It is told at once; the connection, and the place at the engine, are given up a little later."""
    closed = threading.Event()
    with streaming(closed, ends=False) as url:
        engine = RunningEngine(url, "m@g0001", "key", NoProcess(), 60.0)
        writer = EngineWriter(at_once=1, queue=20, metrics=metrics)
        writer.start()
        assert isinstance(ask(writer, replace(first, engine=engine)), Finished)
        assert closed.wait(timeout=60)
        writer.close()


@pytest.mark.parametrize("tells_tokens", [False, True])
def test_an_answer_that_nobody_watches_is_told_in_one_piece(
    first: LoadedGeneration, metrics: ServingMetrics, *, tells_tokens: bool
) -> None:
    """Each piece wakes the thread that waits for it; the text is that of all tokens."""
    tokens = first.tokenizer("the state of the union")["input_ids"]
    choice = {"text": "the state of the union", "finish_reason": "length", "token_ids": tokens}
    body = orjson.dumps({"choices": [choice], "usage": {"completion_tokens": len(tokens)}})
    events = SimpleQueue[Event]()
    with answering(body) as url:
        engine = RunningEngine(url, "m@g0001", "key", NoProcess(), 60.0, tells_tokens=tells_tokens, tells_progress=True)
        writer = EngineWriter(at_once=1, queue=20, metrics=metrics)
        writer.start()
        generation = replace(first, engine=engine)
        sampling = Sampling(temperature=0)
        writer.submit(Completion(generation, [1], len(tokens), sampling, (), events.put, whole=True))
        told = [events.get(timeout=60), events.get(timeout=60)]
        writer.close()
    expected = str(first.tokenizer.decode(tokens)) if tells_tokens else "the state of the union"
    assert told == [Delta(expected), Finished("length", len(tokens))]


def test_an_answer_given_up_before_it_came_is_charged_for_what_it_may_have_had(
    first: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """It comes whole, and what the engine did of it until then shows nowhere: else to hang up would make it free."""
    events, asked = SimpleQueue[Event](), threading.Event()
    with silent(asked) as url:
        engine = RunningEngine(url, "m@g0001", "key", NoProcess(), 60.0, tells_progress=True)
        writer = EngineWriter(at_once=1, queue=20, metrics=metrics)
        writer.start()
        generation = replace(first, engine=engine)
        jobs = [Completion(generation, [1], 30, Sampling(temperature=0), (), events.put, whole=True) for _ in range(2)]
        writer.submit(*jobs)
        assert asked.wait(timeout=60)
        assert [job.charged for job in jobs] == [0, 0]
        for job in jobs:
            job.cancelled = True
        # All that it asked for, as nobody knows how fast the engine is; the other one waited, and was not asked for.
        assert [job.charged for job in jobs] == [30, 0]
        writer.close()


@contextmanager
def silent(asked: threading.Event) -> Iterator[str]:
    """A fake engine that is asked, and says nothing."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as came:
            came.readline()
            asked.set()
            came.read()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        served.result(timeout=60)


@pytest.mark.parametrize(
    ("token_s", "seconds", "tokens"), [(0.5, 3, 6), (0.5, 3.1, 7), (0.5, 900, 100), (None, 0, 100)]
)
def test_no_more_is_charged_unheard_than_the_engine_can_write(
    token_s: float | None, seconds: float, tokens: int
) -> None:
    """As fast as it ever was, and never more than was asked for."""
    assert Unheard(since=50.0, token_s=token_s).most(50.0 + seconds, limit=100) == tokens


def test_an_engines_pace_is_that_of_its_fastest_answer(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """By which the next one is charged where it is given up."""
    tokens = [5] * 20
    choice = {"text": "a", "finish_reason": "length", "token_ids": tokens}
    body = orjson.dumps({"choices": [choice], "usage": {"completion_tokens": len(tokens)}})
    events, job = SimpleQueue[Event](), None
    with answering(body, times=2) as url:
        engine = RunningEngine(url, "m@g0001", "key", NoProcess(), 60.0, tells_tokens=True, tells_progress=True)
        writer = EngineWriter(at_once=1, queue=20, metrics=metrics)
        writer.start()
        generation = replace(first, engine=engine)
        paces = []
        for _ in range(2):
            job = Completion(generation, [1], 20, Sampling(temperature=0), (), events.put, frozenset(), whole=True)
            writer.submit(job)
            while not isinstance(events.get(timeout=60), Finished):
                pass
            assert job.unheard is not None
            paces.append(job.unheard.token_s)
        writer.close()
    assert paces[0] is None
    assert paces[1] is not None
    assert 0 < paces[1] < 60 / len(tokens)


@contextmanager
def answering(body: bytes, times: int = 1) -> Iterator[str]:
    """A fake engine that gives one answer at once, so often."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as asked:
            for _ in range(times):
                head = list(iter(lambda: asked.readline().strip().lower(), b""))
                asked.read(next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length")))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        served.result(timeout=60)
