"""Pages that are kept current: by events, to a bounded number of browsers, until the service or the session ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from prometheus_client import CollectorRegistry
from starlette.responses import Response, StreamingResponse

from daemon.control.answers.status import StatusAnswer
from daemon.page.change_events import MOST, ChangeEvents, digest_of_standing
from daemon.page.metrics import PageMetrics
from tests.unit.daemon.page.browsers import PageInFront
from tests.unit.daemon.page.conftest import Ground


class Standing:
    """How things stand, as a test changes it."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"round": None, "disk": 1}
        self.is_closing = False
        self.registry = CollectorRegistry()
        look = cast("Callable[[], StatusAnswer]", lambda: dict(self.facts))
        self.events = ChangeEvents(look, lambda: self.is_closing, PageMetrics(self.registry), every_s=0.001)

    def watchers(self) -> float | None:
        """How many are told."""
        return self.registry.get_sample_value("riverkeep_page_watchers")


def stream_of(response: Response) -> AsyncIterator[str]:
    """What it sends."""
    assert isinstance(response, StreamingResponse)
    return cast("AsyncIterator[str]", response.body_iterator)


async def until(stream: AsyncIterator[str], beginning: str) -> str:
    """The next piece that begins so."""
    async for piece in stream:
        if piece.startswith(beginning):
            return piece
    raise AssertionError(f"the stream ended before {beginning!r}")


def test_a_change_is_told_and_what_is_fleeting_is_not() -> None:
    """The first event is what a page compares with; the disk's last byte is no news."""

    async def told() -> tuple[str, str]:
        here = Standing()
        stream = stream_of(here.events.answer(lambda: True))
        first = await until(stream, "event: begun")
        here.facts = {"round": None, "disk": 2}
        here.facts = {"round": {"number": 3}, "disk": 2}
        return first, await until(stream, "event: changed")

    first, second = asyncio.run(asyncio.wait_for(told(), 30))
    assert first.splitlines()[1] != second.splitlines()[1]


def test_what_happened_since_a_page_was_drawn_is_told_at_once() -> None:
    """Between a page and its first event, or while a connection was lost; where nothing did nobody is told."""

    async def told(since: str) -> list[str]:
        here = Standing()
        stream = stream_of(here.events.answer(lambda: True, since))
        pieces = [await anext(stream)]
        here.facts = {"round": {"number": 3}}
        return [*pieces, await anext(stream)]

    now = digest_of_standing(cast("StatusAnswer", Standing().facts))
    later = digest_of_standing(cast("StatusAnswer", {"round": {"number": 3}}))
    for since in ("0123456789abcdef", now):
        _, event = asyncio.run(asyncio.wait_for(told(since), 30))
        assert event == f"event: changed\nid: {later}\ndata: {later}\n\n"


def test_it_ends_with_the_service_and_with_the_session() -> None:
    """And then nobody is counted, and nobody else let in."""

    async def ends() -> None:
        here, is_signed_in = Standing(), [True]
        stream = stream_of(here.events.answer(lambda: is_signed_in[0]))
        await until(stream, "event: begun")
        assert here.watchers() == 1
        is_signed_in[0] = False
        assert [piece async for piece in stream] == []
        assert here.watchers() == 0
        stream = stream_of(here.events.answer(lambda: True))
        await until(stream, "event: begun")
        here.is_closing = True
        assert [piece async for piece in stream] == []
        assert here.events.answer(lambda: True).status_code == 503

    asyncio.run(asyncio.wait_for(ends(), 30))


def test_no_more_than_so_many_are_told() -> None:
    """One too many is sent away, and asks by itself; who leaves makes room."""

    async def crowd() -> None:
        here = Standing()
        streams = [stream_of(here.events.answer(lambda: True)) for _ in range(MOST)]
        for stream in streams:
            await until(stream, "retry")
        assert here.events.answer(lambda: True).status_code == 503
        await cast("Any", streams[0]).aclose()
        assert here.events.answer(lambda: True).status_code == 200

    asyncio.run(asyncio.wait_for(crowd(), 30))


def test_nobody_is_told_who_is_not_signed_in(ground: Ground) -> None:
    """A browser that was signed out is not led to a form by a script."""
    assert PageInFront(ground.control).browser().get("/live").status_code == 401
