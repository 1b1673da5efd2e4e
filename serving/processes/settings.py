"""Settings of engines that are not this process: programs that it starts, and engines that others run."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Engine = Literal["builtin", "vllm", "sglang", "command", "remote"]
NEEDED_PLACES: Final = ("{model}", "{port}")
"""What a command must name: where the model is, and where it is to listen."""


class EngineProcessSettings(BaseModel):
    """How an engine that is a program of its own is started: a process for each generation, on loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Path | None = Field(
        None,
        description="The Python interpreter of the environment that has vLLM or SGLang, which is best one of its own; "
        "left out: the one that runs Riverkeep.",
    )
    arguments: tuple[str, ...] = Field(
        (),
        description='Further arguments of vLLM or SGLang, such as ["--gpu-memory-utilization", "0.4"]: where they name '
        "no such share of a GPU (of SGLang --mem-fraction-static), each of two at once is told to take 0.45.",
    )
    command: tuple[str, ...] = Field(
        (),
        description='With `engine = "command"`: the program and its arguments. It is to serve OpenAI\'s API with '
        "streams and prompts of token ids from the directory {model} under the name {name} at {host}:{port}, and to "
        "ask for the key that it finds in RIVERKEEP_ENGINE_KEY.",
    )
    environment: tuple[str, ...] = Field(
        (),
        description="Variables that the engine gets beside those of the serving process (of which RIVERKEEP_… stay "
        'out), each as NAME=value, such as ["VLLM_CPU_KVCACHE_SPACE=4"].',
    )
    ready_timeout_s: float = Field(
        900, gt=0, le=86_400, description="How long an engine may take from its start until it names its model."
    )
    two_at_once: bool = Field(
        default=True,
        description="Whether the next generation's engine is started while the old one answers. Where memory holds "
        "only one: false ends the old one first (its answers under way have `drain_timeout_s`), and requests get 503 "
        "until the next one answers.",
    )

    max_difference: float = Field(
        0.1,
        gt=0,
        le=100,
        description="How far an engine's log-probabilities may be from the learner's, in nats a token on average, "
        "before it answers anybody. bfloat16 alone makes some hundredths; quantized weights need more.",
    )

    @field_validator("environment")
    @classmethod
    def _have_names(cls, variables: tuple[str, ...]) -> tuple[str, ...]:
        for variable in variables:
            name, sign, _ = variable.partition("=")
            if not name or not sign:
                raise ValueError(f"{variable!r} names no variable: write NAME=value")
        return variables


class RemoteSettings(BaseModel):
    """Where generations are handed to engines that others run, and where those answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    location: str = Field(
        "",
        description="A directory, or an object store's prefix (s3://bucket/models, with `pip install s3fs`), under "
        "which each generation gets a folder of its own.",
    )
    webhook: str = Field(
        "", description="An address that gets a POST for each generation that is handed over, and for each that goes."
    )
    url: str = Field(
        "",
        description="Where the engines answer OpenAI's API, each generation under its name; left out: this service "
        "answers no requests, and only hands generations over.",
    )
    key_file: Path | None = Field(
        None, description="File with the bearer token that `webhook` and `url` ask for, which is read anew each time."
    )
    keep: int = Field(
        3, ge=1, le=1000, description="Generations that stay at the location, the newest; those that answer always do."
    )


def engine_problems(engine: Engine, process: EngineProcessSettings, remote: RemoteSettings) -> list[str]:
    """What is set of engines and cannot work together, each as a sentence without its end."""
    missing = [place for place in NEEDED_PLACES if not any(place in part for part in process.command)]
    if engine == "command" and missing:
        return [f"engine is command and engine_process.command names no {' and no '.join(missing)}; say where it is"]
    if engine == "remote" and not remote.location:
        return ["engine is remote and remote.location is not set; name the directory that engines read from"]
    if engine != "remote" and remote != RemoteSettings():
        return [f'remote is for engine = "remote", and engine is {engine}']
    if engine != "command" and process.command:
        return [f'engine_process.command is for engine = "command", and engine is {engine}']
    if engine not in ("vllm", "sglang") and (process.arguments or process.python):
        return [f"engine_process.arguments and python are for vllm and sglang, and engine is {engine}"]
    addresses = {"url": remote.url, "webhook": remote.webhook}
    return [
        f"remote.{name} {value} is no address: write http:// or https://, a host, a port"
        for name, value in addresses.items()
        if value and not value.startswith(("http://", "https://"))
    ]
