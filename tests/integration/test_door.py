"""Both listeners among clients that keep connections and ask for nothing: others are answered, and no probe fails."""

import json
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.door.descriptors import raise_limit
from tests.certificates import Authority
from tests.daemon_harness import daemon, make_home
from tests.harness import get, post, wait_until
from tests.integration.test_engines import PROGRAM
from tests.integration.test_engines import running as running_engines
from tests.integration.test_serving import KEY, SHORT, Server, free_port, make_store
from tests.models import make_causal

# Each starts a process.
pytestmark = pytest.mark.slow

MANY = 2_000
SOME = 600
GARBAGE = 1_000
SENDERS = 4
MOST = {"serving": 1024, "admin": 256, "command": 1024}


@dataclass
class Listener:
    """Something that listens.

    Attributes:
        ask: asks for something that costs it work, on a connection of its own; answers the status.
    """

    name: str
    port: int
    pid: int
    log: Path
    ask: Callable[[httpx.Client], int]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def descriptors(self) -> int:
        """How many it has open."""
        return psutil.Process(self.pid).num_fds()

    def probed(self) -> set[int]:
        """What probes get, each on a connection of its own."""
        return {get(f"{self.url}{path}", timeout=20).status_code for path in ("/healthz", "/readyz", "/metrics")}

    def metric(self, reason: str) -> float:
        """How many connections it ended for that reason."""
        name = (
            f'riverkeep_{"admin" if self.name == "admin" else "serving"}_connections_ended_total{{reason="{reason}"}}'
        )
        lines = get(f"{self.url}/metrics", timeout=20).text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Listener]]:
    """A serving process, one whose engine is a program of its own, and the admin surface of a daemon."""
    raise_limit()
    root = tmp_path_factory.mktemp("door")
    store = make_store(root, count=1)
    (root / "key").write_text(KEY)
    home = make_home(root / "home", model=make_causal(root / "model"))
    limits: dict[str, Any] = {"api_key_file": str(root / "key"), "header_timeout_s": 3, "body_timeout_s": 3}
    engine = Server(store.root, engine="command", engine_process={"command": [*PROGRAM]}, **limits)
    with Server(store.root, **limits) as server, running_engines(engine), daemon(home) as running:
        wait_until(engine.answers, timeout_s=120, what="the engine")
        running.until(lambda control: control.readiness()["ready"])
        admin = int(running._address().rpartition(":")[2])
        token = (home.settings.state_dir / "admin.token").read_text().strip()

        def complete(client: httpx.Client) -> int:
            headers = {"authorization": f"Bearer {KEY}"}
            return client.post("/v1/completions", json=SHORT, headers=headers, timeout=60).status_code

        def status(client: httpx.Client) -> int:
            return client.get("/status", headers={"authorization": f"Bearer {token}"}, timeout=60).status_code

        yield {
            "serving": Listener("serving", server.port, server.process.pid, server.log, complete),
            "command": Listener("command", engine.port, engine.process.pid, engine.log, complete),
            "admin": Listener("admin", admin, running.process.pid, running.log, status),
        }


@pytest.fixture(params=["serving", "command", "admin"])
def listener(request: pytest.FixtureRequest, listeners: dict[str, Listener]) -> Listener:
    """Each of them."""
    return listeners[request.param]


CROWDS = {
    "silent ones": b"",
    "half a request line": b"GET /heal",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a body": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 5000\r\n\r\n{",
    "half a body in chunks": b'POST /forget HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a',
    "readers of nothing": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
    "no HTTP": b"\x16\x03\x01\x02\x00 hello \r\n\r\n",
}


@contextmanager
def crowd(port: int, sends: bytes, count: int) -> Iterator[None]:
    """So many connections that send that, and then nothing, and read nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                connection.sendall(sends)
        yield


@pytest.mark.parametrize("sends", CROWDS.values(), ids=CROWDS.keys())
def test_a_crowd_keeps_nobody_out(listener: Listener, sends: bytes) -> None:
    """A client from the crowd's own address keeps its connection and gets new ones; descriptors have a bound."""
    lines = len(listener.log.read_text().splitlines())
    with httpx.Client(base_url=listener.url) as regular:
        assert listener.ask(regular) == 200
        with crowd(listener.port, sends, SOME if sends else MANY):
            assert listener.probed() == {200}
            assert [listener.ask(regular) for _ in range(3)] == [200] * 3
            with httpx.Client(base_url=listener.url) as another:
                assert listener.ask(another) == 200
            assert listener.descriptors() < MOST[listener.name] + 200
    assert len(listener.log.read_text().splitlines()) - lines < 30


def test_garbage_by_the_thousand_is_answered_and_costs_nobody_an_answer(listener: Listener) -> None:
    """Each gets its 400, on a connection of its own, and is counted; a client asks on meanwhile, and so do probes."""
    counted = listener.metric("not_http")

    def send(count: int) -> Counter[int]:
        statuses = Counter[int]()
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
                connection.sendall(b"nonsense\r\n\r\n")
                statuses[answer(connection)[0]] += 1
        return statuses

    with ThreadPoolExecutor(SENDERS) as pool, httpx.Client(base_url=listener.url) as regular:
        sending = [pool.submit(send, GARBAGE // SENDERS) for _ in range(SENDERS)]
        asked = probed = 0
        while asked < 3 or not all(each.done() for each in sending):
            assert listener.ask(regular) == 200
            asked += 1
            if probed < 5:
                assert listener.probed() == {200}
                probed += 1
        assert sum((each.result() for each in sending), Counter()) == {400: GARBAGE}
    wait_until(lambda: listener.metric("not_http") - counted == GARBAGE, what="the count")


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """The status and the JSON of what comes until the other side ends."""
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), dict(json.loads(body)["error"])


@pytest.mark.parametrize(
    ("sends", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, 431, "not_http"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_http"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", 400, "not_http"),
        (b"GET /", 408, "slow_head"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", 408, "slow_head"),
    ],
)
def test_what_no_application_answers_is_answered_in_its_shape(
    listener: Listener, sends: bytes, status: int, reason: str
) -> None:
    """OpenAI's error object, read whole by the client, and counted."""
    before = listener.metric(reason)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
        with suppress(OSError):
            connection.sendall(sends)
        got, error = answer(connection)
    assert got == status
    assert set(error) == {"message", "type", "param", "code"}
    wait_until(lambda: listener.metric(reason) > before, what="the count")


def test_a_body_in_crumbs_is_turned_away(listener: Listener) -> None:
    """Thirty thousand chunks of one byte each cost more to take apart than a megabyte."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection, suppress(OSError):
        connection.sendall(head + b"1\r\n \r\n" * 30_000)
        assert connection.recv(20).startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    assert listener.probed() == {200}


def test_requests_in_a_row_are_answered_in_a_row(listener: Listener) -> None:
    """Pipelining: each gets its answer, the garbage behind them its own, in JSON."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"garbage\r\n\r\n")
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 20
    assert received.count(b"HTTP/1.1 400 ") == 1
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


def test_an_idle_connection_is_ended_after_its_time(tmp_path: Path) -> None:
    """`keep_alive_s`, which a second request within it begins anew; one that never asked has the time of a head."""
    store = make_store(tmp_path, count=1)
    with Server(store.root, keep_alive_s=1, header_timeout_s=1) as server:
        for sends in (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(sends)
                while connection.recv(65_536):
                    pass
        assert server.ready()["ready"]


def test_few_descriptors_bound_the_crowd(tmp_path: Path) -> None:
    """Where the system gives few, fewer connections are let in than asked for, and that is said."""
    store = make_store(tmp_path, count=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Server(store.root, header_timeout_s=3) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (400, 400))
        # The limit is looked at when it starts; from here on this one has too few for what it lets in.
        with crowd(server.port, b"GET /heal", 800):
            wait_until(lambda: get(f"{server.url}/healthz", timeout=20).status_code == 200)
            assert post(f"{server.url}/v1/completions", json=SHORT, timeout=60).status_code == 200
        assert len(server.log.read_text().splitlines()) < 60
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_a_service_speaks_tls_at_both_listeners(tmp_path: Path) -> None:
    """As its settings say; the command line follows, and probes stay plain at a port of their own."""
    (tmp_path / "certificates").mkdir()
    authority, probes = Authority(tmp_path / "certificates"), free_port()
    pair = authority.pair("riverkeep")
    tls = f'tls_cert_file = "{pair.certificate}"\ntls_key_file = "{pair.key}"\n'
    home = make_home(tmp_path / "home", model=make_causal(tmp_path / "model"), serving=True)
    text = home.config.read_text().replace("[serving]\n", f"[serving]\nprobe_port = {probes}\n{tls}")
    home.config.write_text(text.replace("[admin]\n", f"[admin]\n{tls}"))
    trusts = ssl.create_default_context(cafile=str(authority.own.certificate))
    with daemon(home) as running:
        running.until(lambda control: control.readiness()["ready"])
        serving = f"https://127.0.0.1:{home.serving_port}"
        with httpx.Client(base_url=serving, verify=trusts, trust_env=False, timeout=60) as client:
            assert client.post("/v1/completions", json=SHORT).status_code == 200
        assert get(f"http://127.0.0.1:{probes}/readyz").status_code == 200
        assert serving in home.riverkeep("status").stdout


def test_probes_have_a_port_of_their_own(tmp_path: Path) -> None:
    """It answers probes and scrapes, whoever crowds the other one, and nothing else."""
    store = make_store(tmp_path, count=1)
    port = free_port()
    with Server(store.root, probe_port=port, max_connections=16, max_connections_per_client=16) as server:
        probes = f"http://127.0.0.1:{port}"
        with crowd(server.port, b"GET /heal", 100):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert get(probes + path, timeout=20).status_code == 200
        refused = post(f"{probes}/v1/completions", json=SHORT, timeout=60)
        assert refused.status_code == 404
        assert "serving.port" in refused.json()["error"]["message"]
        asked = server.metric('requests_total{code="200",route="/healthz"}')
        get(f"{probes}/healthz")
        assert server.metric('requests_total{code="200",route="/healthz"}') == asked
