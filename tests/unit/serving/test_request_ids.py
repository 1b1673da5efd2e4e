"""A request keeps its id, from who sends it to the log and to the engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import structlog

from serving.engine.loaded import LoadedGeneration
from serving.engine.traces import RequestTrace
from serving.engine.worker import Worker
from serving.processes.asking import answer
from tests.unit.serving.conftest import Served
from tests.unit.serving.processes.test_asking import piece, stream
from tests.unit.serving.test_app import CHAT, PROMPT

Serve = Callable[..., Served]
ID = {"x-request-id": "a-proxys:own/id~1"}


def test_every_response_has_the_requests_id(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """Answers, streams, probes and refusals, by routes and by what stands before them."""
    keys = tmp_path / "keys"
    keys.write_text("a-key")
    served = serve(first, keys)
    key = {"authorization": "Bearer a-key"}
    asked: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/v1/completions", {"json": PROMPT, "headers": key | ID}, 200),
        ("POST", "/v1/chat/completions", {"json": {**CHAT, "stream": True}, "headers": key | ID}, 200),
        ("POST", "/v1/completions", {"json": {}, "headers": key | ID}, 400),
        ("POST", "/v1/completions", {"json": PROMPT, "headers": ID}, 401),
        ("GET", "/v1/nowhere", {"headers": key | ID}, 404),
        ("GET", "/healthz", {"headers": ID}, 200),
    ]
    for method, path, more, status in asked:
        response = served.client.request(method, path, **more)
        assert (response.status_code, response.headers.get_list("x-request-id")) == (status, list(ID.values())), path


@pytest.mark.parametrize("given", [None, "", "a b", "ü", "a" * 129])
def test_an_id_that_is_none_is_replaced(serve: Serve, first: LoadedGeneration, given: str | None) -> None:
    """By one of its own for each request."""
    headers = {} if given is None else {"x-request-id": given.encode()}
    made = {serve(first).client.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(2)}  # type: ignore[arg-type]  # bytes
    assert len(made) == 2
    assert all(each.startswith("req-") for each in made)


def test_failures_in_the_log_name_their_requests(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a pass, and of what nobody foresaw."""
    served = serve(first)
    with structlog.testing.capture_logs() as told:
        monkeypatch.setattr("serving.engine.completions._Group.run", lambda _: 1 / 0)
        monkeypatch.setattr("serving.engine.completions._Group.suspects", lambda group: group.jobs())
        assert served.client.post("/v1/completions", json=PROMPT, headers=ID).status_code in (400, 500)
        monkeypatch.setattr(Worker, "submit", lambda *_, **__: 1 / 0)
        assert served.client.post("/v1/completions", json=PROMPT, headers=ID).status_code == 500
    passes = [each for each in told if each["event"] == "forward_pass_failed"]
    assert passes[0]["requests"] == list(ID.values())
    assert next(each for each in told if each["event"] == "request_failed")["request"] == ID["x-request-id"]


def test_an_engine_gets_the_id_and_who_stands_before_the_door() -> None:
    """One of several requests that one request may be; what is too long or no text stays here."""
    sent = [
        (b"x-request-id", b"one"),
        (b"traceparent", b"00-1-2-01"),
        (b"x-forwarded-for", b"10.0.0.1, 10.0.0.2"),
        (b"x-forwarded-host", b"a" * 2000),
        (b"tracestate", "ü".encode()),
        (b"authorization", b"Bearer secret"),
    ]
    trace = RequestTrace.of(sent)
    seen: list[httpx.Headers] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return stream(piece("a", "stop"), "[DONE]")(request)

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://engine") as client:
            for _ in range(2):
                assert [each async for each in answer(client, {"stream": True}, trace)]

    anyio.run(ask)
    assert all(each["x-request-id"].startswith("one-") for each in seen)
    assert seen[0]["x-request-id"] != seen[1]["x-request-id"]
    assert (seen[0]["traceparent"], seen[0]["x-forwarded-for"]) == ("00-1-2-01", "10.0.0.1, 10.0.0.2")
    assert not {"x-forwarded-host", "tracestate", "authorization"} & set(seen[0])
