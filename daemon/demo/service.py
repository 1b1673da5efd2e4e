"""The demo's own Riverkeep: settings written as a user would write them, and `riverkeep run` as a process."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.admin.client import RemoteControl
from daemon.admin.token import read_token, token_path
from daemon.control.protocol import Control
from daemon.demo.broker import free_port
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM
from daemon.demo.visitors import await_answering
from daemon.errors import DaemonError, DaemonUnreachable
from daemon.rounds.directories import round_directory
from daemon.settings.load import load
from daemon.settings.tree import Settings

TOPIC = "addresses"
# A start imports the model, which takes long on a busy machine. One that has ended is not waited for at all.
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 40.0

SETTINGS = """\
# Written by `riverkeep demo`. Look around with, say:  riverkeep -c {file} status
state_dir = "{state}"

[model]
path = "{model}"

[streams]
bootstrap_servers = ["{broker}"]
session_timeout_seconds = 6
heartbeat_seconds = 1

[[streams.topics]]
name = "{topic}"
key_field = "id"

[memory]
holdout_share = 0.16        # the same of each era, so that its figures can be compared; by default it follows the need
holdout_share_most = 0.16
anchor_documents = 100      # each is scored by every candidate: enough to tell what is forgotten

[gate]
minimum_documents = 20      # an era has some 35 held out; by default 36 are asked for, to see harm of one in ten too

[learner.recipe]            # a model of a million parameters: short sequences, its own peak learning rate
sequence_length = 128
batch_sequences = 40
micro_batch = 40
learning_rate = 3e-3

[triggers]
fresh_samples = 100000      # the demo asks for its rounds by hand

[lifecycle]
rounds_kept = 20            # the demo reads them for its table

[serving]
port = {serving_port}

[admin]
port = {admin_port}
"""


@dataclass(frozen=True, slots=True)
class DemoService:
    """A running Riverkeep and how to reach it."""

    home: Path
    config: Path
    settings: Settings
    control: Control
    process: "subprocess.Popen[bytes]"

    @property
    def serving_url(self) -> str:
        """Where it answers requests."""
        return f"http://127.0.0.1:{self.settings.serving.port}"

    @property
    def admin_url(self) -> str:
        """Where it shows its page, status and metrics."""
        return f"http://127.0.0.1:{self.settings.admin.port}"

    @property
    def token_file(self) -> Path:
        """The file with the token that its page asks for."""
        return token_path(self.settings.admin, self.settings.state_dir)

    @property
    def log(self) -> Path:
        """What it logged."""
        return self.home / "riverkeep.log"

    def round_directory(self, number: int) -> Path:
        """The directory of a round."""
        return round_directory(self.settings.rounds_dir, number)


def write_settings(home: Path, broker: str) -> Path:
    """Write the demo's settings file and return its path."""
    path = home / "riverkeep.toml"
    text = SETTINGS.format(
        file=path,
        state=home / "state",
        model=BASE_MODEL,
        broker=broker,
        topic=TOPIC,
        serving_port=free_port(),
        admin_port=free_port(),
    )
    path.write_text(text, encoding="utf-8")
    return path


def backfill(config: Path) -> None:
    """Give the memory text from before the stream, as a user would: `riverkeep backfill --before-stream`.

    Raises:
        DaemonError: the command failed; the message carries what it said.
    """
    completed = subprocess.run(
        _command(config, "backfill", "--before-stream", str(BEFORE_STREAM)), capture_output=True, text=True, check=False
    )
    if completed.returncode:
        raise DaemonError(f"riverkeep backfill failed:\n{completed.stdout}{completed.stderr}")


@contextmanager
def running(config: Path) -> Iterator[DemoService]:
    """Run `riverkeep run` until the block ends, and end it with SIGTERM.

    Raises:
        DaemonError: it did not come up; the message names its log.
    """
    home = config.parent
    settings = load(config)
    with (home / "riverkeep.log").open("ab") as log:
        process = subprocess.Popen(_command(config, "run"), stdout=log, stderr=subprocess.STDOUT)
    try:
        with _reach(settings, process, home) as control:
            yield DemoService(home, config, settings, control, process)
    finally:
        _stop(process)


@contextmanager
def _reach(settings: Settings, process: "subprocess.Popen[bytes]", home: Path) -> Iterator[Control]:
    url = f"http://127.0.0.1:{settings.serving.port}"
    if not await_answering(url, START_TIMEOUT_S, lambda: process.poll() is None):
        raise DaemonError(f"Riverkeep did not come up within {START_TIMEOUT_S:.0f} s. Its log is {home}/riverkeep.log.")
    token = read_token(settings.admin, settings.state_dir)
    with RemoteControl(f"http://127.0.0.1:{settings.admin.port}", token) as control:
        _await_ready(control, home)
        yield control


def _await_ready(control: Control, home: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if control.readiness()["ready"]:
                return
        except DaemonUnreachable:
            pass
        time.sleep(0.1)
    raise DaemonError(f"Riverkeep was not ready within {START_TIMEOUT_S:.0f} s. Its log is {home}/riverkeep.log.")


def _command(config: Path, *words: str) -> Sequence[str]:
    return [sys.executable, "-m", "daemon", "-c", str(config), *words]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
