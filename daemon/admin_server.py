"""The admin surface's listener: a uvicorn server in a thread of its own, from enter to exit."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from daemon.admin_settings import AdminSettings, is_loopback
from daemon.errors import DaemonError, said_by_the_system

BACKLOG = 128
LAST_REQUESTS_S = 2
JOIN_S = 10.0


@contextmanager
def listening(app: ASGIApp, settings: AdminSettings) -> Iterator[str]:
    """Serve `app` until the block ends; yields the address as `http://host:port`.

    Raises:
        DaemonError: the address cannot be bound, or is reachable from elsewhere and no token is configured.
    """
    if settings.token_file is None and not is_loopback(settings.host):
        raise DaemonError(f"The admin surface does not listen on {settings.host} without `admin.token_file`.")
    listener = _bind(settings.host, settings.port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=LAST_REQUESTS_S,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), name="admin", daemon=True)
    thread.start()
    try:
        yield _address(listener)
    finally:
        server.should_exit = True
        thread.join(JOIN_S)
        listener.close()


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


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # From elsewhere the wildcard is no address; from here it means this machine.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - never listened on here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
