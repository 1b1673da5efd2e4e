"""Whether spans are sent: only where that is wanted, and by what is installed and makes sense."""

import subprocess
import sys
import threading

import pytest

from serving.tracing import settings
from serving.tracing.begin import CannotTrace, begin_tracing
from serving.tracing.open_telemetry import OpenTelemetry
from serving.tracing.settings import TracingSettings, obstacle
from serving.tracing.spans import NO_SPAN, NO_TRACING
from tests.brokers import free_port

ON = TracingSettings(enabled=True)
OFF = """
import sys
from serving.tracing.begin import begin_tracing
from serving.tracing.settings import TracingSettings
with begin_tracing(TracingSettings(), "serving").begin("swap", {"riverkeep.generation": 1}) as span:
    span.note({"a": 1})
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_where_it_is_off_nothing_of_opentelemetry_is_imported() -> None:
    """Nor when spans would begin; that no other file imports it is a contract."""
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


def test_where_it_is_off_there_is_one_span_that_is_nothing() -> None:
    """No object is made for a request."""
    tracing = begin_tracing(TracingSettings(), "daemon")
    assert tracing is NO_TRACING
    assert tracing.begin("a", {}) is tracing.begin("b", {"c": 1}) is NO_SPAN
    assert (NO_SPAN.ids, NO_SPAN.carried) == ({}, {})


@pytest.mark.parametrize(
    ("variables", "culprit"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318", "OTEL_TRACES_EXPORTER": "otlp"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, ""),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, ""),
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "OTEL_TRACES_EXPORTER"),
    ],
)
def test_variables_that_could_not_be_followed_are_named(variables: dict[str, str], culprit: str) -> None:
    """What is said of traces goes before what is said of everything, as OpenTelemetry has it."""
    found = obstacle(variables)
    assert (found is not None) == bool(culprit)
    assert found is None or found[0].startswith(f"{culprit} is ")


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start too, whoever did not ask `riverkeep check` first."""
    monkeypatch.setattr(settings, "is_installed", lambda: False)
    with pytest.raises(CannotTrace, match=r"not installed\. In Riverkeep's checkout run `.*pip install .*\.\[otel\]"):
        begin_tracing(ON, "serving")


def test_a_package_that_is_not_there_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of its names, or one on the way there, which is another error."""
    assert settings.is_installed()
    monkeypatch.setattr(settings, "NEEDED", ("opentelemetry.sdk.trace", "opentelemetry.nothing"))
    assert not settings.is_installed()
    monkeypatch.setattr(settings, "NEEDED", ("opentelemetry.nothing.at_all",))
    assert not settings.is_installed()


def test_a_variable_that_makes_no_sense_is_told_of_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sentence, not by a traceback."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(CannotTrace, match=r"max_queue_size.*OTEL_"):
        begin_tracing(ON, "serving")


def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be sent is let go of."""
    tracing = begin_tracing(ON, "serving")
    assert isinstance(tracing, OpenTelemetry)
    answers, ended = threading.Event(), threading.Event()
    end = tracing._provider.shutdown

    def end_late() -> None:
        answers.wait()
        end()
        ended.set()

    monkeypatch.setattr(tracing._provider, "shutdown", end_late)
    tracing.close(0.01)
    assert not answers.is_set()
    answers.set()
    assert ended.wait(60)


def test_requests_and_log_go_on_while_there_is_no_collector(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A span begins and ends as ever; that it could not be sent is a line of the log."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    tracing = begin_tracing(ON, "serving")
    with tracing.begin("swap", {}) as span:
        assert span.ids
    tracing.close(60)
    assert any(record.name.startswith("opentelemetry") for record in caplog.records)
