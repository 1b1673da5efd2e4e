"""What the dashboard is to show: a service that has lived through something, and a Prometheus that watched it."""

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from daemon.lifecycle.lock import holder_of
from serving.keys.key_file import add_key
from streams.document import Partition
from tests.brokers import Broker, make_topic, send
from tests.daemon_harness import Daemon, Home, batch_of, daemon, fake_learner, fill, make_home, sentences
from tests.harness import Facts, get, wait_until
from tests.models import make_causal, make_classifier
from tests.prometheus import Prometheus, jobs_of, scraping

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS_FILE = DEPLOY / "prometheus.yml"
ALERTS = DEPLOY / "alerts.yaml"
LABELS = ("calm", "flood")
BAD = (b"{", b"[]", b'{"text": 5}', b'{"text": ""}', b"{")
DUPLICATES = 4
ANSWERED, REFUSED = 6, 2
FLOOD = 1_200
TARGETS = 3
WINDOW_S = 300
"""Of rates: longer than the life."""
DOCUMENTS = 150
NOT_THERE = "nothing-.*"
KEYS = '[serving]\napi_key_file = "keys"\n'


@dataclass(frozen=True, slots=True)
class Told:
    """What a daemon says of itself at the end; its rounds in full, the latest first."""

    status: Facts
    generations: Facts
    memory: Facts
    rounds: list[Facts]

    @classmethod
    def by(cls, started: Daemon) -> "Told":
        """Ask it."""
        with started.control as control:
            rounds = [control.round(one["number"]) for one in control.rounds()]
            return cls(control.status(), control.generations(), control.memory(), rounds)


@dataclass(frozen=True, slots=True)
class Life:
    """Everything at its end, still running.

    Attributes:
        topic: what is read.
        model, classifier: daemon and home of the language model, and of the classifier.
        of_model, of_classifier: what they say of themselves.
        answer_seconds: of each request that got an answer, as its client saw it.
        began, ended: unix seconds between which Prometheus watched.
    """

    prometheus: Prometheus
    topic: str
    model: Daemon
    classifier: Daemon
    of_model: Told
    of_classifier: Told
    answer_seconds: list[float]
    began: float
    ended: float

    @property
    def instances(self) -> tuple[str, str]:
        """Of the language model: its daemon and its serving process, as Prometheus knows them."""
        return address(self.model), serving_address(self.model.home)


def address(started: Daemon) -> str:
    """Where its metrics are."""
    holder = wait_until(lambda: holder_of(started.home.settings.state_dir), what="the admin surface")
    return holder.admin.removeprefix("http://")


def serving_address(home: Home) -> str:
    """Where those of its serving process are."""
    return f"127.0.0.1:{home.serving_port}"


@contextmanager
def lived(path: Path, broker: Broker) -> Iterator[Life]:
    """Two daemons that lived through text, dead letters, requests and rounds while Prometheus scraped them."""
    topic, dead = make_topic(broker), make_topic(broker)
    home = make_home(path / "model", model=make_causal(path / "llama"), broker=broker, topic=topic, serving=True)
    home.write(
        topics=f'[{{ name = "{topic}", format = "json", key_field = "key" }}, {{ pattern = "{NOT_THERE}" }}]',
        fresh_samples=1_000,
    )
    streams = f'[streams]\ndead_letter_topic = "{dead}"\n'
    text = home.config.read_text().replace("[streams]\n", streams).replace("[serving]\n", KEYS)
    home.config.write_text(text + _skill_in(path))
    (home.path / "alice").write_text(add_key(home.path / "keys", "alice", {}).secret)
    fill(home, before=120, fresh=0)
    other = _classifier_home(path)
    with daemon(home) as started, daemon(other, learner=fake_learner("good")) as classifier:
        wait_until(lambda: _ready(home), timeout_s=120, what="generation 0 answering")
        with scraping(path, _jobs(started, classifier), rules=[ALERTS]) as prometheus:
            wait_until(lambda: _scraped(prometheus) == TARGETS, what="the first scrape of each target")
            began = time.time()
            seconds = _live(started, broker, topic)
            _round_of(classifier)
            _await_last_scrape(prometheus)
            told = Told.by(started), Told.by(classifier)
            yield Life(prometheus, topic, started, classifier, *told, seconds, began, time.time())
        assert started.stop() == 0


def _skill_in(path: Path) -> str:
    """Write a skill's file, and return the settings that name it."""
    lines = (json.dumps({"prompt": f"{number} + 1 =", "exact": f"{number + 1}"}) for number in range(50))
    file = path / "sums.jsonl"
    file.write_text("\n".join(lines))
    return f'\n[[evaluation.skills]]\nname = "sums"\nfile = {json.dumps(str(file))}\nmost_tokens = 2\n'


def _classifier_home(path: Path) -> Home:
    home = make_home(path / "classifier", model=make_classifier(path / "bert", labels=LABELS))
    text = home.config.read_text()
    home.config.write_text(text.replace("[model]\n", '[model]\nkind = "classifier"\n'))
    home.settings.state_dir.mkdir(parents=True, exist_ok=True)
    with home.store() as store:
        for seed, before in ((3, True), (4, False)):
            batch = batch_of(sentences(100, seed=seed), Partition(f"file:{seed}", 0))
            labelled = [one._replace(label=LABELS[at % 2]) for at, one in enumerate(batch.documents)]
            store.append(replace(batch, documents=tuple(labelled)), before_stream=before)
    return home


def _key(home: Home) -> dict[str, str]:
    """What a client sends that has a key."""
    return {"authorization": f"Bearer {(home.path / 'alice').read_text()}"}


def _ready(home: Home) -> bool:
    try:
        return get(f"http://{serving_address(home)}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _jobs(started: Daemon, classifier: Daemon) -> list[dict[str, Any]]:
    """The example's jobs, with the addresses that these have."""
    own, serving = jobs_of(PROMETHEUS_FILE)
    targets = [address(started), address(classifier)]
    return [
        own | {"static_configs": [{"targets": targets}]},
        serving | {"static_configs": [{"targets": [serving_address(started.home)]}]},
    ]


def _live(started: Daemon, broker: Broker, topic: str) -> list[float]:
    """Text, requests, an accepted round, a refused one, a flood; how many seconds each answer took."""
    first, second = sentences(DOCUMENTS, seed=5), sentences(DOCUMENTS, seed=6)
    arrived = DOCUMENTS + len(BAD) + DUPLICATES
    send(broker, topic, *_records(first), *BAD, *[_record(first[0], "person-0")] * DUPLICATES)
    started.until(lambda _: _stored(started.home, topic) == arrived, what="text from Kafka")
    seconds = _ask(started.home)
    started.until(lambda control: control.feedback()["generations"], what="feedback in the memory")
    first_round = _round_of(started)
    assert first_round["state"] == "accepted", first_round["detail"]
    wait_until(lambda: _generation(started.home) == 1, what="generation 1 answering")
    started.home.write(minimum_gain=9)
    started.process.send_signal(signal.SIGHUP)
    wait_until(lambda: started.events("settings_reloaded"), what="the settings read again")
    send(broker, topic, *_records(second))
    started.until(lambda _: _stored(started.home, topic) == arrived + DOCUMENTS, what="more text from Kafka")
    _round_of(started)
    send(broker, topic, *[b"{"] * FLOOD)
    started.until(lambda control: control.status()["ingest"]["paused"], what="the flood's pause")
    return seconds


def _record(text: str, key: str) -> bytes:
    return json.dumps({"text": text, "key": key}).encode()


def _records(texts: Sequence[str]) -> list[bytes]:
    return [_record(text, f"person-{at}") for at, text in enumerate(texts)]


def _stored(home: Home, topic: str) -> int:
    """How many of the topic's records the memory has taken in."""
    with home.store() as store:
        return sum(store.offsets_of(topic, 0).values())


def _ask(home: Home) -> list[float]:
    """Answers, and requests that are refused."""
    seconds = []
    address = f"http://{serving_address(home)}"
    with httpx.Client(base_url=address, trust_env=False, timeout=60, headers=_key(home)) as client:
        for at in range(ANSWERED):
            began = time.perf_counter()
            body = {"prompt": f"the state of the union {at}", "max_tokens": 100, "temperature": 0}
            answer = client.post("/v1/completions", json=body)
            assert answer.status_code == 200
            seconds.append(time.perf_counter() - began)
        for _ in range(REFUSED):
            assert client.post("/v1/classify", json={"input": "calm"}).status_code == 404
        said = {"id": answer.json()["id"], "verdict": "reject", "correction": "better", "user": "person-0"}
        assert client.post("/v1/feedback", json=said).json()["generation"] == 0
    return seconds


def _generation(home: Home) -> int:
    url = f"http://{serving_address(home)}/v1/riverkeep/generation"
    return int(get(url, headers=_key(home)).json()["generation"])


def _round_of(started: Daemon) -> Facts:
    """One more round, at its end."""
    with started.control as control:
        number = control.request_round()["after"] + 1
    started.until(lambda control: control.round(number)["ended_at"], timeout_s=180, what=f"the end of round {number}")
    with started.control as control:
        return control.round(number)


def _scraped(prometheus: Prometheus) -> int:
    return sum(each["health"] == "up" for each in prometheus.targets())


def _await_last_scrape(prometheus: Prometheus) -> None:
    """Until each target was scraped after everything had happened."""
    now = time.time()
    wait_until(
        lambda: min(prometheus.values("timestamp(up)").values()) > now, what="a scrape of everything that happened"
    )


def resident_bytes(pid: int) -> int:
    """What a process holds of main memory."""
    return int(psutil.Process(pid).memory_info().rss)


def serving_pid(started: Daemon) -> int:
    """The daemon's serving process."""
    children = psutil.Process(started.process.pid).children(recursive=True)
    (found,) = [child.pid for child in children if "serve" in child.cmdline()]
    return int(found)


def as_grafana(template: str, values: Sequence[str]) -> str:
    """An expression with its variables filled in as Grafana does: several values as a pattern, each escaped.

    The rates' window is the one that the figures are reckoned with.
    """
    escaped = [re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for value in values]
    pattern = escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
    return template.replace("$instance", pattern).replace("$__rate_interval", f"{WINDOW_S}s")
