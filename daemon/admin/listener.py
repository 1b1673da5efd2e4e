"""The admin surface's listener: a supervised part behind the same door as serving, from enter to exit."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from daemon.errors import DaemonError, said_by_the_system
from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from daemon.settings.admin import AdminSettings
from daemon.settings.hosts import http_address, is_loopback, reached_at
from serving.door.certificates import Certificates
from serving.door.connection_times import Bounds
from serving.door.descriptors import affordable
from serving.door.server import BACKLOG, Door, Entrance
from serving.door.turned_away import Endings
from serving.errors import CannotServe
from streams.backoff import Backoff

LAST_REQUESTS_S: Final = 2.0
JOIN_S: Final = 10.0
MOST_CONNECTIONS: Final = 256

MakePart = Callable[[Callable[[Part], None]], Part]


@dataclass(frozen=True, slots=True)
class Listening:
    """The admin surface while it listens.

    Attributes:
        address: `http://host:port`.
        parts: watches the one part that answers.
    """

    address: str
    parts: Supervisor


@dataclass(frozen=True, slots=True)
class Secured:
    """A bound socket, and how it is secured; None: it is not."""

    socket: socket.socket
    certificates: Certificates | None


def _plain_part(target: Callable[[Part], None]) -> Part:
    return Part("admin", target, backoff=Backoff(0.1, 1.0))


@contextmanager
def listening(
    app: ASGIApp,
    settings: AdminSettings,
    *,
    registry: CollectorRegistry | None = None,
    make_part: MakePart = _plain_part,
) -> Iterator[Listening]:
    """Serve `app` until the block ends.

    Args:
        registry: where it counts connections; None: nowhere.
        make_part: makes the part of what it runs.

    Raises:
        DaemonError: the address cannot be bound, or is reachable from elsewhere and no token is configured.
    """
    if settings.token_file is None and not is_loopback(settings.host):
        raise DaemonError(f"The admin surface does not listen on {settings.host} without `admin.token_file`.")
    certificates = _certificates(settings)
    with _bind(settings.host, settings.port) as listener:
        endings = Endings("admin", registry or CollectorRegistry())
        part = make_part(lambda part: _serve(part, app, Secured(listener, certificates), endings))
        shutdown = Shutdown(grace_seconds=JOIN_S, round_grace_seconds=0)
        with Supervisor([part], seconds_left=shutdown.seconds_left) as parts:
            try:
                yield Listening(_address(listener, tls=certificates is not None), parts)
            finally:
                shutdown.begin()


def _certificates(settings: AdminSettings) -> Certificates | None:
    try:
        return None if settings.tls is None else Certificates(settings.tls)
    except CannotServe as error:
        raise DaemonError(f"The admin surface cannot speak TLS: {error}.") from error


def _serve(part: Part, app: ASGIApp, listener: Secured, endings: Endings) -> None:
    """Answer until the part is to stop; the socket stays open, so that who comes meanwhile is answered by the next."""
    bounds = Bounds(
        head_s=10,
        # The routes say 408 before.
        body_s=21,
        idle_s=75,
        unread_s=30,
        most=affordable(MOST_CONNECTIONS),
        most_of_a_client=MOST_CONNECTIONS // 2,
    )

    def look() -> None:
        part.beat()
        part.says(State.RUNNING)
        door.should_exit = door.should_exit or part.stop.is_set()

    entrance = Entrance("admin", listener.socket, bounds, listener.certificates)
    door = Door(app, [entrance], endings, drain_s=LAST_REQUESTS_S, lifespan=False, on_look=look)
    door.run()


def _bind(host: str, port: int) -> socket.socket:
    try:
        # Bound and listening before the block begins: whoever reads the address can connect at once.
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise DaemonError(
            f"The admin surface cannot listen on {host}:{port}: {said_by_the_system(error)}. "
            "Set `admin.host` and `admin.port` (0 takes a free one)."
        ) from error


def _address(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    return http_address(reached_at(host), port, tls=tls)
