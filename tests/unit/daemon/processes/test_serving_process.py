"""The serving process, with scripts that stand in for one that behaves badly."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from daemon.processes.serving_process import ServingProcess, _free_port
from streams.backoff import Backoff
from tests.harness import wait_until

SERVER = """
import http.server, json, os, socket, sys, signal, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"generation": GENERATION, "swap_seconds": 0.5, "trouble": TROUBLE}).encode()
        refused = self.headers.get("authorization") != "Bearer " + KEY
        if self.path == "/healthz":
            refused, body = False, json.dumps({"healthy": not TROUBLE, "detail": TROUBLE}).encode()
        if refused:
            body = json.dumps({"error": {"message": "a valid API key is needed"}}).encode()
        self.send_response(401 if refused else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
KEY = os.environ["PROBES_KEY_OF_RIVERKEEP"]
TROUBLE = ""
signal.signal(signal.SIGUSR1, lambda *_: print("the end is near", file=sys.stderr, flush=True))
signal.signal(signal.SIGHUP, lambda *_: print("keys are read again", file=sys.stderr, flush=True))
server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["PROBES_SOCKET_OF_RIVERKEEP"]))
server.server_activate()
server.serve_forever()
"""
DEAF = SERVER.replace('os.environ["PROBES_KEY_OF_RIVERKEEP"]', '"another"')
"""One that does not take the daemon's key."""


@contextmanager
def served(
    script: str,
    *,
    stuck_seconds: float = 60,
    drain_seconds: float = 5,
    address: tuple[str, int] | None = None,
    replaced: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[ServingProcess, Part]]:
    """A stand-in serving process under a supervisor."""
    host, port = address or ("127.0.0.1", _free_port("127.0.0.1"))
    process = ServingProcess(
        command=(sys.executable, "-c", script),
        environment=os.environ,
        address=(host, port),
        stuck_seconds=stuck_seconds,
        drain_seconds=drain_seconds,
        replaced=replaced,
    )
    part = Part("serving", process.run, backoff=Backoff(0.05, 0.1))
    shutdown = Shutdown(grace_seconds=20, round_grace_seconds=0)
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        yield process, part


def test_a_process_that_answers_is_ready() -> None:
    """What it answers from is known, with its own account."""
    with served(SERVER.replace("GENERATION", "7")) as (process, part):
        wait_until(lambda: part.health().state is State.RUNNING)
        assert process.status.generation == 7
        assert process.status.facts["swap_seconds"] == 0.5
        assert "swap_seconds" in process.metrics()
        pid = process.status.pid
    assert process.metrics() == ""
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_process_without_a_generation_is_not_ready() -> None:
    """It answers, but from nothing."""
    with served(SERVER.replace("GENERATION", "None")) as (_, part):
        wait_until(lambda: "loaded no generation" in part.health().detail)
        assert not part.health().ok


def test_a_process_that_begins_is_no_trouble_before_it_fails_or_takes_too_long() -> None:
    """One that loads begins; one that cannot load, or has not answered long after its start, is broken."""
    with served(SERVER.replace("GENERATION", "None")) as (_, part):
        wait_until(lambda: "loaded no generation" in part.health().detail)
        assert part.health().begins
    fails = SERVER.replace('{"generation": GENERATION,', '{"problem": "no such file", "generation": None,')
    with served(fails) as (_, part):
        wait_until(lambda: part.health().state is State.BROKEN)
        assert part.health().detail == "the serving process has loaded no generation yet: no such file"
    with served("import time; time.sleep(600)", stuck_seconds=0.5) as (process, part):
        wait_until(lambda: part.health().state is State.BROKEN)
        assert "was started" in part.health().detail
        # Nothing says that it hangs: it is not ended for that.
        assert process.status.pid is not None


def test_a_killed_process_is_started_again() -> None:
    """It comes back with another pid, and was seen as broken meanwhile."""
    with served(SERVER.replace("GENERATION", "7")) as (process, part):
        first = wait_until(lambda: process.status.generation and process.status.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: process.status.generation and process.status.pid != first)
        assert part.health().ok


def test_a_process_that_ends_is_broken_and_says_how() -> None:
    """Its exit status is in the sentence."""
    with served("raise SystemExit(9)") as (_, part):
        wait_until(lambda: part.health().detail.startswith("the serving process ended with status 9; the log has"))


def test_a_port_that_is_taken_is_named() -> None:
    """Not only that the process ends again and again: what listens there is to be stopped, or the port changed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()[:2]
        with served("raise SystemExit(1)", address=address) as (_, part):
            wait_until(lambda: f": port {address[1]} is taken by another process" in part.health().detail)


@pytest.mark.parametrize("script", [SERVER, DEAF], ids=["hears", "deaf"])
def test_a_process_that_calls_itself_broken_is_replaced(script: str) -> None:
    """Within seconds, again and again at growing intervals, whether it takes the daemon's key or not; and counted."""
    replaced: list[str] = []
    sick = script.replace("GENERATION", "7").replace('TROUBLE = ""', 'TROUBLE = "passes fail"')
    with served(sick, replaced=replaced.append) as (process, part):
        first = wait_until(lambda: process.status.pid)
        wait_until(lambda: process.status.pid not in (None, first))
        wait_until(lambda: "calls itself broken and is replaced: passes fail" in part.health().detail)
        wait_until(lambda: part.health().failures > 1)
        assert not process.status.healthy
        assert not part.health().ok
    assert set(replaced) == {"broken"}


def test_why_it_was_replaced_is_said_until_the_next_one_runs() -> None:
    """A process that loads for minutes hides nothing of why the one before it had to go."""
    part = Part("serving", lambda _: None, backoff=Backoff(0.05, 0.1))
    part._broke = "the serving process calls itself broken and is replaced: passes fail"
    part.says(State.STARTING, "it loads")
    assert "passes fail" in part.health().detail
    part.says(State.RUNNING)
    part.says(State.STARTING, "it loads")
    assert part.health().detail == "it loads"


@pytest.mark.slow
def test_a_process_that_hangs_is_killed() -> None:
    """One that answered and then stops answering is begun anew."""
    with served(SERVER.replace("GENERATION", "7"), stuck_seconds=0.5) as (process, _):
        first = wait_until(lambda: process.status.generation and process.status.pid)
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: process.status.generation and process.status.pid != first)
        assert not psutil.pid_exists(first)


def test_a_process_that_does_not_drain_is_killed_in_time() -> None:
    """SIGTERM first; what ignores it does not outlive its time."""
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER.replace("GENERATION", "7")
    with served(stubborn, drain_seconds=0.3) as (process, _):
        pid = wait_until(lambda: process.status.generation and process.status.pid)
    assert not psutil.pid_exists(pid)


def test_a_reload_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    """The process reads its keys again and goes on, and is asked with the daemon's own, which no file has."""
    with served(SERVER.replace("GENERATION", "7")) as (process, part):
        first = wait_until(lambda: process.status.generation and process.status.pid)
        process.reload()
        wait_until(lambda: "keys are read again" in capfd.readouterr().err)
        wait_until(lambda: part.health().state is State.RUNNING and process.status.generation == 7)
        assert process.status.pid == first


def test_a_refused_key_is_no_generation_that_loads() -> None:
    """What the process says is said, and it is not asked to begin anew for it."""
    with served(DEAF.replace("GENERATION", "7")) as (_, part):
        wait_until(lambda: "a valid API key is needed" in part.health().detail)
        assert not part.health().ok
