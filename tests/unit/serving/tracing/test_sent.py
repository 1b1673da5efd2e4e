"""Spans as a collector gets them: of requests, and what never stands in one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import structlog
from structlog.testing import capture_logs

from serving.engine.loaded import LoadedGeneration
from serving.engine.traces import RequestTrace
from serving.engine.worker import Worker
from serving.tracing.spans import Tracing
from tests.otlp_receiver import ReceivedSpan, Receiver
from tests.unit.serving.conftest import Served

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "a=b", "x-request-id": "a-proxys-id"}
SECRET = "xylophone"
PROMPT = {"prompt": f"the {SECRET} state", "max_tokens": 2}

Traced = Callable[..., Tracing]


@dataclass(frozen=True)
class Asked:
    """A request that was asked, and its span."""

    status: int
    span: ReceivedSpan


@pytest.fixture
def ask(
    serve: Callable[..., Served], first: LoadedGeneration, traced: Traced, receiver: Receiver
) -> Callable[..., Asked]:
    """Asks one request of a traced application and waits for its span."""
    served = serve(first, tracing=traced())

    def call(method: str, path: str, **more: object) -> Asked:
        before = len(receiver.spans)
        response = served.client.request(method, path, **more)  # type: ignore[arg-type]  # any of them
        receiver.wait_for_more(before)
        return Asked(response.status_code, receiver.spans[-1])

    return call


def test_a_request_is_a_span_that_continues_its_callers(ask: Callable[..., Asked], receiver: Receiver) -> None:
    """With OpenTelemetry's own names, the request's id and who answered; nothing of what was asked or answered."""
    asked = ask("POST", "/v1/completions", json=PROMPT, headers=CALLED)
    span = asked.span
    assert (asked.status, span.name, span.kind, span.failed) == (200, "POST /v1/completions", 2, False)
    assert (span.trace_id, span.parent) == (TRACE, CALLER)
    assert (span.service, span.scope) == ("riverkeep", "riverkeep.serving")
    assert span.facts == {
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "http.response.status_code": 200,
        "riverkeep.request.id": "a-proxys-id",
        "riverkeep.generation": 1,
    }


@pytest.mark.parametrize("header", ["", "00-x-y-01", f"00-{'0' * 32}-{CALLER}-01"])
def test_what_is_no_traceparent_begins_a_trace(ask: Callable[..., Asked], header: str) -> None:
    """The request is answered all the same."""
    asked = ask("POST", "/v1/completions", json=PROMPT, headers={"traceparent": header})
    assert (asked.status, asked.span.parent) == (200, "")
    assert asked.span.trace_id not in (TRACE, "0" * 32)


def test_nothing_that_was_written_is_sent(ask: Callable[..., Asked], receiver: Receiver) -> None:
    """Not the text, not the address, not a method that a client made up, not what is wrong with a body."""
    chat = {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 2}
    for method, path, more in (
        ("POST", "/v1/completions", {"json": PROMPT}),
        ("POST", "/v1/chat/completions", {"json": {**chat, "stream": True}}),
        ("POST", "/v1/completions", {"json": {SECRET: SECRET}}),
        ("POST", "/v1/completions", {"content": SECRET}),
        ("GET", f"/v1/models/{SECRET}", {}),
        ("GET", f"/{SECRET}?{SECRET}={SECRET}", {}),
        (SECRET.upper(), "/v1/models", {}),
    ):
        ask(method, path, **more)
    assert len(receiver.spans) == 7
    assert not any(SECRET.encode() in body.lower() for body in receiver.bodies)
    assert [span.name for span in receiver.spans[-3:]] == ["GET /v1/models/{model:path}", "GET", "_OTHER /v1/models"]


def test_a_failure_is_one_in_its_span(ask: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the error; a request that was wrong is none of the server's."""
    assert not ask("POST", "/v1/completions", json={}).span.failed

    def submit(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Worker, "submit", submit)
    asked = ask("POST", "/v1/completions", json=PROMPT)
    assert (asked.status, asked.span.failed, asked.span.facts["error.type"]) == (500, True, "RuntimeError")


def test_probes_are_no_spans(
    serve: Callable[..., Served], first: LoadedGeneration, traced: Traced, receiver: Receiver
) -> None:
    """They would be most of them."""
    served = serve(first, tracing=traced())
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models"):
        assert served.client.get(path).status_code == 200
    receiver.wait_for("GET /v1/models")
    assert len(receiver.spans) == 1


def test_the_usual_variables_say_what_is_sent(
    serve: Callable[..., Served], first: LoadedGeneration, traced: Traced, receiver: Receiver
) -> None:
    """Headers, the service's name, and a sampler that lets nothing through of its own but continues a trace."""
    tracing = traced(
        OTEL_EXPORTER_OTLP_HEADERS="api-key=secret",
        OTEL_SERVICE_NAME="answers",
        OTEL_TRACES_SAMPLER="parentbased_always_off",
    )
    served = serve(first, tracing=tracing)
    assert served.client.get("/v1/models").status_code == 200
    assert served.client.get("/v1/models", headers=CALLED).status_code == 200
    assert receiver.wait_for("GET /v1/models").trace_id == TRACE
    assert [(span.service, span.parent) for span in receiver.spans] == [("answers", CALLER)]
    assert receiver.headers[0]["api-key"] == "secret"


def test_lines_of_the_log_name_request_and_trace(
    serve: Callable[..., Served], first: LoadedGeneration, traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    """Every request has one where all is logged; without tracing it names the request alone."""
    caplog.set_level(logging.DEBUG, logger="serving.guard")
    logged = []
    for options in ({}, {"tracing": traced()}):
        with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            assert serve(first, **options).client.get("/v1/models", headers=CALLED).status_code == 200
        (line,) = (line for line in lines if line["event"] == "request_answered")
        assert (line["request"], line["route"], line["status"]) == ("a-proxys-id", "/v1/models", 200)
        logged.append(line)
    assert "trace_id" not in logged[0]
    assert logged[1]["trace_id"] == TRACE
    assert structlog.contextvars.get_contextvars() == {}


def test_an_engine_continues_the_requests_span() -> None:
    """In place of the caller's, whose state goes on only with it."""
    trace = RequestTrace.of([(name.encode(), value.encode()) for name, value in CALLED.items()])
    assert trace.within({}) is trace
    own = {"traceparent": f"00-{TRACE}-{'1' * 16}-01"}
    engine = trace.within(own).to_engine()
    assert (engine["traceparent"], "tracestate" in engine) == (own["traceparent"], False)
