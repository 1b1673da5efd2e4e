"""Signals as flags."""

import os
import signal

from daemon.lifecycle.signals import Signals
from tests.harness import wait_until


def test_a_signal_ends_the_wait_and_is_taken_once() -> None:
    """The flag is there when the wait returns, and gone after it was taken."""
    with Signals(on_stop=lambda: None) as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        signals.wait(30)
        assert signals.take(signal.SIGHUP)
        assert not signals.take(signal.SIGHUP)
        assert not signals.take(signal.SIGUSR1)


def test_a_stop_is_told_at_once() -> None:
    """Also when the main loop is busy elsewhere, and each time."""
    stops: list[int] = []
    with Signals(on_stop=lambda: stops.append(1)):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: len(stops) == 1)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: len(stops) == 2)


def test_the_handlers_of_before_come_back() -> None:
    """After the service a signal means what it meant."""
    before = signal.getsignal(signal.SIGUSR1)
    with Signals(on_stop=lambda: None):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before
