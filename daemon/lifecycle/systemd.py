"""What systemd is told: one datagram to `$NOTIFY_SOCKET`, where there is one."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells the service manager how the service is; does nothing where none listens.

    A message that cannot be delivered is dropped: the service does not end because nobody hears of its
    health.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ and addressed with a NUL byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        microseconds = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds: float | None = int(microseconds) / 1e6 if microseconds.isdigit() else None

    def send(self, **fields: str | int) -> bool:
        """Send `KEY=value` lines; True when they were handed over."""
        if not self._address:
            return False
        message = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(message, self._address)
        except OSError:
            return False
        return True

    def ready(self, status: str) -> None:
        """The service is up (also after a reload)."""
        self.send(READY=1, STATUS=status)

    def reloading(self, monotonic_usec: int) -> None:
        """Settings are being read again; `ready` ends it."""
        # With the time systemd tells the `ready` of this reload from an earlier one (Type=notify-reload).
        self.send(RELOADING=1, MONOTONIC_USEC=monotonic_usec)

    def stopping(self, status: str) -> None:
        """The service is ending."""
        self.send(STOPPING=1, STATUS=status)

    def alive(self) -> None:
        """Pat the watchdog."""
        self.send(WATCHDOG=1)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.send(STATUS=text)
