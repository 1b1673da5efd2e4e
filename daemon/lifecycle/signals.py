"""Signals as flags: a handler only notes what came, and the main loop acts on it."""

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Signals:
    """Takes over the watched signals while it is entered; used by the main thread alone.

    Args:
        on_stop: called within the handler of SIGTERM and SIGINT; may only set attributes.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._came: set[int] = set()
        self._previous: dict[int, Handler] = {}

    def __enter__(self) -> Self:
        # Python writes each signal's number into this pair, which ends a wait in `select` without a race.
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)  # noqa: FBT003 - positional only
        self._previous_descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in WATCHED:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_descriptor)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout: float) -> None:
        """Wait for a signal, at most `timeout` seconds."""
        if select.select([self._reader], [], [], timeout)[0]:
            # Only emptied: which signals came is noted by the handler.
            self._reader.recv(4096)

    def take(self, number: signal.Signals) -> bool:
        """Whether this signal came since the last call."""
        if number not in self._came:
            return False
        self._came.discard(number)
        return True

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(number)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._on_stop()
