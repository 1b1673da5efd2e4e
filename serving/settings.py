"""Settings of the serving process."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.door.certificates import TlsFiles, tls_files
from serving.feedback.settings import FeedbackSettings
from serving.keys.limits import KeyLimits
from serving.processes.settings import Engine, EngineProcessSettings, RemoteSettings, engine_problems
from serving.traffic.settings import CanarySettings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

# Not RIVERKEEP_…: those are settings, and a process that reads them would refuse one it does not know.
PROBES_VARIABLE = "PROBES_SOCKET_OF_RIVERKEEP"
"""The descriptor of a bound socket, from who started this process: by it alone that one asks how the process is."""
PROBES_KEY_VARIABLE = "PROBES_KEY_OF_RIVERKEEP"
"""The key with which it asks there, made for this process alone: the file may have no key that can be read off it."""


class ServingSettings(BaseModel):
    """Where requests are answered, by whom they may be asked, and how much at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True, description="Whether `riverkeep run` starts a serving process; `riverkeep serve` always does."
    )
    canary: CanarySettings = Field(
        CanarySettings(), description="Whether a new generation is watched in traffic before it serves."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8400, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    api_key_file: Path | None = Field(
        None,
        description="File of API keys, an entry a line: NAME sha256:HASH, with limits behind it, as "
        "`riverkeep keys add` writes it; or a key in plain text. Clients send theirs as `Authorization: Bearer KEY`. "
        "What changes in it is taken within a second.",
    )
    key_limits: KeyLimits = Field(
        KeyLimits(), description="What a key may take whose entry in the file names no limit of its own."
    )
    insecure: bool = Field(
        default=False, description="Whether it may listen beyond loopback without an API key, open to anyone."
    )
    tls_cert_file: Path | None = Field(
        None,
        description="The certificate of `port`, as PEM, and behind it those between it and a root: it speaks TLS. "
        "Read again when it changes, as are the next two. `probe_port` stays plain.",
    )
    tls_key_file: Path | None = Field(None, description="The certificate's private key, as PEM, without a password.")
    tls_client_ca_file: Path | None = Field(
        None,
        description="Certificates, as PEM, of who signs those that clients must show (mutual TLS). Left out: clients "
        "need none.",
    )
    engine: Engine = Field(
        "builtin",
        description="What answers: builtin (this process), vllm, sglang, command (any program that serves OpenAI's "
        "API), or remote (engines that others run, to which generations are handed). All but builtin are for causal "
        "language models.",
    )
    feedback: FeedbackSettings = Field(
        FeedbackSettings(), description="What is kept of answers beside what people say of them."
    )
    engine_process: EngineProcessSettings = Field(
        EngineProcessSettings(), description="How an engine that is a program of its own is started."
    )
    remote: RemoteSettings = Field(
        RemoteSettings(),
        description='With `engine = "remote"`: where generations are handed to engines that others run.',
    )
    device: str = Field(
        "auto",
        min_length=1,
        description="Where the model runs: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 …",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of a forward pass on CPU; 0 leaves one core to everything else.",
    )
    model_name: str = Field(
        "riverkeep",
        min_length=1,
        max_length=200,
        description="The model's name in `/v1/models` and in answers.",
    )
    max_batch: int = Field(
        8, ge=1, le=1024, description="Requests that are answered at once; further ones wait in the queue."
    )
    max_queue: int = Field(
        64,
        ge=0,
        le=100_000,
        description="Requests that may wait; further ones get 429 and a time to come back.",
    )
    max_body_bytes: int = Field(
        2 * 1024 * 1024, ge=1024, le=1024**3, description="Largest request body; larger ones get 413."
    )
    max_new_tokens: int = Field(
        1024, ge=1, le=1_000_000, description="Most tokens that one request may ask for; more gets 400."
    )
    default_new_tokens: int = Field(
        128,
        ge=1,
        le=1_000_000,
        description="Most tokens of an answer where neither request nor generation_config names a limit.",
    )
    max_inputs: int = Field(256, ge=1, le=100_000, description="Most prompts, or texts to classify, in one request.")
    classify_batch: int = Field(
        32, ge=1, le=4096, description="Texts that one forward pass classifies, from however many requests."
    )
    keep_alive_s: float = Field(
        75, gt=0, le=86_400, description="How long a connection may stay open without a request, between two of them."
    )
    header_timeout_s: float = Field(
        10,
        gt=0,
        le=3_600,
        description="Longest that a request's head may take, from the connection's beginning; then 408.",
    )
    max_connections: int = Field(
        1024,
        ge=16,
        le=60_000,
        description="Connections at once. Beyond them who has asked for nothing yet, or is idle longest, gives way; "
        "who is being answered never does, and where all are the latest gets 503.",
    )
    max_connections_per_client: int = Field(
        512,
        ge=1,
        le=60_000,
        description="Connections of one client's address at once, among all that there may be; behind a proxy, which "
        "is one client to serving, as many as `max_connections`.",
    )
    probe_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="A port beside `port` that answers `/healthz`, `/readyz` and `/metrics` alone, for probes that no "
        "crowd at `port` can touch: Kubernetes' above all. The daemon asks by a socket of its own.",
    )
    request_timeout_s: float = Field(
        120, gt=0, le=86_400, description="Longest that an answer may take, waiting included; then 504."
    )
    pass_timeout_s: float = Field(
        60,
        gt=0,
        le=3_600,
        description="Longest that one forward pass may take (512 tokens of prompts, or one token of each answer); "
        "beyond it the process says at `/healthz` that it hangs, and the daemon, or Kubernetes, starts another.",
    )
    body_timeout_s: float = Field(20, gt=0, le=3_600, description="Longest that a request's body may take; then 408.")
    drain_timeout_s: float = Field(30, ge=0, le=3_600, description="On SIGTERM, how long requests under way may go on.")
    poll_s: float = Field(0.2, gt=0, le=60, description="How often the serving pointer is looked at.")
    warm_prompts: int = Field(
        4,
        ge=0,
        le=1024,
        description="Recent requests (kept in memory only) that warm a new generation before it serves.",
    )

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        problems = []
        # All problems at once: who sets it up should not have to start it once for each.
        if self.host not in LOOPBACK and self.api_key_file is None and not self.insecure:
            problems.append(
                f"host {self.host} can be reached from other machines and there is no api_key_file; "
                "set one, listen on 127.0.0.1, or say insecure = true"
            )
        problems += engine_problems(self.engine, self.engine_process, self.remote)
        problems += self._canary_problems()
        try:
            self.tls  # noqa: B018 - for what it raises
        except ValueError as error:
            problems.append(str(error))
        if self.default_new_tokens > self.max_new_tokens:
            problems.append("default_new_tokens is larger than max_new_tokens; lower it")
        if problems:
            raise ValueError(". ".join(problems))
        return self

    def _canary_problems(self) -> list[str]:
        if not self.canary.enabled:
            return []
        if not self.enabled:
            return ["canary.enabled is for a serving process that the daemon starts and asks: set enabled = true"]
        if self.engine == "remote" and not self.remote.url:
            return ["canary.enabled is for answers that are given here, and remote.url names no engine: set it"]
        if self.engine not in ("builtin", "remote") and not self.engine_process.two_at_once:
            why = "canary.enabled needs two generations at once, and engine_process.two_at_once is false"
            return [f"{why}: one of the two has to be the other way"]
        return []

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None: plain HTTP is spoken."""
        return tls_files(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)
