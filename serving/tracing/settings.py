"""Whether spans are sent, and what stands in the way. Imports nothing of OpenTelemetry."""

import importlib.util
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from checkpoints.installing import pip_install

PROTOCOL: Final = "http/protobuf"
NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


class TracingSettings(BaseModel):
    """Requests, swaps and rounds as spans of OpenTelemetry, with the extra `otel`.

    Where they go is said by OpenTelemetry's own variables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Whether spans are sent, by OTLP over HTTP. Where to, what of them and under which name is said by "
        "the variables that OpenTelemetry defines: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, "
        "OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and the like.",
    )


def is_installed() -> bool:
    """Tell whether the extra is there, without importing it."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in NEEDED)
    except ModuleNotFoundError:
        return False


def obstacle(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Why no spans could be sent, and what to do: two sentences; None where nothing is known against it.

    Args:
        environment: of this process, which the others inherit.
    """
    if not is_installed():
        how = pip_install("-c", "constraints.txt", ".[otel]")
        return "It needs OpenTelemetry, which is not installed.", f"In Riverkeep's checkout run `{how}`."
    for name, allowed in (("OTEL_TRACES_EXPORTER", "otlp"), (_which("PROTOCOL", environment), PROTOCOL)):
        if (given := environment.get(name, "").strip()) not in ("", allowed):
            return f"{name} is {given!r}, and spans are sent by OTLP over HTTP.", f"Set it to {allowed}, or unset it."
    name = _which("ENDPOINT", environment)
    given = environment.get(name, "").strip()
    if given and not given.startswith(("http://", "https://")):
        return f"{name} is {given!r}, which is no URL.", "Name one, such as http://collector:4318."
    return None


def _which(what: str, environment: Mapping[str, str]) -> str:
    """The variable that counts: what is said of traces goes before what is said of everything."""
    of_traces = f"OTEL_EXPORTER_OTLP_TRACES_{what}"
    return of_traces if environment.get(of_traces, "").strip() else f"OTEL_EXPORTER_OTLP_{what}"
