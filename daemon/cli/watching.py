"""Watching a daemon until somebody has seen enough, or it ends, for `riverkeep watch`."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.live import Live

from daemon.cli.render.watch import picture, short_of
from daemon.control.answers.status import StatusAnswer
from daemon.control.how_it_stands import how_it_stands
from daemon.control.protocol import Control
from daemon.errors import DaemonUnreachable

LINE_EVERY_S = 30.0
"""Where there is no terminal to draw on, the same is said again after so long."""


def watch(
    control: Control,
    console: Console,
    *,
    every_s: float,
    wake: "SimpleQueue[None]",
    clock: Callable[[], float] = time.time,
) -> str:
    """Show how things stand until the daemon ends; returns why nothing more can be shown.

    Draws over itself on a terminal; elsewhere tells in lines what changed.

    Args:
        control: a running daemon's.
        console: where it is shown.
        every_s: how often the daemon is asked, in seconds.
        wake: holds something where it is to be drawn at once, as the terminal has another size.
        clock: unix seconds.

    Raises:
        KeyboardInterrupt: Ctrl-C; the terminal is as it was before.
    """
    tell = _Lines(console, clock)
    live = Live(console=console, screen=True, auto_refresh=False, vertical_overflow="ellipsis")
    with live if console.is_terminal else _nothing():
        while True:
            try:
                facts = control.status()
            except DaemonUnreachable as error:
                return str(error)
            if console.is_terminal:
                live.update(picture(facts, width=console.width, now=clock()), refresh=True)
            else:
                tell.tell(facts)
            _wait(wake, every_s)


def _wait(wake: "SimpleQueue[None]", seconds: float) -> None:
    with suppress(Empty):
        wake.get(timeout=seconds)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def woken_by_resize(wake: "SimpleQueue[None]") -> Iterator[None]:
    """Put something in whenever the terminal gets another size."""
    # An event's lock may be held by the very thread that the signal interrupts; this queue's `put` is made for that.
    before = signal.signal(signal.SIGWINCH, lambda *_: wake.put(None))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


class _Lines:
    """Tells in lines: what changed at once, the same after a while."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._told: object = None
        self._told_at = 0.0

    def tell(self, facts: StatusAnswer) -> None:
        """Say how things stand, where that is another than was said last, or was said long ago."""
        short, now = short_of(facts), self._clock()
        if short == self._told and now - self._told_at < LINE_EVERY_S:
            return
        self._told, self._told_at = short, now
        at = time.strftime("%H:%M:%S", time.localtime(now))
        self._console.print(f"{at} {how_it_stands(facts).sentence}", soft_wrap=True, highlight=False, markup=False)
        # A pipe is read line by line, by somebody who waits for the next.
        self._console.file.flush()
