"""Parts that break, hang and end."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemon.lifecycle.excused_silence import Patience
from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from streams.backoff import Backoff
from tests.harness import wait_until

FAST = Backoff(first=0.01, longest=0.02)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets go whatever a test blocked."""
    event = threading.Event()
    yield event
    event.set()


def supervised(*parts: Part, grace: float = 5.0) -> Supervisor:
    """A supervisor whose parts get `grace` seconds to end."""
    shutdown = Shutdown(grace_seconds=grace, round_grace_seconds=0)

    def seconds_left() -> float:
        if not shutdown.begun:
            shutdown.begin()
        return shutdown.seconds_left()

    return Supervisor(parts, seconds_left=seconds_left)


def test_a_part_that_breaks_is_begun_again_and_seen_meanwhile() -> None:
    """What it raised stands in its health until it runs again."""
    seen: list[State] = []

    def target(part: Part) -> None:
        seen.append(part.health().state)
        if len(seen) < 3:
            raise ConnectionError("no broker")
        part.says(State.RUNNING)
        part.stop.wait()

    part = Part("ingest", target, backoff=FAST)
    with supervised(part):
        wait_until(lambda: part.health().state is State.RUNNING)
        assert part.health().ok
    assert seen == [State.STARTING, State.BROKEN, State.BROKEN]
    assert part.health().state is State.STOPPED


def test_a_broken_part_says_why() -> None:
    """Its health names the error, and it is not ok."""

    def target(part: Part) -> None:
        raise ConnectionError("no broker")

    part = Part("ingest", target, backoff=Backoff(first=100, longest=100))
    with supervised(part):
        health = wait_until(lambda: part.health() if part.health().state is State.BROKEN else None)
        assert (health.detail, health.failures, health.ok) == ("ConnectionError: no broker", 1, False)


def test_a_part_that_returns_is_no_zombie() -> None:
    """A loop that ends without being told to counts as broken."""
    part = Part("rounds", lambda part: None, backoff=Backoff(first=100, longest=100))
    with supervised(part):
        wait_until(lambda: part.health().detail == "it ended by itself")


@pytest.mark.parametrize("said", [State.RUNNING, State.BROKEN])
def test_stuck_loops_log_all_stacks_once(release: threading.Event, said: State) -> None:
    """A loop that does not turn is seen, whatever it said, and every thread's stack is logged one time."""
    now = [0.0]

    def stuck_here(part: Part) -> None:
        part.says(said)
        part.beat()
        release.wait()

    part = Part("ingest", stuck_here, backoff=FAST, stuck_seconds=60, clock=lambda: now[0])
    with supervised(part) as supervisor, capture_logs() as logs:
        wait_until(lambda: part.health().state is said)
        assert supervisor.watch()
        now[0] = 61
        assert not supervisor.watch()
        assert not supervisor.watch()
        assert part.health().detail == "its loop has not turned for 61 s"
        release.set()
    (event,) = [entry for entry in logs if entry["event"] == "part_stuck"]
    assert "stuck_here" in event["stacks"]["ingest"]


def test_a_stuck_part_that_is_not_vital_shows_and_restarts_nothing(release: threading.Event) -> None:
    """Answers must not stop for it: the watchdog is patted on, but the part is not ok, and its stacks are logged."""
    now = [0.0]

    def stuck_here(part: Part) -> None:
        part.says(State.RUNNING)
        release.wait()

    part = Part("rounds", stuck_here, backoff=FAST, stuck_seconds=60, vital=False, clock=lambda: now[0])
    with supervised(part) as supervisor, capture_logs() as logs:
        wait_until(lambda: part.health().state is State.RUNNING)
        now[0] = 61
        assert supervisor.watch()
        assert (part.health().state, part.health().ok) == (State.STUCK, False)
        release.set()
    assert "stuck_here" in logs[0]["stacks"]["rounds"]


def test_while_others_have_to_wait_no_part_is_stuck(release: threading.Event) -> None:
    """And when that is over each has its whole time to turn again."""
    now = [0.0]

    def waits(part: Part) -> None:
        part.says(State.RUNNING)
        release.wait()

    patience = Patience(lambda: now[0])
    part = Part("ingest", waits, backoff=FAST, stuck_seconds=60, patience=patience, clock=lambda: now[0])
    with supervised(part) as supervisor:
        wait_until(lambda: part.health().state is State.RUNNING)
        with patience.asked():
            now[0] = 600
            assert supervisor.watch()
        now[0] += 60
        assert supervisor.watch()
        now[0] += 1
        assert not supervisor.watch()
        release.set()


def test_a_part_that_is_to_end_is_not_ready(release: threading.Event) -> None:
    """From the moment that it is told: a round that still finishes is no reason to send requests here."""

    def finish(part: Part) -> None:
        part.says(State.RUNNING)
        release.wait()

    part = Part("rounds", finish, backoff=FAST)
    with supervised(part):
        wait_until(lambda: part.health().ok)
        part.stop.set()
        assert (part.health().ok, part.health().detail) == (False, "it is ending")
        release.set()


def test_one_deadline_for_all_parts(release: threading.Event) -> None:
    """A part that does not end is left behind and named; the others end in order."""

    def hang(part: Part) -> None:
        release.wait()

    def end(part: Part) -> None:
        part.stop.wait()

    hangs, ends = Part("hangs", hang, backoff=FAST), Part("ends", end, backoff=FAST)
    with capture_logs() as logs, supervised(hangs, ends, grace=0.1):
        pass
    assert [entry["part"] for entry in logs if entry["event"] == "part_left_running"] == ["hangs"]
    assert ends.health().state is State.STOPPED


def test_a_part_that_is_left_because_of_a_second_signal_says_so(release: threading.Event) -> None:
    """Not that the grace time was over."""

    def hang(part: Part) -> None:
        release.wait()

    hangs = Part("hangs", hang, backoff=FAST)
    with capture_logs() as logs, Supervisor([hangs], seconds_left=lambda: 0.0, why_left=lambda: "a second signal"):
        pass
    assert [entry["detail"] for entry in logs if entry["event"] == "part_left_running"] == ["a second signal"]


def test_what_ends_last_is_told_when_the_others_have_ended(release: threading.Event) -> None:
    """Answers go on while a round finishes; and when it does not, the time that is kept for them is theirs."""
    told: list[str] = []

    def end(part: Part) -> None:
        part.stop.wait()
        told.append(part.name)
        if part.name == "serving":
            release.set()

    def hang(part: Part) -> None:
        part.stop.wait()
        release.wait()

    serving, rounds, hangs = (
        Part(name, target, backoff=FAST) for name, target in (("serving", end), ("rounds", end), ("hangs", hang))
    )
    shutdown = Shutdown(grace_seconds=30, round_grace_seconds=0, clock=lambda: 0 if "rounds" not in told else 21)
    shutdown.begin()
    with Supervisor([serving, rounds, hangs], seconds_left=shutdown.seconds_left, last=("serving",), last_seconds=10):
        pass
    assert told == ["rounds", "serving"]
    assert serving.health().state is State.STOPPED


@given(st.floats(0.1, 10), st.floats(10, 100), st.integers(1, 10_000))
def test_backoff_doubles_within_bounds(first: float, longest: float, failures: int) -> None:
    """Each wait is at least the one before and never beyond the longest."""
    backoff = Backoff(first, longest)
    assert first <= backoff.wait(failures) <= backoff.wait(failures + 1) <= longest


def test_a_healthy_while_forgets_failures() -> None:
    """A part that ran well for a time begins anew with the first wait."""
    backoff = Backoff(1, 60, healthy=30)
    assert backoff.failures_after(7, ran_for=1) == 8
    assert backoff.failures_after(7, ran_for=31) == 1
