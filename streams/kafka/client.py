"""The options of kafka-python's clients, from our settings."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kafka.cluster import get_ip_port_afi
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from streams.kafka.sharing import EvenAssignor
from streams.secret_files import secret
from streams.security_settings import SecuritySettings
from streams.settings import MIB, StreamsSettings

T = TypeVar("T")

RECONNECT_MS = 5000
"""The longest pause between attempts to reach a broker that is gone: its return is noticed within this."""
PARTITION_BYTES = MIB
"""Fetched from one partition at once: more makes nothing faster, and memory grows by several times of it."""
REFUSALS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, AuthorizationError)
"""A broker answers, and does not want us."""


class Direct(KafkaNetSocket):  # type: ignore[misc]  # kafka-python has no types
    """Connects without a proxy and closes the socket of an attempt that failed.

    kafka-python leaves those to the garbage collector, whenever that runs, and a broker may be away for days. It finds
    this class by the scheme of the proxy's address.
    """

    SCHEMES = ("direct",)

    async def sock_connect(
        self, net: object, sock: socket.socket, sockaddr: object, timeout_at: float | None = None
    ) -> socket.socket:
        """The socket, connected. Raises KafkaConnectionError, KafkaTimeoutError."""
        try:
            connected: socket.socket = await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:  # also where the wait is given up
            sock.close()
            raise
        return connected


class Client(KafkaNetClient):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's client, which knows why a connection failed last.

    What is made of it tries again and says in the end only that there was no connection, though a broker may have said
    that the password is wrong.

    Attributes:
        begins: until there is a connection, a refusal ends it at once: trying again may lock the login.
        failure: None while connections come about. A broker's refusal is not overwritten by brokers that are away.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.begins = True
        self.failure: Exception | None = None
        self._connect = self._manager.get_connection
        self._manager.get_connection = self._get_connection
        self._build_transport = self._manager._build_transport  # noqa: SLF001 - no public way
        self._manager._build_transport = self._build_patient_transport  # noqa: SLF001 - no public way

    def _get_connection(self, node_id: object, *args: Any, **options: Any) -> Any:
        if self.begins and isinstance(self.failure, REFUSALS):
            raise self.failure
        before = self._manager._conns.get(node_id)  # noqa: SLF001 - no public way
        connection = self._connect(node_id, *args, **options)
        # One that was there bears our callbacks already.
        if connection is not before:
            connection.init_future.add_callback(self._note_connection).add_errback(self._note_failure)
            connection.close_future.add_errback(self._note_failure)
        return connection

    async def _build_patient_transport(self, *args: Any, **options: Any) -> Any:
        return read_to_the_end(await self._build_transport(*args, **options))

    def _note_connection(self, _: object) -> None:
        self.begins, self.failure = False, None

    def _note_failure(self, error: Exception) -> None:
        if not isinstance(self.failure, REFUSALS):
            self.failure = error


def read_to_the_end(transport: Any) -> Any:
    """The transport, which now hands on what a broker said before it hung up, and only then that it did.

    kafka-python throws that away where both lie ready at once, as on a busy machine: a broker that says why it refuses
    a login hangs up at once, and would count as a broker that is away.
    """
    receive = transport._sock_recv  # noqa: SLF001 - no public way

    def receive_or_fail() -> tuple[bytes, Exception | None]:
        data, error = receive()
        # The next read meets the end anew.
        return data, None if data else error

    transport._sock_recv = receive_or_fail  # noqa: SLF001 - no public way
    return transport


def make_client(kind: Callable[..., T], options: dict[str, Any]) -> T:
    """A client of that kind, of which nothing is left when it cannot be made.

    kafka-python leaves the thread and the sockets of each client that finds no broker, and a broker may be away for
    days.

    Raises:
        KafkaError: the broker does not answer in time, or refuses: one of `REFUSALS`.
    """
    clients: list[Client] = []

    def make_and_remember(**settings: Any) -> Client:
        clients.append(Client(**settings))
        return clients[-1]

    try:
        return kind(**options, kafka_client=make_and_remember)
    except KafkaError as error:
        for client in clients:
            client.close()
        why = next((client.failure for client in clients if client.failure is not None), error)
        if why is error:
            raise
        raise why if isinstance(why, KafkaError) else KafkaConnectionError(str(why)) from error


def why_unreachable(settings: StreamsSettings, *, within_s: float) -> str:
    """Why no broker can even be connected to, of each; empty where one can. At once, and in the system's words.

    The client would try again until its time is over, and then say only that it is.

    Args:
        within_s: how long one attempt may take.
    """
    reasons = []
    for server in settings.bootstrap_servers:
        host, port, _ = get_ip_port_afi(server)
        try:
            socket.create_connection((host, port), timeout=within_s).close()
        except OSError as error:
            reasons.append(f"{server}: {error.strerror or error}")
        else:
            return ""
    return "; ".join(reasons)


@contextmanager
def kafka_in_silence() -> Iterator[None]:
    """For commands: the client's own log would tell the same before they do, in words of its own."""
    client = logging.getLogger("kafka")
    before = client.level
    client.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        client.setLevel(before)


def security_options(security: SecuritySettings) -> dict[str, Any]:
    """How the broker is reached.

    Raises:
        BadSecret: a password's file cannot be read or is empty.
    """
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol.startswith("SASL"):
        assert security.password_file is not None
        options["sasl_mechanism"] = security.sasl_mechanism
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = secret(security.password_file)
    if security.protocol.endswith("SSL"):
        options["ssl_check_hostname"] = security.check_hostname
        options["ssl_cafile"] = _text(security.ca_file)
        options["ssl_certfile"] = _text(security.certificate_file)
        options["ssl_keyfile"] = _text(security.private_key_file)
        if security.private_key_password_file:
            options["ssl_password"] = secret(security.private_key_password_file)
    return options


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _connection_options(settings: StreamsSettings) -> dict[str, Any]:
    return {
        **security_options(settings.security),
        "bootstrap_servers": list(settings.bootstrap_servers),
        "proxy_url": "direct://",
        "bootstrap_timeout_ms": int(settings.connect_seconds * 1000),
        # A topic with a misspelt name is to be missing: our asking must not create it.
        "allow_auto_create_topics": False,
        "reconnect_backoff_max_ms": RECONNECT_MS,
        "metrics_enabled": False,
    }


def consumer_options(settings: StreamsSettings) -> dict[str, Any]:
    """The options of the consumer.

    Raises:
        BadSecret: a password's file cannot be read or is empty.
    """
    return {
        **_connection_options(settings),
        "client_id": "riverkeep",
        "group_id": settings.group_id,
        "group_instance_id": settings.group_instance_id,
        # The store's offsets rule. "none" makes an offset that the broker lacks an error, never a silent jump.
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        # Eager: under kafka-python 3.0's cooperative assignor a topic that grows can rebalance its group for ever.
        # What was revoked costs nothing here, since each assignment reads on from the store's offsets.
        "partition_assignment_strategy": [EvenAssignor()],
        "session_timeout_ms": int(settings.session_timeout_seconds * 1000),
        "heartbeat_interval_ms": int(settings.heartbeat_seconds * 1000),
        "metadata_max_age_ms": int(settings.metadata_seconds * 1000),
        "max_partition_fetch_bytes": PARTITION_BYTES,
        # No hard limit to a broker: a first batch that is larger comes whole, and must still fit into one answer.
        "fetch_max_bytes": min(50 * MIB, settings.max_response_bytes // 2),
        "receive_message_max_bytes": settings.max_response_bytes,
    }


def producer_options(settings: StreamsSettings) -> dict[str, Any]:
    """The options of the dead letters' producer: it is sure that they arrived, once.

    Raises:
        BadSecret: a password's file cannot be read or is empty.
    """
    return {**_connection_options(settings), "client_id": "riverkeep-dead-letters", "acks": "all"}
