"""What a swap costs those who ask meanwhile.

A serving process answers a steady stream of requests (open loop: they arrive at their times whether or not earlier
ones are answered) while the pointer moves between generations. Stretches with and without swaps alternate, so that
whatever else the machine does falls on both. Every answer is greedy and is compared with what the generation that it
names would say, computed here without a cache or a batch: a mixture of two generations would differ.

    python -m benchmarks.swap --vllm PYTHON --adapters --generations 40 --stretch 20

measures the same of vLLM behind the door, by the interpreter of its environment: an engine for each generation, or with
`--adapters` one engine into which generations are put as adapters, where a swap takes seconds. With `--json` figures of
other engines stay as they are in the file.
"""

import asyncio
import itertools
import json
import multiprocessing
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks.report import Bar, arguments, report
from checkpoints.base.prepare import import_base
from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model, load_tokenizer
from tests.harness import wait_until
from tests.models import make_adapter, make_causal

PROMPTS = [
    "the state of the union",
    "one two three",
    "Río que guarda",
    "is strong and the state of",
    "four five",
    "日本語 union",
]
NEW_TOKENS = 16
HEAD_WIDTH = 32
"""Of the model's attention: vLLM's on a CPU knows none below."""
SETTLE_S = 0.25
POLL_S = 0.04
READY_S = 300
SWAPS = 200
SWAPS_OF_OTHERS = 10
"""Where an engine is another program, and a swap takes seconds of a machine that answers meanwhile."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: when it was due and answered (monotonic seconds), and what came; status 0: no answer."""

    due: float
    ended: float
    status: int
    prompt: str
    generation: int
    text: str

    @property
    def latency_s(self) -> float:
        """From when it was due, so that a server that stands still is not let off."""
        return self.ended - self.due


@dataclass(frozen=True, slots=True)
class Swap:
    """One swap: when the pointer began to move and when the new generation answered (monotonic seconds)."""

    began: float
    ended: float


# Answers without swaps, answers with, and the swaps.
Measured = tuple[list[Answered], list[Answered], list[Swap]]


def expected_answers(path: Path) -> dict[str, str]:
    """What a generation answers to each prompt: greedy, by itself, reading everything anew for each token."""
    # In single precision, as serving loads it on a CPU: greedy answers would differ by rounding.
    model, tokenizer = load_model(path, "causal-lm", dtype=torch.float32), load_tokenizer(path)
    answers = {}
    for prompt in PROMPTS:
        ids = list(tokenizer(prompt)["input_ids"])
        start = len(ids)
        while len(ids) < start + NEW_TOKENS and ids[-1] != tokenizer.eos_token_id:
            with torch.inference_mode():
                ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        answers[prompt] = str(tokenizer.decode(ids[start:], skip_special_tokens=True))
    return answers


def publish_generations(
    root: Path, scratch: Path, count: int, layers: int, width: int, *, are_adapters: bool
) -> GenerationStore:
    """Random models, each giving other answers; all but the first are adapters on it, where that is wanted."""
    store = GenerationStore(root)
    for number in range(count):
        target = scratch / str(number)
        if number and are_adapters:
            model = make_adapter(store, target, seed=number)
        else:
            model = make_causal(target, seed=number, layers=layers, width=width, head_width=HEAD_WIDTH)
        if number == 0:
            import_base(store, model)
        else:
            store.publish(model, number, Card(number, "causal-lm", parent=number - 1, round=number))
    store.point_to(0)
    return store


class Load:
    """Requests at a steady rate, their gaps drawn as those of independent clients are."""

    def __init__(self, client: httpx.AsyncClient, rate: float, seed: int) -> None:
        self._client = client
        self._rate = rate
        self._random = random.Random(seed)
        self.answered: list[Answered] = []

    async def run(self, seconds: float) -> None:
        """Send for `seconds` and wait for the answers."""
        due = time.monotonic()
        end = due + seconds
        requests = []
        while (due := due + self._random.expovariate(self._rate)) < end:
            # By the clock, not by the last answer: a server that stands still must not be asked less.
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            requests.append(asyncio.create_task(self._ask(due, self._random.choice(PROMPTS))))
        await asyncio.gather(*requests)

    async def _ask(self, due: float, prompt: str) -> None:
        body = {"prompt": prompt, "max_tokens": NEW_TOKENS, "temperature": 0}
        try:
            response = await self._client.post("/v1/completions", json=body)
        except httpx.HTTPError:
            self.answered.append(Answered(due, time.monotonic(), 0, prompt, -1, ""))
            return
        ended = time.monotonic()
        text = response.json()["choices"][0]["text"] if response.status_code == 200 else ""
        number = int(response.headers.get("x-riverkeep-generation", -1))
        self.answered.append(Answered(due, ended, response.status_code, prompt, number, text))


class Swapper:
    """Moves the pointer through the generations, from a process of its own, as the daemon does.

    Args:
        client: asks the server which generation serves.
        store: whose pointer moves.
        writer: the process that moves it.
    """

    def __init__(self, client: httpx.AsyncClient, store: GenerationStore, writer: Executor) -> None:
        self._client = client
        self._root = store.root
        self._numbers = itertools.cycle([*store.numbers()[1:], 0])
        self._writer = writer
        self.swaps: list[Swap] = []

    async def run(self, done: Callable[[], bool]) -> None:
        """Swap until `done`, each time when the last swap has settled."""
        while not done():
            number = next(self._numbers)
            began = time.monotonic()
            await asyncio.get_running_loop().run_in_executor(self._writer, point_to, self._root, number)
            while await self._serving() != number:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(POLL_S)
            self.swaps.append(Swap(began, time.monotonic()))
            await asyncio.sleep(SETTLE_S)

    async def _serving(self) -> int:
        return int((await self._client.get("/v1/riverkeep/generation")).json()["generation"])


def point_to(root: Path, number: int) -> None:
    """Move the pointer."""
    GenerationStore(root).point_to(number)


async def measure(
    url: str, store: GenerationStore, writer: Executor, *, rate: float, stretch_s: float, stretches: int
) -> Measured:
    """Answers without swaps, answers with, and the swaps."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        swapper = Swapper(client, store, writer)
        # Not counted: the first answers and the first swap find cold caches.
        await asyncio.gather(Load(client, rate, seed=-1).run(3), swapper.run(lambda: bool(swapper.swaps)))
        swapper.swaps.clear()
        calm, busy = Load(client, rate, seed=0), Load(client, rate, seed=1)
        for _ in range(stretches):
            await calm.run(stretch_s)
            loading: asyncio.Future[None] = asyncio.ensure_future(busy.run(stretch_s))
            await asyncio.gather(loading, swapper.run(loading.done))
        return calm.answered, busy.answered, swapper.swaps


def during(answers: list[Answered], swaps: list[Swap], usual_s: float) -> list[Answered]:
    """Those that would meet a swap if they took as long as usual.

    Choosing those that did meet one would choose the slow ones: a longer wait meets more.
    """
    return [answer for answer in answers if any(s.began - usual_s < answer.due < s.ended for s in swaps)]


def p99(answers: list[Answered]) -> float:
    """99th percentile of the latency in milliseconds."""
    return float(np.percentile([answer.latency_s for answer in answers], 99)) * 1e3


def median(answers: list[Answered]) -> float:
    """Median latency in milliseconds."""
    return float(np.median([answer.latency_s for answer in answers])) * 1e3


@contextmanager
def serving(root: Path, vllm: Path | None) -> Iterator[str]:
    """A serving process over `root`, which answers by itself or by vLLM's of that interpreter; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = root / "settings.json"
    settings.write_text(json.dumps({"port": port, "threads": 1, **_engine(vllm)}))
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "serving", str(root), "--settings", str(settings)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _ready(url), timeout_s=READY_S, what="the server")
        yield url
    finally:
        server.terminate()
        server.wait(60)


def _engine(vllm: Path | None) -> dict[str, Any]:
    if vllm is None:
        return {}
    arguments = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "256"]
    environment = ["VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind"]
    process = {"python": str(vllm), "arguments": arguments, "environment": environment}
    return {"engine": "vllm", "engine_process": process}


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rate", type=float, default=12, help="requests a second")
    parser.add_argument("--stretch", type=float, default=3, help="seconds of each stretch")
    parser.add_argument("--stretches", type=int, default=32, help="pairs of stretches")
    parser.add_argument("--generations", type=int, default=4, help="how many to swap between")
    parser.add_argument("--layers", type=int, default=4, help="layers of the model")
    parser.add_argument("--width", type=int, default=128, help="width of the model; the defaults are the demo's")
    parser.add_argument(
        "--vllm", type=Path, help="the Python interpreter of vLLM's environment; else the builtin engine"
    )
    parser.add_argument("--adapters", action="store_true", help="all generations but the first are adapters on it")
    options = parser.parse_args()
    # One thread here and one in the server: on two cores they would take them from each other.
    torch.set_num_threads(1)
    # Spawned: a fork of a process in which torch has threads may hang.
    writer = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory() as scratch, writer:
        root = Path(scratch) / "checkpoints"
        store = publish_generations(
            root, Path(scratch), options.generations, options.layers, options.width, are_adapters=options.adapters
        )
        expected = {number: expected_answers(store.path(number)) for number in store.numbers()}
        with serving(root, options.vllm) as url:
            measuring = measure(
                url,
                store,
                writer,
                rate=options.rate,
                stretch_s=options.stretch,
                stretches=options.stretches,
            )
            calm, busy, swaps = asyncio.run(measuring)
    engine = _name(options.vllm, are_adapters=options.adapters)
    least = SWAPS_OF_OTHERS if engine else SWAPS
    bars = [replace(bar, name=f"{engine}{bar.name}") for bar in _bars(calm, busy, swaps, expected, least)]
    return report("Swapping under load", [*_of_other_engines(options.json, engine), *bars], options.json)


def _name(vllm: Path | None, *, are_adapters: bool) -> str:
    """What the names of an engine's figures begin with."""
    if vllm is None:
        return ""
    return "vLLM, adapters: " if are_adapters else "vLLM: "


def _of_other_engines(file: Path | None, engine: str) -> list[Bar]:
    """What a file holds already of others."""
    if file is None or not file.exists():
        return []
    bars = [Bar(**facts) for facts in json.loads(file.read_text(encoding="utf-8"))["bars"]]
    return [bar for bar in bars if _engine_of(bar) != engine]


def _engine_of(bar: Bar) -> str:
    engine, colon, _ = bar.name.partition(": ")
    return engine + colon if colon else ""


def _bars(
    calm: list[Answered], busy: list[Answered], swaps: list[Swap], expected: Mapping[int, Mapping[str, str]], least: int
) -> list[Bar]:
    answers = calm + busy
    failed = sum(answer.status != 200 for answer in answers)
    mixed = sum(
        answer.status == 200 and answer.text != expected[answer.generation][answer.prompt] for answer in answers
    )
    hit = during(busy, swaps, median(calm) / 1e3)
    swap_s = float(np.median([swap.ended - swap.began for swap in swaps]))
    return [
        Bar(name="p99 latency during swaps / without", value=p99(hit) / p99(calm), at_most=1.5),
        Bar(name="failed requests", value=failed, at_most=0),
        Bar(name="answers that are not wholly their generation's", value=mixed, at_most=0),
        Bar(name="swaps", value=len(swaps), at_least=least),
        Bar(name="answers that waited during a swap", value=len(hit), at_least=100),
        Bar(name="median latency without swaps (ms)", value=median(calm)),
        Bar(name="median latency during swaps (ms)", value=median(hit)),
        Bar(name="p99 latency without swaps (ms)", value=p99(calm)),
        Bar(name="p99 latency during swaps (ms)", value=p99(hit)),
        Bar(name="p99 latency of stretches with swaps (ms)", value=p99(busy)),
        Bar(name="median swap, pointer to answers (ms)", value=swap_s * 1e3),
    ]


if __name__ == "__main__":
    sys.exit(main())
