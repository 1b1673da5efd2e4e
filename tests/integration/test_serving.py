"""The serving process as clients meet it: real processes, real sockets, OpenAI's own client."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import pytest

from checkpoints.base.prepare import import_base
from checkpoints.card import Card
from checkpoints.files.durable_writes import replace_file
from checkpoints.generation_store import GenerationStore
from tests.harness import get, post, wait_until
from tests.hostile import CHATS, COMPLETIONS
from tests.models import make_causal, make_classifier

# Each starts a process that imports torch.
pytestmark = pytest.mark.slow

LONG = {"prompt": "the state", "max_tokens": 3000, "temperature": 0, "stream": True}
SHORT = {"prompt": "the state", "max_tokens": 12, "temperature": 0}
KEY = "a-key-for-the-tests"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Server:
    """A serving process over a checkpoint store."""

    def __init__(self, root: Path, *, kind: str = "causal-lm", **settings: object) -> None:
        self.patience_s = 90.0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = root.parent / f"serving-{self.port}.log"
        file = root.parent / f"settings-{self.port}.json"
        file.write_text(
            json.dumps({"port": self.port, "threads": 1, "poll_s": 0.05, "max_new_tokens": 4000, **settings})
        )
        command = [sys.executable, "-m", "serving", str(root), "--kind", kind, "--settings", str(file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def __enter__(self) -> Self:
        wait_until(self.answers, what=f"the server ({self.log})")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def until_serves(self, number: int) -> None:
        """Wait until new requests get that generation."""

        def serves() -> bool:
            return self.ready()["generation"] == number

        wait_until(serves, timeout_s=self.patience_s, what=f"generation {number}")

    def answers(self) -> bool:
        """Whether it is ready."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def ready(self) -> dict[str, object]:
        """What `/readyz` says."""
        return dict(get(f"{self.url}/readyz", headers={"authorization": f"Bearer {KEY}"}).json())

    def reason(self) -> str:
        """Why it is not ready; empty while it says nothing."""
        try:
            return str(self.ready()["problem"] or "")
        except httpx.TransportError:
            return ""

    def metric(self, name: str) -> float:
        """A metric's value, by its name with labels; 0 where it is not there yet."""
        for line in get(f"{self.url}/metrics").text.splitlines():
            if line.startswith(f"riverkeep_serving_{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def connect(self, path: str, body: dict[str, object], *, declared: int | None = None) -> socket.socket:
        """A raw connection on which a request has been sent."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {declared or len(content)}\r\n\r\n"
        )
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(head.encode() + content)
        return connection


def make_store(root: Path, count: int = 3, *, head_width: int | None = None) -> GenerationStore:
    """Generations that answer differently, with room for long answers; the first is pointed to."""
    store = GenerationStore(root / "checkpoints")
    import_base(store, make_causal(root / "0", context=4096, head_width=head_width))
    for number in range(1, count):
        model = make_causal(root / str(number), seed=number, context=4096, head_width=head_width)
        store.publish(model, number, Card(number, "causal-lm", parent=number - 1, round=number))
    store.point_to(0)
    return store


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, GenerationStore]]:
    """One server with a key for the tests that leave it as it was."""
    root = tmp_path_factory.mktemp("serving")
    store = make_store(root)
    (root / "key").write_text(KEY)
    with Server(store.root, api_key_file=str(root / "key"), body_timeout_s=1.0) as server:
        yield server, store


@pytest.fixture
def server(shared: tuple[Server, GenerationStore]) -> Server:
    """The shared server."""
    return shared[0]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_a_directory_without_a_pointer_is_named(tmp_path: Path) -> None:
    """Who starts it on a wrong directory reads so in the log and need not wait for ever; a stranger reads no path."""
    lost = Server(tmp_path / "elsewhere")
    try:
        missing = str(tmp_path / "elsewhere" / "serving.json")
        wait_until(lambda: missing in lost.log.read_text(), what="the log's word")
        wait_until(lambda: not lost.answers() and lost.reason(), what="the probe's answer")
        assert "there is no serving.json" in lost.reason()
        assert str(tmp_path) not in lost.reason()
    finally:
        lost.__exit__()


def test_openais_client_completes(client: openai.OpenAI) -> None:
    """Text completion, whole and as a stream, says the same."""
    whole = client.completions.create(model="riverkeep", prompt="the state", max_tokens=12, temperature=0)
    assert whole.usage
    assert whole.usage.completion_tokens == 12
    assert (whole.system_fingerprint or "").startswith("riverkeep-0-")
    stream = client.completions.create(model="riverkeep", prompt="the state", max_tokens=12, temperature=0, stream=True)
    assert "".join(piece.choices[0].text for piece in stream) == whole.choices[0].text


def test_openais_client_chats(client: openai.OpenAI) -> None:
    """Chat completion, whole and as a stream with its usage, says the same."""
    messages = [{"role": "user", "content": "hi"}]
    options = {"model": "riverkeep", "messages": messages, "max_tokens": 12, "temperature": 0, "seed": 1}
    # Options as a dictionary fit none of the client's overloads.
    whole = client.chat.completions.create(**options)  # type: ignore[call-overload]
    pieces = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert {piece.system_fingerprint for piece in pieces} == {whole.system_fingerprint}


def test_openais_client_reads_the_header(client: openai.OpenAI) -> None:
    """The raw response names the generation."""
    raw = client.models.with_raw_response.list()
    assert raw.headers["x-riverkeep-generation"] == "0"
    assert [model.id for model in raw.parse()] == ["riverkeep"]


def test_openais_client_understands_the_errors(client: openai.OpenAI, server: Server) -> None:
    """Each mistake raises the client's own exception for it."""
    with pytest.raises(openai.NotFoundError, match="riverkeep"):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.BadRequestError, match="best_of is not supported"):
        client.completions.create(model="riverkeep", prompt="a", best_of=2)
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="riverkeep", prompt="a " * 5000)
    assert caught.value.code == "context_length_exceeded"
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_openais_client_is_told_what_is_not_done(client: openai.OpenAI) -> None:
    """By the name of what it sent, and the place in it."""
    hi = {"role": "user", "content": "hi"}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    shown = {"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    cases: list[tuple[Any, Any, str]] = [
        ([hi], {"reasoning_effort": "low"}, "reasoning_effort"),
        ([hi], {"verbosity": "high"}, "verbosity"),
        ([hi], {"web_search_options": {}}, "web_search_options"),
        ([hi], {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, "chat_template_kwargs"),
        ([hi], {"extra_body": {"temprature": 0}}, "temprature"),
        ([hi], {"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ([hi], {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ([hi, shown], {}, "messages.1.content.1"),
        ([hi, {"role": "assistant", "content": None, "tool_calls": [call]}], {}, "messages.1.tool_calls"),
        ([hi, {"role": "user", "content": None}], {}, "messages.1.content"),
    ]
    for messages, extra, param in cases:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="riverkeep", messages=messages, **extra)
        assert caught.value.param == param


def test_openais_client_is_answered_what_is_done(client: openai.OpenAI) -> None:
    """What steers the draw, in its own fields or beside them; and what only says who asks."""
    options = {"model": "riverkeep", "max_tokens": 4, "temperature": 0}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    said = client.chat.completions.create(  # type: ignore[call-overload]  # options as a dictionary
        **options, messages=messages, logit_bias={"7": 100}, n=1, user="a", metadata={"a": "b"}, store=False,
        service_tier="auto", parallel_tool_calls=True, tools=[], tool_choice="none", response_format={"type": "text"},
        frequency_penalty=0, presence_penalty=0.5, extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1},
    )  # fmt: skip
    assert len(set(said.choices[0].message.content)) == 1
    ended = client.completions.create(**options, prompt="a", logit_bias={"7": 100}, extra_body={"stop_token_ids": [7]})  # type: ignore[call-overload]
    assert (ended.choices[0].text, ended.choices[0].finish_reason) == ("", "stop")
    stream = client.completions.create(**options, prompt="a", stream=True)  # type: ignore[call-overload]
    assert not any("usage" in piece.model_fields_set for piece in stream)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/completions/", 404),
        ("GET", "/v1/models/riverkeep/", 404),
        ("GET", "/v1/models/gpt-4", 404),
        ("GET", "/v1/models/riverkeep", 200),
        ("HEAD", "/v1/models", 200),
        ("HEAD", "/v1/completions", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("GET", "//v1/models", 404),
        ("GET", "/v1/models/%2e%2e/%00%ff", 404),
    ],
)
def test_every_path_and_method_is_answered_in_openais_shape(
    server: Server, method: str, path: str, status: int
) -> None:
    """Never a redirect; as it comes over the wire, which no client has tidied up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: [\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            head_line, _, rest = answer.read().partition(b"\r\n")
    body = rest.partition(b"\r\n\r\n")[2]
    assert int(head_line.split()[1]) == status
    if method != "HEAD" and status != 200:
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_its_answer(server: Server, *, stream: bool) -> None:
    """The connection is cut in the middle of an answer: it is cancelled, and nothing is left running."""
    cancelled = server.metric('cancelled_total{reason="client_gone"}')
    with server.connect("/v1/completions", {**LONG, "stream": stream}):
        wait_until(lambda: server.metric("active") == 1, what="the answer's beginning")
    wait_until(lambda: server.metric('cancelled_total{reason="client_gone"}') == cancelled + 1, what="the cancellation")
    wait_until(lambda: server.metric("active") == 0, what="the answer's end")


def test_a_body_that_does_not_arrive_is_a_408(server: Server) -> None:
    """A client that promises more than it sends does not hold a place for ever."""
    with server.connect("/v1/completions", {**SHORT}, declared=5000) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("body", [b"\x00" * 100, b"GET /etc/passwd", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_what_is_not_http_is_turned_away(server: Server, body: bytes) -> None:
    """Garbage on the port ends its own connection alone."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(body + b"\r\n\r\n")
        connection.recv(1000)
    assert server.ready()["ready"]


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


@pytest.mark.parametrize(
    ("route", "make"),
    [("completions", make) for make in COMPLETIONS.values()] + [("chat/completions", make) for make in CHATS.values()],
    ids=[*COMPLETIONS, *CHATS],
)
def test_a_body_that_is_cheap_to_send_is_cheap_to_refuse(server: Server, route: str, make: Callable[[], bytes]) -> None:
    """Two megabytes made of the smallest things there are: a sentence, and hardly more memory than the body takes."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    post(f"{server.url}/v1/completions", json=SHORT, headers=headers, timeout=60)
    before = peak_bytes(server.process.pid)
    answer = post(f"{server.url}/v1/{route}", content=make(), headers=headers, timeout=60)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert peak_bytes(server.process.pid) - before < 150 * 1024 * 1024


def ask_until(done: Callable[[], bool], url: str, answers: list[httpx.Response]) -> None:
    """Ask again and again."""
    with httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {KEY}"}) as client:
        while not done():
            answers.append(client.post("/v1/completions", json=SHORT))


def test_swaps_fail_no_request_and_mix_no_answer(shared: tuple[Server, GenerationStore]) -> None:
    """Clients ask without pause while the pointer moves: every answer is 200 and wholly its generation's."""
    server, store = shared
    before = server.metric('swaps_total{outcome="served"}')
    swapped = threading.Event()
    answers: list[httpx.Response] = []
    askers = [threading.Thread(target=ask_until, args=(swapped.is_set, server.url, answers)) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        wait_until(lambda: answers, what="an answer of the generation that serves at first")
        for number in (1, 2, 1, 2, 1, 0):
            store.point_to(number)
            server.until_serves(number)
    finally:
        swapped.set()
        for asker in askers:
            asker.join()
    assert {answer.status_code for answer in answers} == {200}
    said: dict[str, set[str]] = {}
    for answer in answers:
        body = answer.json()
        generation = answer.headers["x-riverkeep-generation"]
        assert body["system_fingerprint"].startswith(f"riverkeep-{generation}-")
        said.setdefault(generation, set()).add(body["choices"][0]["text"])
    assert set(said) == {"0", "1", "2"}
    assert [len(texts) for texts in said.values()] == [1, 1, 1]
    assert server.metric('swaps_total{outcome="served"}') == before + 6
    wait_until(lambda: server.metric("loaded_generations") == 1, what="the old generations' end")


def test_an_answer_ends_on_the_generation_it_began_on(shared: tuple[Server, GenerationStore]) -> None:
    """A stream under way during a swap names one generation to its end, and the old one is freed after it."""
    server, store = shared
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=LONG, headers=headers, timeout=60) as response:
        lines = response.iter_lines()
        events = [next(lines)]
        store.point_to(1)
        server.until_serves(1)
        assert server.metric("loaded_generations") == 2
        events += list(lines)
    assert response.headers["x-riverkeep-generation"] == "0"
    pieces = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data: {")]
    assert len({piece["system_fingerprint"] for piece in pieces}) == 1
    assert pieces[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    wait_until(lambda: server.metric("loaded_generations") == 1, what="the old generation's end")
    store.point_to(0)
    server.until_serves(0)


def test_a_damaged_candidate_is_reported_while_the_old_one_serves(tmp_path: Path) -> None:
    """One flipped bit after the promotion: the old generation answers on, readiness and metrics say why."""
    store = make_store(tmp_path, count=2)
    with Server(store.root) as server:
        store.point_to(1)
        promotion = store.pointer_path.read_bytes()
        store.point_to(0)
        wait_until(lambda: server.ready()["generation"] == server.ready()["pointed"] == 0)
        file = store.path(1) / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        replace_file(store.pointer_path, promotion)
        wait_until(lambda: server.metric('swaps_total{outcome="failed"}') == 1, what="the refusal")
        assert "model.safetensors" in server.ready()["failed"]["1"]  # type: ignore[index]  # JSON
        answer = post(f"{server.url}/v1/completions", json=SHORT, timeout=60)
        assert answer.status_code == 200
        assert answer.headers["x-riverkeep-generation"] == "0"


def test_each_generation_answers_by_its_own_defaults(tmp_path: Path) -> None:
    """How long and how greedily, where the request is silent; after a swap too. The model's name has slashes."""
    store = GenerationStore(tmp_path / "checkpoints")
    said = ({"do_sample": False, "max_new_tokens": 5}, {"do_sample": True, "top_k": 1, "max_new_tokens": 9})
    for number, defaults in enumerate(said):
        model = make_causal(tmp_path / str(number), seed=number)
        (model / "generation_config.json").write_text(json.dumps(defaults))
        if number:
            store.publish(model, number, Card(number, "causal-lm", parent=number - 1, round=number))
        else:
            import_base(store, model)
    store.point_to(0)
    with (
        Server(store.root, model_name="org/model-1") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        for number, tokens in ((0, 5), (1, 9), (0, 5)):
            store.point_to(number)
            server.until_serves(number)
            answers = [client.completions.create(model="org/model-1", prompt="the state") for _ in range(3)]
            assert {answer.usage and answer.usage.completion_tokens for answer in answers} == {tokens}
            assert len({answer.choices[0].text for answer in answers}) == 1
        assert client.models.retrieve("org/model-1").id == "org/model-1"
        assert get(f"{server.url}/v1/models/org/model-1").json()["id"] == "org/model-1"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("org/model-2")
        assert caught.value.code == "model_not_found"


def test_damage_found_at_the_start_falls_back(tmp_path: Path) -> None:
    """A pointed generation that rotted on disk: the one before it serves, and the probe tells."""
    store = make_store(tmp_path, count=2)
    store.point_to(1)
    (store.path(1) / "model.safetensors").write_bytes(b"rot")
    with Server(store.root) as server:
        detail = server.ready()
        assert (detail["generation"], detail["pointed"]) == (0, 1)
        assert "model.safetensors" in str(detail["failed"])
        assert "serving_falls_back" in server.log.read_text()


def test_sigterm_finishes_the_answers_under_way(tmp_path: Path) -> None:
    """A stream goes on to its end, new connections are refused, and the process ends well."""
    store = make_store(tmp_path, count=1)
    with Server(store.root) as server:
        with httpx.stream("POST", f"{server.url}/v1/completions", json=LONG, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _connects(server.port), what="the closed door")
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(60) == 0
        assert "serving_ended" in server.log.read_text()


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_keys_change_without_an_answer_lost(tmp_path: Path) -> None:
    """By itself it takes what the file has: what began under the old key ends, the next request needs a new one."""
    store, keys = make_store(tmp_path, count=1), tmp_path / "key"
    keys.write_text(f"{KEY}\n")
    with Server(store.root, api_key_file=str(keys)) as server:

        def status_of(key: str) -> int:
            return get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=LONG, headers=headers, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            keys.write_text("second\nthird\n")
            wait_until(lambda: status_of("second") == 200, what="the new key's effect")
            assert (status_of(KEY), status_of("third")) == (401, 200)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        keys.write_text("\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "api_keys_not_reloaded" in server.log.read_text(), what="the complaint")
        assert status_of("second") == 200
        assert "third" not in server.log.read_text()


def test_killed_it_comes_back_with_the_same_answer(tmp_path: Path) -> None:
    """SIGKILL costs nothing but the requests under way: a new process serves the same generation."""
    store = make_store(tmp_path, count=1)
    texts = []
    for _ in range(2):
        with Server(store.root) as server:
            answer = post(f"{server.url}/v1/completions", json=SHORT, timeout=60)
            texts.append(answer.json()["choices"][0]["text"])
            server.process.kill()
    assert texts[0] == texts[1]


def test_a_classifier_is_served(tmp_path: Path) -> None:
    """The same program classifies, and swaps."""
    store = GenerationStore(tmp_path / "checkpoints")
    import_base(store, make_classifier(tmp_path / "0"), kind="classifier")
    store.publish(make_classifier(tmp_path / "1", seed=1), 1, Card(1, "classifier"))
    store.point_to(0)
    with Server(store.root, kind="classifier") as server:
        before = post(f"{server.url}/v1/classify", json={"input": ["one", "two"]}, timeout=60)
        store.point_to(1)
        server.until_serves(1)
        after = post(f"{server.url}/v1/classify", json={"input": ["one", "two"]}, timeout=60)
    assert (before.headers["x-riverkeep-generation"], after.headers["x-riverkeep-generation"]) == ("0", "1")
    assert before.json()["data"] != after.json()["data"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "api_key_file"),
        ({"api_key_file": "/nowhere/key"}, "cannot be read"),
        ({"device": "cuda:99"}, "set auto or cpu"),
        ({"prot": 1}, "prot"),
    ],
)
def test_wrong_settings_end_it_with_a_sentence(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    """Exit code 2, and what to change, without a stack trace."""
    server = Server(tmp_path / "checkpoints", kind="causal-lm", **settings)
    assert server.process.wait(60) == 2
    log = server.log.read_text()
    assert message in log
    assert "Traceback" not in log


def test_a_taken_port_ends_it_with_a_sentence(tmp_path: Path) -> None:
    """Two servers on one address: the second says whose fault it may be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(tmp_path / "checkpoints", port=taken.getsockname()[1])
        assert server.process.wait(60) == 2
    assert "another process" in server.log.read_text()


def test_a_real_chat_model_answers(smollm2: Path) -> None:
    """SmolLM2 from a GGUF file knows the capital of France, by its own chat template."""
    question = {"role": "user", "content": "What is the capital of France?"}
    with Server(smollm2) as server:
        body = {"messages": [question], "max_tokens": 12, "temperature": 0}
        answer = post(f"{server.url}/v1/chat/completions", json=body, timeout=120).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
