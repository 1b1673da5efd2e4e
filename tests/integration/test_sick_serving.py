"""A serving process whose passes fail, hang or leak: it says so, and the daemon puts another in its place."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from daemon.processes.serving_process import ServingProcess
from streams.backoff import Backoff
from tests.harness import get, post, wait_until
from tests.integration.test_serving import SHORT, free_port, make_store

# Each starts processes that import torch.
pytestmark = pytest.mark.slow


class Sick:
    """How to start a serving process that can be made sick."""

    def __init__(self, root: Path, how: str) -> None:
        store = make_store(root, count=1)
        self.fault = root / "fault"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.address = ("127.0.0.1", port)
        settings = root / "settings.json"
        settings.write_text(json.dumps({"port": port, "threads": 1, "pass_timeout_s": 8, "warm_prompts": 1}))
        self.command = [sys.executable, "-m", "tests.sick_serving", str(self.fault), how, str(store.root)]
        self.command += ["--settings", str(settings)]

    def ask(self) -> int:
        """The status of an answer; 0 where there is none."""
        with suppress(httpx.TransportError):
            return post(f"{self.url}/v1/completions", json=SHORT, timeout=240).status_code
        return 0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While somebody asks again and again."""
        enough = threading.Event()

        def ask() -> None:
            # Not without a pause: where nobody answers that would take a core.
            while not enough.wait(0.05):
                self.ask()

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            yield
        finally:
            enough.set()
            asker.join()


@pytest.mark.parametrize("how", ["fail", "hang", "leak"])
def test_a_sick_process_is_replaced(tmp_path: Path, how: str) -> None:
    """The daemon's part says why, counts it, starts another, and that one answers."""
    sick, reasons = Sick(tmp_path, how), list[str]()
    process = ServingProcess(
        command=sick.command,
        environment=os.environ,
        address=sick.address,
        stuck_seconds=600,
        drain_seconds=1,
        replaced=reasons.append,
    )
    part = Part("serving", process.run, backoff=Backoff(0.1, 1))
    shutdown = Shutdown(grace_seconds=20, round_grace_seconds=0)
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        wait_until(lambda: part.health().state is State.RUNNING, timeout_s=240, what="the first process")
        first = process.status.pid
        assert sick.ask() == 200
        sick.fault.touch()
        with sick.asked():
            wait_until(lambda: "calls itself broken" in part.health().detail, timeout_s=240, what="the daemon's word")
            sick.fault.unlink()
            wait_until(lambda: part.health().state is State.RUNNING, timeout_s=240, what="another process")
        assert process.status.pid != first
        assert sick.ask() == 200
    assert set(reasons) == {"broken"}


@pytest.mark.parametrize(
    ("how", "words"), [("fail", "passes failed"), ("hang", "a forward pass has taken"), ("leak", "passes failed")]
)
def test_a_sick_replica_says_no_to_the_probe_of_life(tmp_path: Path, how: str, words: str) -> None:
    """With nobody to watch it but Kubernetes: 503 with the reason, and a metric that an alert reads."""
    sick = Sick(tmp_path, how)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(sick.command, stdout=log, stderr=log)
    try:
        wait_until(lambda: sick.ask() == 200, timeout_s=240, what="the replica")
        sick.fault.touch()
        with sick.asked():
            wait_until(
                lambda: get(f"{sick.url}/healthz", timeout=60).status_code == 503,
                timeout_s=240,
                what="the probe's no",
            )
            assert words in get(f"{sick.url}/healthz", timeout=60).json()["detail"]
            assert get(f"{sick.url}/readyz", timeout=60).status_code == 503
            assert "riverkeep_serving_healthy 0.0" in get(f"{sick.url}/metrics", timeout=60).text
            process.kill()
    finally:
        process.kill()
        process.wait()
