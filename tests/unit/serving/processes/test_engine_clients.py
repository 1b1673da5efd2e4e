"""Answers and their connections, at a real HTTP server that notes who comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from serving.engine.running import RunningEngine
from serving.processes.engine_clients import EngineClients
from tests.unit.serving.processes.test_asking import NoProcess


@asynccontextmanager
async def noting() -> AsyncIterator[tuple[RunningEngine, list[str]]]:
    """An engine that answers nothing but 200, and the key of each connection's first request."""
    came, talks = list[str](), list[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk_of_this = asyncio.current_task()
        assert talk_of_this is not None
        talks.append(talk_of_this)
        is_first = True
        while head := await _head(reader):
            if is_first:
                came.extend(line for line in head.lower().splitlines() if line.startswith("authorization"))
            is_first = False
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield RunningEngine(f"http://{host}:{port}", "m@g0001", "a key", NoProcess(), 60.0), came
    # Whoever asked has closed by now.
    await asyncio.gather(*talks)


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""


def test_each_answer_has_a_connection_which_the_next_one_takes_over() -> None:
    """Three at once, twice: three connections, and the engine's key on each."""

    async def ask() -> list[str]:
        clients = EngineClients()
        async with noting() as (engine, came):
            for _ in range(2):
                async with AsyncExitStack() as stack:
                    asked = [stack.enter_context(clients.client(engine)) for _ in range(3)]
                    assert len(set(map(id, asked))) == 3
                    answers = await asyncio.gather(*(client.get("/") for client in asked))
                    assert [answer.text for answer in answers] == ["ok"] * 3
            await clients.close()
        return came

    assert asyncio.run(ask()) == ["authorization: bearer a key"] * 3


def test_connections_to_an_engine_that_has_ended_are_closed() -> None:
    """Each holds a descriptor until then; those of others stay."""

    async def ask() -> None:
        clients = EngineClients()
        async with noting() as (ended, _), noting() as (other, _):
            for engine in (ended, other):
                with clients.client(engine) as client:
                    await client.get("/")
            found = [clients.any_ended]
            process = NoProcess()
            process.ended = "it ended with 0"
            ended.process = process
            found.append(clients.any_ended)
            with clients.client(ended) as of_ended, clients.client(other) as of_other:
                pass
            await clients.close_ended()
            found.append(clients.any_ended)
            assert found == [False, True, False]
            assert (of_ended.is_closed, of_other.is_closed) == (True, False)
            await clients.close()
            assert of_other.is_closed

    asyncio.run(ask())
