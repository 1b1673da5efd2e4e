"""The door in TLS, among real clients: it holds its bounds before anybody has said who they are."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from daemon.admin.app import create_app
from daemon.admin.client import RemoteControl
from daemon.admin.listener import listening
from daemon.admin.token import Token
from daemon.errors import DaemonUnreachable
from daemon.page.app import with_page
from daemon.settings.admin import AdminSettings
from serving.door.certificates import Certificates, TlsFiles, client_context
from serving.door.connection_times import Bounds
from serving.door.server import Door, Entrance
from serving.door.turned_away import Endings
from tests.certificates import Authority, Pair
from tests.harness import wait_until
from tests.unit.daemon.fakes import FakeControl

BOUNDS = Bounds(head_s=30, body_s=20, idle_s=75, unread_s=60, most=8, most_of_a_client=8)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """The door's."""
    return authority.pair("door")


class Listening:
    """A door in TLS, with an application that says yes."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self.port = port
        self._registry = registry

    def ask(self, verify: ssl.SSLContext) -> httpx.Response:
        """An answer, on a connection of its own."""
        with httpx.Client(verify=verify, trust_env=False, timeout=60) as client:
            return client.get(f"https://127.0.0.1:{self.port}/")

    def ended(self, reason: str) -> float:
        """How many it ended for that."""
        name = "riverkeep_serving_connections_ended_total"
        return self._registry.get_sample_value(name, {"reason": reason}) or 0.0

    @property
    def inside(self) -> float:
        """How many it has, as of its last look."""
        return self._registry.get_sample_value("riverkeep_serving_connections") or 0.0


async def say_yes(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"yes"})


@contextmanager
def door(files: TlsFiles, bounds: Bounds = BOUNDS, app: Any = say_yes) -> Iterator[Listening]:
    """One that listens."""
    registry = CollectorRegistry()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        entrance = Entrance("test", listener, bounds, Certificates(files))
        made = Door(app, [entrance], Endings("serving", registry), drain_s=1, lifespan=False)
        thread = threading.Thread(target=made.run)
        thread.start()
        try:
            yield Listening(listener.getsockname()[1], registry)
        finally:
            made.should_exit = True
            thread.join()


def trusting(authority: Authority, own: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts who signs, and may show a certificate."""
    context = ssl.create_default_context(cafile=str(authority.own.certificate))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def test_clients_are_answered_in_tls_alone(authority: Authority, pair: Pair) -> None:
    """Who speaks plain HTTP gets no answer, and is counted."""
    with door(TlsFiles(pair.certificate, pair.key)) as listening_:
        assert listening_.ask(trusting(authority)).text == "yes"
        with socket.create_connection(("127.0.0.1", listening_.port), timeout=60) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(1000)
        wait_until(lambda: listening_.ended("no_handshake") == 1, what="the count")
        with pytest.raises(httpx.ConnectError):
            listening_.ask(ssl.create_default_context())


def test_clients_must_show_a_certificate_where_they_are_asked_for_one(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    """Of who signs them, and of nobody else."""
    (tmp_path / "others").mkdir()
    other = Authority(tmp_path / "others").pair("client")
    with door(TlsFiles(pair.certificate, pair.key, authority.own.certificate)) as listening_:
        assert listening_.ask(trusting(authority, authority.pair("client"))).text == "yes"
        for shown in (None, other):
            # In TLS 1.3 a client learns of it with its first bytes.
            with pytest.raises(httpx.TransportError):
                listening_.ask(trusting(authority, shown))
        wait_until(lambda: listening_.ended("no_handshake") == 2, what="the count")


def test_who_agrees_on_nothing_is_ended_in_time(authority: Authority, pair: Pair) -> None:
    """Silent ones and those that stop in the midst of it; the time is that of a request's head."""
    with door(TlsFiles(pair.certificate, pair.key), replace(BOUNDS, head_s=0.5)) as listening_, ExitStack() as stack:
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", listening_.port), timeout=60))
        half = stack.enter_context(socket.create_connection(("127.0.0.1", listening_.port), timeout=60))
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        for each in (silent, half):
            with suppress(ConnectionError):
                assert each.recv(1000) == b""
        wait_until(lambda: listening_.ended("no_handshake") == 2, what="the count")
        wait_until(lambda: listening_.inside == 0, what="an empty door")


def test_a_crowd_of_handshakes_keeps_nobody_out(authority: Authority, pair: Pair) -> None:
    """They give way to each other and to those who come; there are never more than there may be."""
    with door(TlsFiles(pair.certificate, pair.key)) as listening_, ExitStack() as stack:
        for number in range(100):
            with suppress(OSError):
                each = stack.enter_context(socket.create_connection(("127.0.0.1", listening_.port), timeout=60))
                each.sendall(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"")
        assert listening_.ask(trusting(authority)).text == "yes"
        assert listening_.ended("made_room") >= 100 - BOUNDS.most
        assert listening_.inside <= BOUNDS.most


def test_a_new_certificate_is_shown_once_it_is_there(authority: Authority, tmp_path: Path) -> None:
    """Without a start; half of a pair, or nonsense, is told and the earlier one shown on."""
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    first, second = authority.pair("first"), authority.pair("second")

    def put(of: Path, at: Path) -> None:
        new = at.with_suffix(".new")
        new.write_bytes(of.read_bytes())
        new.replace(at)

    def shown() -> object:
        plain = socket.create_connection(("127.0.0.1", listening_.port), timeout=60)
        with plain, trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            subject = dict(pair[0] for pair in (secured.getpeercert() or {})["subject"])  # type: ignore[misc]
            return subject["commonName"]

    put(first.certificate, certificate)
    put(first.key, key)
    with door(TlsFiles(certificate, key)) as listening_, capture_logs() as logs:
        assert shown() == "first"
        put(second.certificate, certificate)
        wait_until(lambda: any(line["event"] == "certificates_not_reloaded" for line in logs), what="the word")
        assert shown() == "first"
        put(second.key, key)
        wait_until(lambda: shown() == "second", what="the second certificate")


def test_who_reads_nothing_of_an_answer_is_ended(authority: Authority, pair: Pair) -> None:
    """Also of one that is encrypted already and waits in the socket."""
    told = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    bounds = replace(BOUNDS, unread_s=0.6)
    with door(TlsFiles(pair.certificate, pair.key), bounds, app) as listening_:
        with socket.create_connection(("127.0.0.1", listening_.port), timeout=60) as plain:
            secured = trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1")
            secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert told.wait(60)
            secured.detach()
        wait_until(lambda: listening_.ended("unread") == 1, what="the count")


@pytest.mark.parametrize("mutual", [False, True])
def test_the_command_line_reaches_the_admin_surface_in_tls(authority: Authority, pair: Pair, *, mutual: bool) -> None:
    """By the settings that the daemon has; it trusts that certificate alone."""
    files: dict[str, Any] = {"tls_cert_file": pair.certificate, "tls_key_file": pair.key}
    if mutual:
        files["tls_client_ca_file"] = authority.own.certificate
    settings = AdminSettings(port=0, **files)
    app = create_app(FakeControl(), CollectorRegistry(), Token("a-token"))
    with listening(app, settings) as admin:
        assert admin.address.startswith("https://127.0.0.1:")
        with RemoteControl(admin.address, "a-token", tls=settings.tls) as remote:
            assert remote.status()["pid"] == 1
        another = authority.pair("another")
        strange = TlsFiles(another.certificate, another.key)
        with RemoteControl(admin.address, "a-token", tls=strange) as remote, pytest.raises(DaemonUnreachable):
            remote.status()


def test_the_session_of_the_page_goes_over_tls_alone(pair: Pair) -> None:
    """A browser keeps its cookie from what is no TLS."""
    settings = AdminSettings(port=0, tls_cert_file=pair.certificate, tls_key_file=pair.key)
    assert settings.tls is not None
    registry, control = CollectorRegistry(), FakeControl()
    app = with_page(create_app(control, registry, Token("a-token")), control, registry, lambda: "a-token")
    with listening(app, settings) as admin:
        answer = httpx.get(f"{admin.address}/sign-in", verify=client_context(settings.tls), trust_env=False)
    assert answer.headers["set-cookie"].startswith("__Host-")
    assert "Secure" in answer.headers["set-cookie"].split("; ")
