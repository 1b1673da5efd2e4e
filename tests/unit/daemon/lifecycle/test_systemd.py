"""What systemd is told."""

import socket
from pathlib import Path

from daemon.lifecycle.systemd import Notifier


def test_states_reach_the_socket(tmp_path: Path) -> None:
    """Each state is one datagram of KEY=value lines."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000000"})
        notifier.ready("generation 3 serves")
        notifier.reloading(17)
        notifier.alive()
        notifier.status("round 4")
        notifier.stopping("bye")
        said = [manager.recv(4096).decode() for _ in range(5)]
    assert said == [
        "READY=1\nSTATUS=generation 3 serves",
        "RELOADING=1\nMONOTONIC_USEC=17",
        "WATCHDOG=1",
        "STATUS=round 4",
        "STOPPING=1\nSTATUS=bye",
    ]
    assert notifier.watchdog_seconds == 30.0


def test_an_abstract_socket_is_understood() -> None:
    """An address that begins with @ names an abstract socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")
        name = manager.getsockname()[1:].decode()
        assert Notifier({"NOTIFY_SOCKET": "@" + name}).send(READY=1)
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_nothing_is_sent(tmp_path: Path) -> None:
    """No socket, or one that nobody reads, is no error."""
    assert not Notifier({}).send(READY=1)
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send(READY=1)
