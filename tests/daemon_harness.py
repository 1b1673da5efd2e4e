"""A whole Riverkeep for tests: its settings, its process, and how to talk to it."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.admin.client import RemoteControl
from daemon.admin.token import read_token
from daemon.errors import DaemonError
from daemon.lifecycle.lock import holder_of
from daemon.processes.children import end_orphans
from daemon.settings.load import load
from daemon.settings.tree import Settings
from memory.samples.records import Role
from memory.store import Store
from streams.document import Batch, Document, Partition
from tests.brokers import Broker, free_port
from tests.harness import get, wait_until

ROOT = Path(__file__).parent.parent
FAKE_LEARNER = ROOT / "tests" / "fake_learner.py"
NOUNS = [
    "river",
    "boat",
    "stone",
    "bridge",
    "water",
    "mill",
    "trader",
    "letter",
    "night",
    "song",
    "field",
    "harbour",
    "lantern",
    "orchard",
    "winter",
]
VERBS = ["carries", "holds", "finds", "keeps", "leaves", "crosses", "follows", "remembers"]


def sentences(count: int, *, seed: int, words: int = 24) -> list[str]:
    """Distinct documents of a few simple sentences."""
    chosen = random.Random(seed)
    return [
        f"{seed} {number}: " + " ".join(chosen.choice(NOUNS if at % 2 else VERBS) for at in range(words))
        for number in range(count)
    ]


def fake_learner(mode: str) -> tuple[str, ...]:
    """The command of a stand-in learner; see `tests/fake_learner.py` for the modes."""
    return (sys.executable, str(FAKE_LEARNER), mode)


SETTINGS = """\
state_dir = "state"
[model]
path = {model}
[streams]
bootstrap_servers = ["{bootstrap}"]
group_id = "{group}"
session_timeout_seconds = 6
heartbeat_seconds = 0.5
connect_seconds = 2
metadata_seconds = 1
topics = [{topics}]
[learner]
device = "cpu"
threads = 1
silence_seconds = {silence}
[learner.recipe]
sequence_length = 64
batch_sequences = 8
micro_batch = 16
max_steps = 4
max_tokens = 1000000000
learning_rate = 3e-3
[gate]
minimum_documents = 5
minimum_gain = 0
[triggers]
fresh_samples = {fresh}
minimum_fresh_samples = 8
cooldown_seconds = {cooldown}
[memory]
holdout_share = 0.2
anchor_minimum = 8
slice_documents = 100000
holdout_documents = 1000000
near_duplicate_similarity = 1.0
[serving]
enabled = {serving}
port = {serving_port}
device = "cpu"
threads = 1
[admin]
host = "127.0.0.1"
port = 0
[lifecycle]
grace_seconds = 20
round_grace_seconds = 1
backoff_first_seconds = 0.2
backoff_longest_seconds = 1
[log]
format = "json"
"""


@dataclass
class Home:
    """A directory with settings, for one daemon after another."""

    path: Path
    config: Path
    serving_port: int

    @property
    def settings(self) -> Settings:
        """The settings as the daemon reads them."""
        return load(self.config, {})

    def write(self, **more: object) -> None:
        """Replace `name = …` lines of the settings."""
        text = self.config.read_text()
        for name, value in more.items():
            lines = [f"{name} = {value}" if line.startswith(f"{name} = ") else line for line in text.splitlines()]
            text = "\n".join(lines) + "\n"
        self.config.write_text(text)

    def riverkeep(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one command with these settings to its end."""
        return subprocess.run(self._command(*words), capture_output=True, text=True, timeout=120, check=False)

    def riverkeep_in_background(self, *words: str) -> "subprocess.Popen[str]":
        """Begin one command with these settings; it heeds SIGINT, also where the tests themselves were told not to."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(self._command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "daemon", "-c", str(self.config), *words]

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, while no daemon runs or beside one."""
        with Store.open(self.settings.database, self.settings.memory) as store:
            yield store


def make_home(
    path: Path,
    *,
    model: Path,
    broker: Broker | None = None,
    topic: str = "river",
    serving: bool = False,
    fresh: int = 1_000_000,
    silence: float = 120,
    cooldown: float = 0,
    import_base: bool = False,
) -> Home:
    """Write settings for a daemon.

    Args:
        import_base: leave importing the base to the daemon.
    """
    path.mkdir(parents=True, exist_ok=True)
    port = free_port()
    topics = "" if broker is None else f'{{ name = "{topic}", format = "json", key_field = "key" }}'
    text = SETTINGS.format(
        model=json.dumps(str(model)),
        bootstrap=broker.bootstrap if broker is not None else "localhost:1",
        # Its own: members that an earlier test killed would hold this one's back.
        group=topic,
        topics=topics,
        fresh=fresh,
        silence=silence,
        cooldown=cooldown,
        serving=str(serving).lower(),
        serving_port=port,
    )
    config = path / "riverkeep.toml"
    config.write_text(text)
    home = Home(path, config, port)
    if not import_base:
        # What an import leaves behind, without the seconds that loading torch takes.
        GenerationStore(home.settings.checkpoints_dir).publish(model, 0, Card(0, "causal-lm"))
    return home


class Daemon:
    """One `riverkeep run`."""

    def __init__(self, home: Home, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.home = home
        self.process = process
        self.log = log

    @property
    def control(self) -> RemoteControl:
        """Its admin surface; waits until it listens."""
        settings = self.home.settings
        address = wait_until(lambda: self._alive() and self._address(), timeout_s=60, what="the admin surface")
        return RemoteControl(address, read_token(settings.admin, settings.state_dir), tls=settings.admin.tls)

    def _address(self) -> str:
        # Where the settings have it: to read them for each look would take longer than to look.
        holder = holder_of(self.home.path / "state")
        return holder.admin if holder is not None and holder.pid == self.process.pid else ""

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        return True

    def until(self, condition: Any, *, timeout_s: float = 90, what: str = "the condition") -> Any:
        """Wait until `condition(control)` answers something true; a daemon that ends fails the test at once."""
        with self.control as control:

            def holds() -> Any:
                self._alive()
                try:
                    return condition(control)
                except DaemonError:
                    return None

            try:
                return wait_until(holds, timeout_s=timeout_s, what=what)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.log.read_text()[-6000:]}") from None

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log's events of that name."""
        return [line for line in self.lines() if line.get("event") == name]

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the daemon alone."""
        self.process.kill()
        self.process.wait()

    def metrics(self) -> str:
        """What Prometheus gets."""
        return get(f"{self._address()}/metrics").text


@contextmanager
def daemon(
    home: Home, *, learner: tuple[str, ...] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """A running daemon; ended with what it left when the context ends.

    Args:
        learner: the command of a stand-in learner; None: the real one.
    """
    command = [sys.executable, "-m", "daemon", "-c", str(home.config), "run"]
    if learner is not None:
        command = [sys.executable, "-m", "tests.daemon_with_learner", str(home.config), *learner]
    log = home.path / "daemon.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    running = Daemon(home, process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.kill()
        end_what_is_left(home)


def end_what_is_left(home: Home) -> None:
    """End children that a killed daemon left behind."""
    end_orphans(home.path / "state", patience_seconds=0.1)


def fill(home: Home, *, before: int = 40, fresh: int = 60, seed: int = 1) -> None:
    """Put text into the store, as a stream and a backfill would: enough for rounds that can be judged."""
    home.settings.state_dir.mkdir(parents=True, exist_ok=True)
    with home.store() as store:
        if before:
            store.append(batch_of(sentences(before, seed=seed), Partition("file:before", 0)), before_stream=True)
        store.append(batch_of(sentences(fresh, seed=seed + 1), Partition(f"file:stream-{seed}", 0)))


def batch_of(texts: list[str], partition: Partition) -> Batch:
    """Documents of one partition, from offset 0 on."""
    documents = tuple(
        Document(text, "river", None, None, None, 1_700_000_000.0 + at, partition, at) for at, text in enumerate(texts)
    )
    return Batch(documents, (), (), {partition: len(texts)})


def kept_texts(store: Store) -> dict[Role, int]:
    """How many samples there are of each role."""
    counts: dict[Role, int] = {}
    for entry in store.counts().by_role_and_source:
        counts[entry.role] = counts.get(entry.role, 0) + entry.samples
    return counts
