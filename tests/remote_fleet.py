"""Engines that others run, as a test has them: one address, behind it a process for each generation handed over.

It hears the webhook, starts the builtin engine as another program on each generation's folder, and ends it when it is
told to; requests go to the one whose name they bear. An engine that was lost is started anew when it is asked for, and
until it answers its requests are told 503.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.processes.launch import KEY_VARIABLE

KEY = "a-key-of-the-fleet"
LISTED_WITHIN_S = 1.0
"""How long an engine may take to say what it has; one that is kept from its work is left out."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the engines: its process, its address, the folder of its model."""

    process: subprocess.Popen[bytes]
    url: str
    model: Path


class Fleet:
    """The address; `told` is what its webhook heard."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._engines: dict[str, Engine] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        # Its connections to engines may lie idle for long, and such a one may be closed as it is taken again.
        self._client = httpx.AsyncClient(
            timeout=None, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        routes = [
            Route("/told", self._hear, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/completions", self._complete, methods=["POST"]),
        ]
        app = Starlette(routes=routes, lifespan=self._closing)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        for process in self._processes:
            process.kill()
            process.wait()

    @asynccontextmanager
    async def _closing(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await self._client.aclose()

    async def _hear(self, request: Request) -> Response:
        _require_key(request)
        told = await request.json()
        self.told.append(told)
        if told["event"] == "generation_ready" and told["name"] not in self._engines:
            self._start(told["name"], Path(told["location"]))
        if told["event"] == "generation_retired":
            self._engines.pop(told["name"]).process.terminate()
        return JSONResponse({})

    def engines(self) -> list[psutil.Process]:
        """The engines that run."""
        return [psutil.Process(process.pid) for process in self._processes if process.poll() is None]

    def _start(self, name: str, model: Path) -> "Engine":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "tests.engine_program", str(model), name, str(port)]
        self._processes.append(subprocess.Popen(command, env={**os.environ, KEY_VARIABLE: KEY}))
        self._engines[name] = Engine(self._processes[-1], f"http://127.0.0.1:{port}", model)
        return self._engines[name]

    async def _models(self, request: Request) -> Response:
        _require_key(request)
        listed: list[dict[str, Any]] = []
        for engine in list(self._engines.values()):
            try:
                answer = await self._client.get(f"{engine.url}/v1/models", headers=_headers(), timeout=LISTED_WITHIN_S)
                listed += answer.json()["data"]
            except httpx.TransportError:
                continue
        return JSONResponse({"data": listed})

    async def _complete(self, request: Request) -> Response:
        _require_key(request)
        body = await request.json()
        engine = self._engines[body["model"]]
        if engine.process.poll() is not None:
            engine = self._start(body["model"], engine.model)
        asked = self._client.build_request("POST", f"{engine.url}/v1/completions", json=body, headers=_headers())
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.ConnectError:
            return Response(status_code=503)
        return StreamingResponse(_passed_on(answer), answer.status_code, media_type=answer.headers["content-type"])


async def _passed_on(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in answer.aiter_raw():
        yield chunk
    await answer.aclose()


def _headers() -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}"}


def _require_key(request: Request) -> None:
    assert request.headers["authorization"] == f"Bearer {KEY}"
