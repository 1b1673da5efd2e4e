"""A program that answers: begun on a directory, asked until it is ready, and for its log-probabilities."""

import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from typing import Final

import httpx
import structlog

from serving.errors import BrokenGeneration
from serving.processes.asking import KnownModel, known_models
from serving.processes.engine_process import EngineProcess
from serving.processes.launch import HOST, WantedEngine, launch_of
from serving.settings import ServingSettings

_log = structlog.get_logger(__name__)

ASK_EVERY_S: Final = 0.2
ASK_WITHIN_S: Final = 5.0


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
        wanted = WantedEngine(model, name, _free_port(), secrets.token_urlsafe(32), adapter_rank)
        self.url, self.key, self._model = f"http://{HOST}:{wanted.port}", wanted.key, model
        self.process = EngineProcess(launch_of(settings, wanted), output)
        _log.info("engine_started", pid=self.process.pid, name=name, engine=settings.engine, model=str(model))

    def client(self, timeout_s: float) -> httpx.Client:
        """Someone who asks it, with its key."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        # A proxy of the environment's is for addresses that are not on this machine.
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def until_ready(self, name: str, ending: threading.Event) -> KnownModel:
        """Wait until it has a model of that name; what it says of it.

        Args:
            name: of the model.
            ending: set where nobody waits any more.

        Raises:
            BrokenGeneration: it ends, has another model, or is not ready in time.
        """
        limit = self._settings.engine_process.ready_timeout_s
        deadline, why = time.monotonic() + limit, "it did not answer"
        with self.client(ASK_WITHIN_S) as client:
            while time.monotonic() < deadline:
                if ended := self.process.ended:
                    raise BrokenGeneration(f"the engine for {self._model} gave up: {ended}")
                try:
                    return _of_name(known_models(client), name)
                except httpx.HTTPError as error:
                    why = f"{type(error).__name__}: {error}"
                if ending.wait(ASK_EVERY_S):
                    raise BrokenGeneration("serving ends")
        raise BrokenGeneration(
            f"the engine for {self._model} was not ready within {limit:g} s (serving.engine_process.ready_timeout_s): "
            f"{why}{self.process.last_words()}"
        )


def _of_name(models: Sequence[KnownModel], name: str) -> KnownModel:
    for model in models:
        if model.name == name:
            return model
    others = ", ".join(model.name for model in models) or "nothing"
    raise BrokenGeneration(f"the engine serves {others}, and not {name}, under which it was started")


def _free_port() -> int:
    with socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
