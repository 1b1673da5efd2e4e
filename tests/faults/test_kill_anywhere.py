"""kill -9 at random points of ingestion and of rounds: each offset lands exactly once, every round is whole or absent.

The daemon, the store, the checkpoints, the gate and the broker are real; the learner is a stand-in, so that many
rounds fit between the kills. The seed is printed: with it the times of the kills are the same.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite

from checkpoints.generation import GenerationStore
from memory.records import GenerationState
from memory.rounds import UNFINISHED, RoundState
from memory.store import Store
from tests.brokers import Broker, make_topic, producing
from tests.daemon_harness import Daemon, Home, daemon, fake_learner, fill, make_home, sentences
from tests.harness import wait_until
from tests.models import make_causal

KILLS = 20
BAD_EVERY = 50
LONGEST_LIFE_S = 4.0
ROUND_S = 1.0
pytestmark = pytest.mark.slow


@contextmanager
def sending(broker: Broker, topic: str) -> Iterator[Callable[[], int]]:
    """Records come all the while, one in fifty no JSON; yields what ends that and answers how many there are."""
    stop = threading.Event()

    def send() -> int:
        number = 0
        with producing(broker) as producer:
            while not stop.wait(0.5):
                for text in sentences(BAD_EVERY, seed=1_000 + number):
                    good = json.dumps({"text": text, "key": str(number % 500)}).encode()
                    producer.send(topic, value=good if number % BAD_EVERY else b"{no json", partition=number % 2)
                    number += 1
        return number

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)

        def finish() -> int:
            stop.set()
            return sent.result(timeout=60)

        try:
            yield finish
        finally:
            stop.set()


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_or_half(tmp_path: Path, broker: Broker) -> None:
    """Twenty kills while text arrives and rounds run one after another, half of them within a round."""
    seed = int(os.environ.get("RIVERKEEP_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}: RIVERKEEP_TEST_SEED={seed} repeats the times of the kills")
    chosen = random.Random(seed)
    topic = make_topic(broker, partitions=2)
    home = make_home(tmp_path, model=make_causal(tmp_path / "model"), broker=broker, topic=topic, fresh=100)
    fill(home, before=120, fresh=1)
    # Small draws, so that one round follows another; a short session, so that a new life soon reads on.
    home.write(max_tokens=10_000, session_timeout_seconds=1.5, heartbeat_seconds=0.3)
    with sending(broker, topic) as finish:
        for life in range(KILLS):
            with daemon(home, learner=fake_learner("good")) as started:
                wait_until(lambda: started.events("service_ready") or started.process.poll(), timeout_s=60)
                assert started.process.poll() is None, started.log.read_text()[-3000:]
                live(started, chosen, until_a_round=life % 2 == 1)
                started.kill()
            started.log.rename(tmp_path / f"life-{life}.log")
            with home.store() as store:
                check_rounds_are_whole(store, home)
            kept = kept_offsets(home, topic)
            assert len(kept) == len(set(kept)), "an offset landed twice"
        with daemon(home, learner=fake_learner("good")) as started:
            everything = [(number % 2, number // 2) for number in range(finish())]
            started.until(lambda _: len(kept_offsets(home, topic)) >= len(everything), timeout_s=120)
            started.until(lambda control: control.status()["round"] is None)
            assert started.stop() == 0
    assert sorted(kept_offsets(home, topic)) == sorted(everything)
    with home.store() as store:
        check_rounds_are_whole(store, home)
        states = Counter(round_.state for round_ in store.rounds(limit=1_000))
        print(f"rounds: {dict(states)}")
        assert store.unfinished_rounds() == []
        assert states[RoundState.ACCEPTED] > 0


def live(started: Daemon, chosen: random.Random, *, until_a_round: bool) -> None:
    """Let the daemon live for a random time, or for a random moment into its next round."""
    if until_a_round:
        deadline = time.monotonic() + 2 * LONGEST_LIFE_S
        while not started.events("round_begun") and time.monotonic() < deadline:
            time.sleep(0.01)
    time.sleep(chosen.uniform(0.0, ROUND_S if until_a_round else LONGEST_LIFE_S))


def kept_offsets(home: Home, topic: str) -> list[tuple[int, int]]:
    """Partition and offset of every record of the topic that is kept, as a sample or as a dead letter."""
    with closing(sqlite.connect(home.settings.database)) as connection:
        return list(
            connection.execute(
                "SELECT number, offset FROM samples JOIN streams ON streams.id = stream WHERE topic = ? UNION ALL "
                "SELECT number, offset FROM dead_letters JOIN streams ON streams.id = stream WHERE topic = ?",
                (topic, topic),
            )
        )


def check_rounds_are_whole(store: Store, home: Home) -> None:
    """What the ledger says is on disk, and what is on disk the ledger knows."""
    checkpoints = GenerationStore(home.settings.checkpoints_dir)
    for generation in store.generations():
        if generation.state is GenerationState.ACCEPTED:
            checkpoints.verify(generation.number, digest=generation.digest)
    accepted = [round_ for round_ in store.rounds(limit=1_000) if round_.state is RoundState.ACCEPTED]
    assert len({round_.generation for round_ in accepted}) == len(accepted)
    assert sum(round_.state in UNFINISHED for round_ in store.rounds(limit=1_000)) <= 1
    serving = store.serving()
    assert serving is not None
    assert serving in checkpoints.numbers()
    pointer = checkpoints.serving()
    if pointer is not None:
        checkpoints.verify(pointer.generation, digest=pointer.digest)
