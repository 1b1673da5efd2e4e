"""A program that answers: begun on a directory, asked until it is ready, and for its log-probabilities."""

import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from socket import socket

import httpx
import structlog

from serving.errors import BrokenGeneration
from serving.outbound import Outbound
from serving.processes.asking import KnownModel
from serving.processes.engine_process import EngineProcess
from serving.processes.launch import HOST, WantedEngine, launch_of
from serving.processes.readiness import ASK_WITHIN_S, NotInTime, until_listed
from serving.settings import ServingSettings

_log = structlog.get_logger(__name__)


class Program:
    """An engine's process with its address and its key.

    Args:
        settings: which engine, and how it is started.
        model: the directory that it answers from, a whole model.
        name: which it is to know that by.
        output: the file that takes what it writes.
        adapter_rank: the largest rank of adapters that may be put into it; None: of none.

    Raises:
        OSError: there is no room for one more process.
    """

    def __init__(
        self, settings: ServingSettings, model: Path, name: str, output: Path, *, adapter_rank: int | None = None
    ) -> None:
        self._settings = settings
        self.name, self.adapter_rank = name, adapter_rank
        self._longest: int | None = None
        file = output.with_suffix(".json")
        wanted = WantedEngine(model, name, _free_port(), secrets.token_urlsafe(32), adapter_rank, file)
        self.url, self.key, self._model = f"http://{HOST}:{wanted.port}", wanted.key, model
        launch = launch_of(settings, wanted)
        if launch.content:
            file.touch(mode=0o600)
            file.write_text(launch.content, encoding="utf-8")
        self.process = EngineProcess(launch, output)
        _log.info("engine_started", pid=self.process.pid, name=name, engine=settings.engine, model=str(model))

    def client(self, timeout_s: float) -> httpx.Client:
        """Someone who asks it, with its key."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, **Outbound.to(self.url).options())

    def until_ready(self, name: str, ending: threading.Event) -> KnownModel:
        """Wait until it has a model of that name; what it says of it.

        Args:
            name: of the model.
            ending: set where nobody waits any more.

        Raises:
            BrokenGeneration: it ends, has another model, or is not ready in time.
        """
        limit_s = self._settings.engine_process.ready_timeout_s

        def look(names: Sequence[str]) -> None:
            if ended := self.process.ended:
                raise BrokenGeneration(f"the engine for {self._model} gave up: {ended}")
            if names:
                raise BrokenGeneration(
                    f"the engine serves {', '.join(names)}, and not {name}, under which it was started"
                )

        with self.client(ASK_WITHIN_S) as client:
            try:
                known = until_listed(client, name, within_s=limit_s, ending=ending, look=look)
            except NotInTime as error:
                raise BrokenGeneration(
                    f"the engine for {self._model} was not ready within {limit_s:g} s "
                    f"(serving.engine_process.ready_timeout_s): {error}{self.process.last_words()}"
                ) from error
        # vLLM says it of the whole model alone, and an adapter that is put into it has no more room than that.
        self._longest = known.longest or self._longest
        return KnownModel(known.name, self._longest)


def _free_port() -> int:
    with socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
