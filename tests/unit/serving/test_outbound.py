"""How engines and webhooks are reached beyond this machine: by a proxy, and in TLS of a private authority."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from checkpoints.generation_store import GenerationStore
from serving.engine.running import RunningEngine
from serving.errors import BrokenGeneration, EngineLost
from serving.generations.remote import RemoteLoader
from serving.handover.webhook import Webhook
from serving.metrics import ServingMetrics
from serving.outbound import is_here, shown
from serving.processes.asking import answer, known_models
from serving.processes.engine_clients import EngineClients
from serving.processes.settings import RemoteSettings
from serving.settings import ServingSettings
from tests.certificates import Authority
from tests.unit.serving.processes.test_asking import NoProcess

FAR = "http://engines.example"
"""Where nobody is but by way of the proxy."""
ANSWERED = {"choices": [{"text": "ab", "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}
LISTED = {"data": [{"id": "m"}]}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Noting(BaseHTTPRequestHandler):
    """Answers everything, and notes what was asked for: of a proxy that is a whole address."""

    asked: list[str]
    status = 200

    def do_GET(self) -> None:
        """What models there are."""
        self._answer(LISTED)

    def do_POST(self) -> None:
        """An answer."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(ANSWERED)

    def _answer(self, values: object) -> None:
        self.asked.append(self.path)
        content = orjson.dumps(values)
        self.send_response(self.status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is written."""


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server's port, and what was asked for there."""
    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), type("NotingHere", (Noting,), {"asked": asked})) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One that names neither proxies nor authorities."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def is_ready(url: str, home: Path) -> None:
    """Ask as it is asked whether an engine is ready."""
    settings = ServingSettings(engine="remote", remote=RemoteSettings(location=str(home), url=url))
    metrics = ServingMetrics(CollectorRegistry())
    with RemoteLoader(GenerationStore(home), "causal-lm", settings, metrics, home)._client(60.0) as client:
        assert known_models(client)[0].name == "m"


def answers(url: str, _: Path) -> None:
    """Ask as it is asked for answers."""

    async def ask() -> list[Any]:
        clients = EngineClients()
        with clients.client(RunningEngine(url, "m", "key", NoProcess(), 60.0)) as client:
            pieces = [piece async for piece in answer(client, {"model": "m"})]
        await clients.close()
        return pieces

    assert asyncio.run(ask())[0].text == "ab"


def hears(url: str, _: Path) -> None:
    """Tell as a webhook is told."""
    ending = threading.Event()
    ending.set()
    Webhook(f"{url}/told?token=secret", None, ending).tell("generation_ready")


every_way = pytest.mark.parametrize("ask", [is_ready, answers, hears])
Ask = Callable[[str, Path], None]


@every_way
def test_what_is_elsewhere_is_asked_by_the_proxy(environment: pytest.MonkeyPatch, tmp_path: Path, ask: Ask) -> None:
    """Readiness, answers and what is told alike."""
    with listening() as (port, asked):
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        ask(FAR, tmp_path)
        assert asked[0].startswith(FAR)


@every_way
def test_what_is_on_this_machine_is_asked_directly(environment: pytest.MonkeyPatch, tmp_path: Path, ask: Ask) -> None:
    """A proxy would look for it on its own."""
    with listening() as (proxy, by_proxy), listening() as (port, asked):
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
        ask(f"http://127.0.0.1:{port}", tmp_path)
        assert (len(asked), by_proxy) == (1, [])


@every_way
def test_a_private_authority_is_trusted_where_the_environment_names_it(
    environment: pytest.MonkeyPatch, tmp_path: Path, ask: Ask
) -> None:
    """And is not, in words that say what to do, where it does not; a file that cannot be read is named."""
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    pair = authority.pair("engines")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    with listening(tls) as (port, asked):
        url = f"https://127.0.0.1:{port}"
        if ask is not is_ready:
            with pytest.raises((EngineLost, BrokenGeneration), match=r"not trusted here .*SSL_CERT_FILE names"):
                ask(url, tmp_path)
        environment.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))
        with pytest.raises((EngineLost, BrokenGeneration), match="nowhere"):
            ask(url, tmp_path)
        assert not asked
        environment.setenv("SSL_CERT_FILE", str(authority.own.certificate))
        ask(url, tmp_path)
        assert len(asked) == 1


def test_a_proxy_that_is_away_is_told_and_not_with_its_password(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else it reads as if the engines were away."""
    environment.setenv("HTTP_PROXY", "http://user:password@127.0.0.1:1")
    with pytest.raises(EngineLost, match="ConnectError, by way of the proxy that HTTP_PROXY names") as caught:
        answers(FAR, tmp_path)
    assert "password" not in str(caught.value)


def test_plain_http_at_a_port_of_tls_is_told(tmp_path: Path) -> None:
    """And the other way round."""
    with listening() as (port, _), pytest.raises(EngineLost, match=r"no TLS could be spoken with it .*https://\?"):
        answers(f"https://127.0.0.1:{port}", tmp_path)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:80", True),
        ("http://localhost", True),
        ("http://engines.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_here(url: str, *, here: bool) -> None:
    """All of it."""
    assert is_here(url) is here


def test_a_webhook_is_told_of_in_logs_without_its_token(tmp_path: Path) -> None:
    """Which may be in its query, its path or before its host."""
    assert (
        shown("https://user:key@hooks.example:8443/services/T0/secret?token=secret") == "https://hooks.example:8443/…"
    )
    with capture_logs() as logs, listening() as (port, _):
        hears(f"http://127.0.0.1:{port}", tmp_path)
    assert logs
    assert "secret" not in str(logs)
    with pytest.raises(BrokenGeneration) as caught:
        hears("http://127.0.0.1:1", tmp_path)
    assert "secret" not in str(caught.value)
