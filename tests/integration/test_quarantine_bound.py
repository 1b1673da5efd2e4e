"""A full quarantine: a trickle of dead letters stops nothing, and none is lost that waits for its topic."""

from pathlib import Path

import orjson
import pytest
from kafka import KafkaConsumer

from daemon.admin.client import RemoteControl
from tests.brokers import CLOSING, Broker, make_topic, send
from tests.daemon_harness import Daemon, Home, daemon, fake_learner, make_home, sentences
from tests.harness import wait_until
from tests.models import make_causal
from tests.streams_harness import only_apache

pytestmark = pytest.mark.slow

PAIRS = 30
BOUND = 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return make_causal(tmp_path_factory.mktemp("model"))


def home_of(path: Path, model: Path, broker: Broker, *, streams: str = "") -> Home:
    """Settings with a small quarantine, and a topic of which every second record is no JSON."""
    topic = make_topic(broker)
    home = make_home(path, model=model, broker=broker, topic=topic)
    small = f"[memory]\nquarantine_rows = {BOUND}\n"
    more = f"[streams]\nbatch_records = 4\n{streams}\n"
    home.config.write_text(home.config.read_text().replace("[memory]\n", small).replace("[streams]\n", more))
    texts = [orjson.dumps({"text": text}) for text in sentences(PAIRS, seed=5)]
    send(broker, topic, *(record for text in texts for record in (b"no JSON", text)))
    return home


def read_on(control: RemoteControl) -> bool:
    """Whether everything that was sent has been read."""
    memory = control.memory()
    kept = sum(one["samples"] for one in memory["kept"])
    return (kept, memory["dead_letter_reasons"]) == (PAIRS, {"not_json": PAIRS})


def is_shown(started: Daemon, *parts: str) -> bool:
    """Whether Prometheus gets a line with all these parts."""
    return any(all(part in line for part in parts) for line in started.metrics().splitlines())


def letters_in(broker: Broker, topic: str) -> int:
    """How many records arrive in a topic until enough have, or none come any more."""
    consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", **CLOSING)
    found = 0
    while found < PAIRS and (records := consumer.poll(timeout_ms=10_000)):
        found += sum(map(len, records.values()))
    consumer.close()
    return found


def test_a_trickle_of_dead_letters_stops_nothing(tmp_path: Path, model: Path, broker: Broker) -> None:
    """The oldest make room: counted, told of, and all good text is kept."""
    home = home_of(tmp_path, model, broker)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(read_on, what="all records")
        with started.control as control:
            assert control.memory()["quarantine"]["dead_letters"] == BOUND
            assert control.status()["ingest"]["reason"] == ""
        assert is_shown(started, 'letters_evicted_total{kind="lost"}', f" {PAIRS - BOUND}.0")
        (told,) = started.events("dead_letters_evicted")
        assert "dead_letter_topic" in told["remedy"]
        assert started.stop() == 0


def test_letters_that_wait_for_their_topic_hold_the_stream(tmp_path: Path, model: Path, broker: Broker) -> None:
    """Paused for a reason of its own, seen wherever pauses are; when the topic is there it goes on by itself."""
    only_apache(broker, "the embedded broker makes every topic that is asked for")
    dead = f"dead-{tmp_path.name}"
    home = home_of(tmp_path, model, broker, streams=f'dead_letter_topic = "{dead}"')
    with daemon(home, learner=fake_learner("good")) as started:
        reason = started.until(lambda control: control.status()["ingest"]["reason"], what="the pause")
        assert "streams.dead_letter_topic" in reason
        wait_until(lambda: is_shown(started, "riverkeep_consumer_paused", 'reason="dead_letters_wait"', " 1.0"))
        started.until(lambda control: not control.readiness()["parts"]["dead_letters"]["ok"], what="the trouble")
        make_topic(broker, name=dead)
        started.until(read_on, what="all records")
        started.until(lambda control: not control.status()["ingest"]["reason"], what="the end of the pause")
        with started.control as control:
            assert "dead_letters_evicted" not in control.memory()["tallies"]
        assert started.stop() == 0
    assert letters_in(broker, dead) == PAIRS
