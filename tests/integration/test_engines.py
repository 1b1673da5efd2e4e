"""Engines that are programs of their own, behind the door: one process for each generation, real ones over HTTP.

Every engine keeps the same contract: vLLM where it is installed (`make test-vllm`), `command` with the builtin engine
as another program, which can be made to misbehave, and `remote`, engines that others run, as far as the contract is not
about what this service does to processes of its own.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from transformers import GenerationConfig

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from serving.processes.launch import KEY_VARIABLE
from tests.harness import get, post, wait_until
from tests.integration.test_serving import KEY, LONG, SHORT, Server, make_store
from tests.models import make_adapter, make_causal
from tests.remote_fleet import KEY as FLEET_KEY
from tests.remote_fleet import Fleet
from tests.unproven import VLLM, VLLM_PYTHON

pytestmark = pytest.mark.slow

OWN = ("command", "vllm")
# Requests, the door, the proxy of those others and two engines share the machine.
ENGINES = (*OWN, pytest.param("remote", marks=pytest.mark.timeout(900)))
# A swap under load takes a CPU minutes.
PATIENCE_S = {"command": 120.0, "vllm": 600.0, "remote": 300.0}
of_own_engines = pytest.mark.parametrize("server", OWN, indirect=True, scope="module")
"""Of engines that this service starts: those that others run are theirs to close, and to look after."""
VLLM_MODULE = "vllm.entrypoints.openai.api_server"
HEAD_WIDTH = 32
"""vLLM's attention on a CPU knows none below."""
PROGRAM = (sys.executable, "-m", "tests.engine_program", "{model}", "{name}", "{port}")
PATIENT: dict[str, Any] = {"pass_timeout_s": 600, "request_timeout_s": 600}
"""With an engine that is kept from its work, for as long as a swap takes at most."""
PROBED = ("/healthz", "/metrics")
MESSAGES = [{"role": "user", "content": "the state of </s> the union"}]


@contextmanager
def served(store: GenerationStore, *more: str, **settings: Any) -> Iterator[Server]:
    """A serving process whose engines are the builtin one as another program; `more` is how they behave."""
    process = {"command": [*PROGRAM, *more], **settings.pop("engine_process", {})}
    with running(Server(store.root, engine="command", engine_process=process, **{**PATIENT, **settings})) as server:
        yield server


@contextmanager
def served_by_vllm(store: GenerationStore, **settings: Any) -> Iterator[Server]:
    """A serving process whose engines are vLLM's, on a CPU."""
    process = {
        "python": str(VLLM_PYTHON),
        "arguments": ["--dtype", "float32", "--enforce-eager", "--max-model-len", "4096"],
        "environment": ["VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind"],
    }
    with running(Server(store.root, engine="vllm", engine_process=process, **{**PATIENT, **settings})) as server:
        yield server


class AskingOthers(Server):
    """A serving process whose engines others run."""

    def __init__(self, store: GenerationStore, fleet: Fleet) -> None:
        key = store.root.parent / "key-of-the-fleet"
        key.write_text(f"{FLEET_KEY}\n")
        told = {"url": fleet.url, "webhook": f"{fleet.url}/told", "key_file": str(key)}
        shelf = str(store.root.parent / "shelf")
        super().__init__(store.root, engine="remote", remote={"location": shelf, **told}, **PATIENT)
        self.fleet = fleet


@contextmanager
def served_by_others(store: GenerationStore) -> Iterator[Server]:
    """A serving process, and those who run engines for it."""
    with Fleet() as fleet:
        server = AskingOthers(store, fleet)
        try:
            yield server
        finally:
            server.__exit__()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """End a serving process, and see that its engines end with it."""
    try:
        yield server
    finally:
        left = engines(server)
        server.__exit__()
        assert not psutil.wait_procs(left, timeout=60)[1]


def engines(server: Server) -> list[psutil.Process]:
    """The engines that a serving process has."""
    if isinstance(server, AskingOthers):
        return server.fleet.engines()
    if server.process.poll() is not None:
        return []
    # Each has a guardian, which has the same words in its command line.
    guardians = psutil.Process(server.process.pid).children()
    below = [child for guardian in guardians for child in _children(guardian)]
    return [child for child in below if {"tests.engine_program", VLLM_MODULE} & set(_command_line(child))]


def _children(process: psutil.Process) -> list[psutil.Process]:
    """What it began; nothing of one that has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return process.children()
    return []


def _command_line(process: psutil.Process) -> list[str]:
    """Its arguments; none of one that has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def complete(server: Server, **more: Any) -> httpx.Response:
    """Ask for a completion."""
    headers = {"authorization": f"Bearer {KEY}"}
    return post(f"{server.url}/v1/completions", json={**SHORT, **more}, headers=headers, timeout=60)


def plainly(server: Server) -> str:
    """What is written without what a model's own files say of penalties."""
    return text_of(complete(server, repetition_penalty=1.0, top_k=-1))


def scores(server: Server) -> list[Any]:
    """How probable the tokens of a prompt and of an answer are, by completions and in a chat."""
    written = complete(server, prompt=[40, 41, 42, 300], max_tokens=3, logprobs=2, echo=True, n=2).json()
    said = chat(server, logprobs=True, top_logprobs=2).json()
    return [[choice["text"], choice["logprobs"]] for choice in written["choices"]] + [said["choices"][0]["logprobs"]]


def alike(told: object, expected: object) -> bool:
    """Whether two answers say the same, figures to four digits: engines add in another order."""
    if isinstance(expected, dict):
        return isinstance(told, dict) and list(told) == list(expected) and alike([*told.values()], [*expected.values()])
    if isinstance(expected, list):
        same = isinstance(told, list) and len(told) == len(expected)
        return same and all(alike(*pair) for pair in zip(told, expected, strict=True))  # type: ignore[call-overload]
    return told == (pytest.approx(expected, abs=2e-3) if isinstance(expected, float) else expected)


def chat(server: Server, **more: Any) -> httpx.Response:
    """Ask in a chat whose message holds a control token's word."""
    body = {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **more}
    return post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenerationStore:
    """Four generations that answer differently; the third is of a model that says how it wants to be drawn from."""
    root = tmp_path_factory.mktemp("engines")
    store = make_store(root, 2, head_width=HEAD_WIDTH)
    for number in (2, 3):
        model = make_causal(root / str(number), seed=number, context=4096, head_width=HEAD_WIDTH)
        if number == 2:
            config = GenerationConfig.from_pretrained(model)
            config.update(do_sample=True, repetition_penalty=1.5, top_k=3)
            config.save_pretrained(model)
        store.publish(model, number, Card(number, "causal-lm", parent=number - 1, round=number))
    return store


@pytest.fixture(scope="module")
def builtin(store: GenerationStore) -> dict[int, tuple[str, str, list[Any], str]]:
    """What each generation writes by the builtin engine: a completion, a chat, how probable they are, and plainly."""
    answers = {}
    with Server(store.root) as server:
        for number in (0, 1, 2, 3):
            store.point_to(number)
            server.until_serves(number)
            said = chat(server).json()["choices"][0]["message"]["content"]
            answers[number] = (text_of(complete(server)), said, scores(server), plainly(server))
    assert answers[2][0] != answers[2][3]
    store.point_to(0)
    return answers


SERVED: dict[str, Callable[[GenerationStore], AbstractContextManager[Server]]] = {
    "command": served,
    "vllm": served_by_vllm,
    "remote": served_by_others,
}


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, store: GenerationStore) -> Iterator[Server]:
    """One for each engine, that every test finds at generation 0."""
    engine: str = request.param
    if engine == "vllm" and not VLLM_PYTHON.exists():
        VLLM.skip()
    store.point_to(0)
    with SERVED[engine](store) as made:
        made.patience_s = PATIENCE_S[engine]
        wait_until(made.answers, timeout_s=made.patience_s, what="generation 0")
        yield made


@pytest.fixture(autouse=True)
def _at_generation_0(request: pytest.FixtureRequest, store: GenerationStore) -> None:
    store.point_to(0)
    if "server" in request.fixturenames:
        until_alone(request.getfixturevalue("server"), 0)


def until_alone(server: Server, number: int) -> psutil.Process:
    """Wait until a generation serves and its engine is the only one; that engine."""
    server.until_serves(number)
    wait_until(lambda: len(engines(server)) == 1, timeout_s=server.patience_s, what="the end of the old engines")
    return engines(server)[0]


def text_of(answer: httpx.Response) -> str:
    """What was written."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def streamed(server: Server, on_first: Callable[[], None]) -> tuple[str, str, bool]:
    """A long stream: its generation, its text, whether it came to its end."""
    text, whole = "", False
    with httpx.stream("POST", f"{server.url}/v1/completions", json=LONG, timeout=120) as response:
        generation = response.headers["x-riverkeep-generation"]
        for line in response.iter_lines():
            if line == "data: [DONE]":
                whole = True
            elif line.startswith("data:"):
                event = httpx.Response(200, content=line[5:]).json()
                if "error" in event:
                    return generation, str(event["error"]["code"]), False
                if not text:
                    on_first()
                text += event["choices"][0]["text"] if event["choices"] else ""
    return generation, text, whole


def test_each_answer_is_of_one_generation_and_what_the_builtin_engine_writes(
    server: Server, store: GenerationStore, builtin: dict[int, tuple[str, str, list[Any], str]]
) -> None:
    """Completions, and chats whose messages write control tokens, through two swaps; requests go on meanwhile."""
    answers: list[httpx.Response] = []
    ended = threading.Event()

    def ask_on() -> None:
        # With a breath between, in which an engine that begins gets the machine.
        while not ended.wait(0.1):
            answers.append(complete(server))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask_on) for _ in range(3)]
        try:
            for number in (1, 2):
                store.point_to(number)
                server.until_serves(number)
                assert chat(server).json()["choices"][0]["message"]["content"] == builtin[number][1]
                assert plainly(server) == builtin[number][3]
        finally:
            ended.set()
        for each in asking:
            each.result()
    for answer in answers:
        assert text_of(answer) == builtin[int(answer.headers["x-riverkeep-generation"])][0]
    assert {answer.headers["x-riverkeep-generation"] for answer in answers} >= {"0", "1"}
    until_alone(server, 2)


def test_scores_are_those_of_the_builtin_engine(
    server: Server, builtin: dict[int, tuple[str, str, list[Any], str]]
) -> None:
    """Of a prompt and of answers, by the same names of tokens, in the same shapes."""
    assert alike(scores(server), builtin[0][2])


def test_a_stream_ends_on_the_generation_that_it_began_on(server: Server, store: GenerationStore) -> None:
    """The old engine lives until its last answer is out, and no longer."""
    alone = streamed(server, lambda: None)

    def swap() -> None:
        store.point_to(3)
        server.until_serves(3)

    assert streamed(server, swap) == alone
    assert alone[0] == "0"
    assert alone[2]
    until_alone(server, 3)


def test_a_generation_gone_back_to_while_it_answers_answers_on(
    server: Server, store: GenerationStore, builtin: dict[int, tuple[str, str, list[Any]]]
) -> None:
    """A rollback soon after a swap: by the engine that there is, in which the stream goes on, and by no third one."""
    alone, engine = streamed(server, lambda: None), until_alone(server, 0)

    def there_and_back() -> None:
        # So that its stream is under way all the while.
        with suspended(engine):
            for number in (3, 0):
                store.point_to(number)
                server.until_serves(number)
            assert engine in engines(server)
            assert len(engines(server)) <= 2

    assert streamed(server, there_and_back) == alone
    assert text_of(complete(server)) == builtin[0][0]
    assert until_alone(server, 0) == engine


@contextmanager
def suspended(engine: psutil.Process) -> Iterator[None]:
    """Let an engine do nothing meanwhile, and then go on."""
    engine.suspend()
    try:
        yield
    finally:
        engine.resume()


def test_an_engine_killed_in_an_answer_is_told_and_replaced(
    server: Server, builtin: dict[int, tuple[str, str, list[Any], str]]
) -> None:
    """The stream ends with an error that a program can read; a new engine answers from the pointer, by itself."""
    engine = until_alone(server, 0)
    _, code, whole = streamed(server, engine.kill)
    assert (code, whole) == ("engine_lost", False)
    wait_until(lambda: complete(server).status_code == 200, timeout_s=server.patience_s, what="a new engine")
    assert text_of(complete(server)) == builtin[0][0]
    assert until_alone(server, 0).pid != engine.pid
    assert server.process.poll() is None


def test_requests_that_wait_in_the_queue_outlast_a_swap(store: GenerationStore) -> None:
    """The old engine answers them too: they began on its generation, though it was at none of them yet."""
    with served(store, max_batch=1) as server, ThreadPoolExecutor(6) as pool:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        ended = threading.Event()

        def ask_on() -> list[int]:
            states = []
            while not ended.is_set():
                states.append(complete(server, max_tokens=60).status_code)
            return states

        asking = [pool.submit(ask_on) for _ in range(6)]
        try:
            for number in (1, 2):
                store.point_to(number)
                until_alone(server, number)
        finally:
            ended.set()
        states = [state for each in asking for state in each.result()]
        assert set(states) == {200}


@of_own_engines
def test_the_doors_metrics_have_those_of_the_engine(server: Server, store: GenerationStore) -> None:
    """Under its generation; those of an old engine go with it."""
    name = "vllm:num_requests_running" if server.patience_s == PATIENCE_S["vllm"] else "engine_riverkeep_serving_active"

    def generations() -> list[str]:
        lines = get(f"{server.url}/metrics").text.splitlines()
        return [line.partition('generation="')[2].partition('"')[0] for line in lines if line.startswith(f"{name}{{")]

    assert complete(server).status_code == 200
    wait_until(lambda: generations() == ["0"], what="the metrics of generation 0")
    store.point_to(1)
    until_alone(server, 1)
    wait_until(lambda: generations() == ["1"], what="the metrics of generation 1 alone")
    assert 'riverkeep_serving_queue_seconds_count{generation="0"}' not in get(f"{server.url}/metrics").text


@of_own_engines
def test_an_engine_is_closed_to_all_but_the_door(server: Server) -> None:
    """On loopback, and only with the key that the serving process made, which no list of processes shows."""
    engine = until_alone(server, 0)
    (port,) = {each.laddr.port for each in listening(engine)}
    assert get(f"http://127.0.0.1:{port}/v1/models").status_code == 401
    assert {each.laddr.ip for each in listening(engine)} == {"127.0.0.1"}
    assert get(f"http://127.0.0.1:{port}/docs").status_code in (401, 404)
    key = next(value for name, value in engine.environ().items() if name in ("VLLM_API_KEY", KEY_VARIABLE))
    assert key not in " ".join(engine.cmdline())
    answer = get(f"http://127.0.0.1:{port}/v1/models", headers={"authorization": f"Bearer {key}"})
    assert [model["id"] for model in answer.json()["data"]] == ["riverkeep@g0000"]


def listening(engine: psutil.Process) -> list[Any]:
    """The sockets that an engine listens on."""
    return [each for each in engine.net_connections("inet") if each.status == psutil.CONN_LISTEN]


def test_a_generation_that_is_an_adapter_answers_as_the_whole_model_that_it_makes(tmp_path: Path) -> None:
    """The engine is given a directory that needs no other, which goes with it."""
    store = make_store(tmp_path, 1, head_width=HEAD_WIDTH)
    store.publish(make_adapter(store, tmp_path / "adapter"), 1, Card(1, "causal-lm", parent=0, round=1))
    written = {}
    with Server(store.root) as builtin:
        for number in (0, 1):
            store.point_to(number)
            builtin.until_serves(number)
            written[number] = text_of(complete(builtin))
    assert written[0] != written[1]
    with served(store) as server:
        wait_until(server.answers, timeout_s=120, what="generation 1")
        assert text_of(complete(server)) == written[1]
        directory = Path(engines(server)[0].cmdline()[-3])
        assert (directory / "model.safetensors").is_file()
        store.point_to(0)
        until_alone(server, 0)
        assert text_of(complete(server)) == written[0]
        wait_until(lambda: not directory.exists(), what="the end of the directory")


def test_adapters_on_one_ground_are_put_into_one_vllm(tmp_path: Path) -> None:
    """Each under its own name, beside the one that still answers, which is taken out with its last answer."""
    if not VLLM_PYTHON.exists():
        VLLM.skip()
    store = make_store(tmp_path, 1, head_width=HEAD_WIDTH)
    for number in (1, 2):
        candidate = make_adapter(store, tmp_path / str(number), seed=number)
        store.publish(candidate, number, Card(number, "causal-lm", parent=0, round=number))
    written = {}
    with Server(store.root) as builtin:
        for number in (1, 2):
            store.point_to(number)
            builtin.until_serves(number)
            written[number] = text_of(complete(builtin))
    assert written[1] != written[2]
    store.point_to(1)
    with served_by_vllm(store) as server:
        server.patience_s = PATIENCE_S["vllm"]
        wait_until(server.answers, timeout_s=server.patience_s, what="generation 1")
        (engine,) = engines(server)
        assert text_of(complete(server)) == written[1]

        def swap() -> None:
            store.point_to(2)
            server.until_serves(2)
            assert text_of(complete(server)) == written[2]

        generation, _, whole = streamed(server, swap)
        assert (generation, whole) == ("1", True)
        assert engines(server) == [engine]
        (port,) = {each.laddr.port for each in listening(engine)}
        headers = {"authorization": f"Bearer {engine.environ()['VLLM_API_KEY']}"}

        def inside() -> set[str]:
            listed = get(f"http://127.0.0.1:{port}/v1/models", headers=headers).json()["data"]
            return {model["id"] for model in listed}

        left = {"riverkeep@g0000-ground", "riverkeep@g0002"}
        wait_until(lambda: inside() == left, what="the end of generation 1's adapter")

        def there_and_back() -> None:
            for number in (1, 2):
                store.point_to(number)
                server.until_serves(number)

        generation, _, whole = streamed(server, there_and_back)
        assert (generation, whole) == ("2", True)
        assert text_of(complete(server)) == written[2]
        assert engines(server) == [engine]
        wait_until(lambda: inside() == left, what="the end of generation 1's adapter, once more")
        # As much room as the whole model has, of which vLLM tells nothing of an adapter.
        assert get(f"{server.url}/v1/models").json()["data"][0]["context_length"] == 4096


def test_an_engine_that_hangs_is_replaced(store: GenerationStore) -> None:
    """One that gives nothing while it owes an answer."""
    with served(store, pass_timeout_s=2.0) as server:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        (engine,) = engines(server)
        engine.suspend()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(complete, server)
            # Whatever an engine does, probes and scrapes are answered.
            assert {get(f"{server.url}{path}", timeout=20).status_code for path in PROBED} == {200}
            assert asked.result().json()["error"]["code"] == "engine_lost"
        wait_until(lambda: complete(server).status_code == 200, timeout_s=120, what="a new engine")
        assert [each.pid for each in engines(server)] != [engine.pid]


def test_the_old_generation_serves_on_where_an_engine_does_not_come(store: GenerationStore, tmp_path: Path) -> None:
    """It ends, answers from another model, or is never ready: that is told, and nothing is left of it."""
    reasons = {
        "dies": "no room on the device",
        "other": "serves another, and not riverkeep@g0001",
        "silent": "was not ready within 25 s",
    }
    (tmp_path / "manner").write_text("")
    with served(store, str(tmp_path / "manner"), engine_process={"ready_timeout_s": 25}) as server:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        for manner, reason in reasons.items():
            (tmp_path / "manner").write_text(manner)
            store.point_to(1)
            wait_until(partial(is_told, server, reason), timeout_s=120, what=reason)
            assert complete(server).headers["x-riverkeep-generation"] == "0"
            wait_until(lambda: len(engines(server)) == 1, what="the end of the one that failed")
        (tmp_path / "manner").write_text("")
        store.point_to(2)
        server.until_serves(2)


def is_told(server: Server, reason: str) -> bool:
    """Whether that is why generation 1 could not serve."""
    failed = get(f"{server.url}/v1/riverkeep/generation").json()["failed"]
    return reason in failed.get("1", "")


def test_an_engine_ends_with_a_serving_process_that_is_killed(store: GenerationStore) -> None:
    """The kernel sees to it; who is asked to end does it by itself."""
    with served(store) as server:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        (engine,) = engines(server)
        server.process.kill()
        server.process.wait()
        assert not psutil.wait_procs([engine], timeout=30)[1]
    with served(store) as server:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        (engine,) = engines(server)
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert not engine.is_running()


def test_where_two_do_not_fit_the_old_one_goes_first(store: GenerationStore) -> None:
    """There are never two; what is asked meanwhile is refused with a time to come back."""
    with served(store, engine_process={"two_at_once": False}) as server:
        wait_until(server.answers, timeout_s=120, what="generation 0")
        (old,) = engines(server)
        store.point_to(1)
        running, refused = set[int](), list[httpx.Response]()

        def is_swapped() -> bool:
            running.add(len(engines(server)))
            refused.extend(answer for answer in [complete(server)] if answer.status_code != 200)
            return bool(server.ready()["generation"] == 1)

        wait_until(is_swapped, timeout_s=120, what="generation 1")
        assert max(running) == 1
        assert not old.is_running()
        assert {answer.status_code for answer in refused} == {503}
        assert all(answer.headers["retry-after"] for answer in refused)
        assert complete(server).headers["x-riverkeep-generation"] == "1"
        assert "serving_pauses" in server.log.read_text()
