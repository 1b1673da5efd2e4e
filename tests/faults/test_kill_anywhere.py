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
from itertools import pairwise
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite

from checkpoints.generation_store import GenerationStore
from memory.ledger.records import GenerationState
from memory.ledger.states import RoundState
from memory.store import Store
from tests.brokers import Broker, make_topic, producing
from tests.daemon_harness import Daemon, Home, daemon, fake_learner, fill, make_home, sentences
from tests.faults.whole import assert_rounds_are_whole
from tests.harness import wait_until
from tests.models import make_causal

KILLS = 12
BAD_EVERY = 50
SENT_AT_ONCE = 5
LONGEST_LIFE_S = 2.0
ROUND_S = 1.0
PATIENCE_S = 10.0
pytestmark = pytest.mark.slow


@contextmanager
def sending(broker: Broker, topic: str) -> Iterator[Callable[[], int]]:
    """Records come all the while, one in fifty no JSON; yields what ends that and answers how many there are."""
    stop = threading.Event()

    def send() -> int:
        number = 0
        with producing(broker) as producer:
            while not stop.wait(0.05):
                for text in sentences(SENT_AT_ONCE, seed=1_000 + number):
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
def test_nothing_is_lost_or_doubled_or_half(tmp_path: Path, nearest_broker: Broker) -> None:
    """Twenty kills while text is read and rounds run one after another, half of them after a round's begin."""
    seed = int(os.environ.get("RIVERKEEP_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}: RIVERKEEP_TEST_SEED={seed} repeats the times of the kills")
    chosen = random.Random(seed)
    topic = make_topic(nearest_broker, partitions=2)
    home = make_home(tmp_path, model=make_causal(tmp_path / "model"), broker=nearest_broker, topic=topic, fresh=100)
    fill(home, before=120, fresh=1)
    # Small draws, so that one round follows another; a short session, so that a new life soon reads on; small
    # transactions one after another, so that there is hardly a moment in which a kill cuts nothing off.
    home.write(max_tokens=10_000, session_timeout_seconds=1.5, heartbeat_seconds=0.3)
    home.config.write_text(home.config.read_text().replace("[streams]\n", "[streams]\nbatch_records = 5\n"))
    database, reached, cut = home.settings.database, [0], 0
    with sending(nearest_broker, topic) as finish:
        for life in range(KILLS):
            with daemon(home, learner=fake_learner("good")) as started:
                wait_until(lambda: started.events("service_ready") or started.process.poll(), timeout_s=60)
                assert started.process.poll() is None, started.log.read_text()[-3000:]
                live(started, chosen, database, topic, until_a_round=life % 2 == 1)
                started.kill()
            started.log.rename(tmp_path / f"life-{life}.log")
            with home.store() as store:
                check_rounds_are_whole(store, home)
                cut += len(store.rounds.unfinished())
                reached.append(check_offsets(store, topic))
        with daemon(home, learner=fake_learner("good")) as started:
            everything = [(number % 2, number // 2) for number in range(finish())]
            started.until(lambda _: len(kept_offsets(database, topic)) >= len(everything), timeout_s=120)
            started.until(lambda control: control.status()["round"] is None)
            assert started.stop() == 0
    assert sorted(kept_offsets(database, topic)) == sorted(everything)
    with home.store() as store:
        check_offsets(store, topic)
        check_rounds_are_whole(store, home)
        check_nothing_is_left_over(store, home)
        states = Counter(round_.state for round_ in store.rounds.listed(limit=1_000))
    lives = sum(after > before for before, after in pairwise(reached))
    print(f"rounds: {dict(states)}; kills within a round: {cut}; lives that read: {lives}")
    assert states[RoundState.ACCEPTED] > 0
    assert cut > 0, "no kill fell into a round: nothing was proven of rounds"
    assert lives >= KILLS // 4, "hardly a life read anything: nothing was proven of ingestion"


def live(started: Daemon, chosen: random.Random, database: Path, topic: str, *, until_a_round: bool) -> None:
    """Let the daemon live for a random moment into its next round, or for a random time from when it reads on."""
    before = len(kept_offsets(database, topic))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if started.events("round_begun") if until_a_round else len(kept_offsets(database, topic)) > before:
            break
        time.sleep(0.03)
    time.sleep(chosen.uniform(0.0, ROUND_S if until_a_round else LONGEST_LIFE_S))


def kept_offsets(database: Path, topic: str) -> list[tuple[int, int]]:
    """Partition and offset of every record of the topic that is kept, as a sample or as a dead letter."""
    with closing(sqlite.connect(database)) as connection:
        return list(
            connection.execute(
                "SELECT number, offset FROM samples JOIN streams ON streams.id = stream WHERE topic = ? UNION ALL "
                "SELECT number, offset FROM dead_letters JOIN streams ON streams.id = stream WHERE topic = ?",
                (topic, topic),
            )
        )


def check_offsets(store: Store, topic: str) -> int:
    """Of each partition every record below the next offset is kept, once; returns how many that are.

    A record that came again is known by its offset: were it known by its text alone, it would be a duplicate.
    """
    kept: dict[int, list[int]] = {}
    with store.file.database.read() as tx:
        ends = dict(tx.execute("SELECT number, next_offset FROM streams WHERE topic = ?", (topic,)))
        for table in ("samples", "dead_letters"):
            rows = f"SELECT number, offset FROM {table} JOIN streams ON streams.id = stream WHERE topic = ?"
            for number, offset in tx.execute(rows, (topic,)):
                kept.setdefault(number, []).append(offset)
    assert {number: sorted(offsets) for number, offsets in kept.items()} == {
        number: list(range(end)) for number, end in ends.items() if end
    }
    assert store.counts().tallies.get("duplicates", 0) == 0
    return sum(map(len, kept.values()))


def check_rounds_are_whole(store: Store, home: Home) -> None:
    """The ledger is at one with itself, and the generations that it names are on disk, whole."""
    assert_rounds_are_whole(store)
    checkpoints = GenerationStore(home.settings.checkpoints_dir)
    for generation in store.generations.listed():
        if generation.state is GenerationState.ACCEPTED:
            checkpoints.verify(generation.number, digest=generation.digest)
    assert store.generations.serving() in checkpoints.numbers()
    pointer = checkpoints.serving()
    if pointer is not None:
        checkpoints.verify(pointer.generation, digest=pointer.digest)


def check_nothing_is_left_over(store: Store, home: Home) -> None:
    """After a clean end: no round is open, followers serve what the ledger says, no candidate lies about."""
    assert store.rounds.unfinished() == []
    checkpoints = GenerationStore(home.settings.checkpoints_dir)
    pointer = checkpoints.serving()
    assert pointer is not None
    assert pointer.generation == store.generations.serving()
    accepted = {each.number for each in store.generations.listed() if each.state is GenerationState.ACCEPTED}
    assert set(checkpoints.numbers()) <= accepted
