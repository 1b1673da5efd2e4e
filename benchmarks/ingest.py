"""How fast text gets from Kafka into the durable store, and what that costs in memory.

    python -m benchmarks.ingest [--json FILE] [--records N] [--broker apache|embedded]

The ratio is against a bare kafka-python poll loop at its natural settings, on the same topic, broker and machine,
in turns: records of 424 bytes of JSON (text and a key beside it), sent with linger 50 ms and kafka-python's batch
size of 16,384 bytes, uncompressed. End to end means decoded, filtered, split, deduplicated, committed to SQLite
(synchronous=FULL) with its offsets, and acknowledged. Each loop is a process of its own. Resident memory is that of
the process that ingests, from a tenth of the records on.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson
import psutil
from kafka import KafkaConsumer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.report import Bar, arguments, report
from daemon.demo.broker import free_port
from daemon.demo.text import BASE_MODEL
from gate.keys_wanted import keys_at_first
from gate.settings import MINIMUM_KEYS
from memory.settings import MemorySettings
from memory.store import Store
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import Broker, apache_is_there, make_topic, producing, running

RECORD_BYTES = 424
LINGER_MS = 50
BATCH_BYTES = 16_384
TURNS = 3
RATE_RECORDS = 200_000
LOOK_EVERY_S = 0.25
MIB = 1024 * 1024


def records(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values: 424 bytes of JSON, words drawn by Zipf's law, no two alike."""
    rng = random.Random(7)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    # Drawn once, and cut anywhere: drawing anew for each record would take longer than the broker.
    drawn = rng.choices(words, weights, k=50_000)
    for n in range(number):
        start = rng.randrange(len(drawn) - 200)
        # The number first: no two records are duplicates, which the memory would refuse for less work.
        text = f"{n} " + " ".join(drawn[start : start + 200])
        frame = len(orjson.dumps({"text": ""}))
        yield b"user-%d" % (n % 9973), orjson.dumps({"text": text[: RECORD_BYTES - frame]})


def fill(broker: Broker, number: int) -> str:
    """A topic of one partition with that many records."""
    # One partition: with several the order of fetching would differ from run to run.
    topic = make_topic(broker)
    with producing(broker, linger_ms=LINGER_MS, batch_size=BATCH_BYTES, acks=1) as producer:
        for key, value in records(number):
            assert len(value) == RECORD_BYTES
            producer.send(topic, value=value, key=key)
    return topic


def bare(bootstrap: str, topic: str, number: int) -> dict[str, Any]:
    """The loop that everyone writes first: poll and count."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, group_id=None
    )

    def turn() -> int:
        return sum(len(batch) for batch in consumer.poll(timeout_ms=1000).values())

    facts = time_turns(turn, number)
    consumer.close()
    return facts


def end_to_end(bootstrap: str, topic: str, number: int) -> dict[str, Any]:
    """What the daemon's ingestion does."""
    settings = StreamsSettings(
        bootstrap_servers=(bootstrap,), group_id=f"ingest-{time.time_ns()}", topics=(TopicSettings(name=topic),)
    )
    # Bounds out of reach: what is measured is taking text in, not letting it go.
    memory = MemorySettings(fresh_samples=10**9, fresh_tokens=10**12)
    with (
        tempfile.TemporaryDirectory(prefix="riverkeep-ingest-") as folder,
        Store.open(Path(folder) / "riverkeep.db", memory) as store,
        KafkaSource(settings, store, StreamsMetrics(CollectorRegistry())) as source,
    ):
        # As the daemon asks for a language model.
        store.ask_for_held_out(keys_at_first("causal-lm", MINIMUM_KEYS))

        def turn() -> int:
            batch = source.poll(1.0)
            if batch is None:
                return 0
            store.append(batch)
            source.acknowledge(batch)
            return len(batch.documents) + len(batch.dead_letters)

        return time_turns(turn, number)


def time_turns(turn: Callable[[], int], number: int) -> dict[str, Any]:
    """Turn until so many records came; the clock starts with the first of them. Resident bytes every twentieth."""
    process = psutil.Process()
    received = 0
    # Joining a group and the first fetch take seconds, which say nothing about the rate.
    while not received:
        received = turn()
    # What came with the first turn was fetched before the clock started.
    begun, first = time.perf_counter(), received
    resident: list[int] = []
    step = max(1, number // 20)
    while received < number:
        received += turn()
        # A large turn may pass several marks: each gets a figure, so that places in the list are shares of all.
        if received // step > len(resident):
            resident += [process.memory_info().rss] * (received // step - len(resident))
    return {"rate": (received - first) / (time.perf_counter() - begun), "resident": resident}


LOOPS = {"bare": bare, "end_to_end": end_to_end}


def run_aside(loop: str, broker: Broker, topic: str, number: int) -> dict[str, Any]:
    """Run a loop in a process of its own."""
    # Resident memory only grows, and caches of one loop would serve the next.
    command = [sys.executable, "-m", "benchmarks.ingest", "--loop", loop, broker.bootstrap, topic, str(number)]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    facts: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return facts


def rates_of(broker: Broker, topic: str, number: int) -> dict[str, float]:
    """Each loop's records/s, the median of turns that the loops take one after the other."""
    rates: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    # In turns, so that whatever else the machine does meets all loops alike.
    for turn in range(TURNS):
        for loop in LOOPS:
            rates[loop].append(run_aside(loop, broker, topic, number)["rate"])
            print(f"turn {turn + 1}: {loop:10} {rates[loop][-1]:9,.0f} records/s")
    return {loop: median(measured) for loop, measured in rates.items()}


def ratio_bar(rates: Mapping[str, float]) -> Bar:
    """End to end against the bare loop."""
    share = rates["end_to_end"] / rates["bare"]
    return Bar(name="ingestion, share of a bare poll loop's records/s", value=share, at_least=0.35)


def resident_bar(broker: Broker, topic: str, number: int) -> Bar:
    """Growth of resident memory from a tenth of the records to all of them."""
    resident = run_aside("end_to_end", broker, topic, number)["resident"]
    # From a tenth on: before that the caches of SQLite and of the consumer fill, up to their bounds.
    settled, last = resident[len(resident) // 10], max(resident[-3:])
    print(f"resident: {settled / MIB:.0f} MiB at a tenth, {last / MIB:.0f} MiB at {number:,} records")
    name = f"growth of resident memory over {number:,} records, MiB"
    return Bar(name=name, value=(last - settled) / MIB, at_most=32)


DAEMON_SETTINGS = """
state_dir = "state"
[model]
path = "{model}"
[streams]
bootstrap_servers = ["{bootstrap}"]
[[streams.topics]]
name = "{topic}"
[memory]
fresh_samples = 1000000000
fresh_tokens = 1000000000000
[serving]
enabled = false
[triggers]
fresh_samples = 1000000000
[admin]
port = {port}
"""


def daemon_bar(broker: Broker, topic: str, number: int) -> Bar:
    """Peak resident memory of `riverkeep run`, without serving and learner, while it takes all records in."""
    with tempfile.TemporaryDirectory(prefix="riverkeep-daemon-") as folder:
        config = Path(folder) / "riverkeep.toml"
        port = free_port()
        text = DAEMON_SETTINGS.format(model=BASE_MODEL, bootstrap=broker.bootstrap, topic=topic, port=port)
        config.write_text(text, encoding="utf-8")
        daemon = subprocess.Popen(
            [sys.executable, "-m", "daemon", "--config", str(config), "run"], stderr=subprocess.DEVNULL
        )
        try:
            peak = peak_while_ingesting(daemon.pid, f"http://127.0.0.1:{port}/metrics", number)
        finally:
            daemon.terminate()
            daemon.wait()
    print(f"daemon: peak of {peak / MIB:.0f} MiB resident over {number:,} records")
    return Bar(name="resident memory of the daemon, MiB", value=peak / MIB, at_most=150)


def peak_while_ingesting(pid: int, metrics_url: str, number: int) -> int:
    """Watch a daemon until it has stored so many records; the largest resident size seen, in bytes."""
    process, peak, stored = psutil.Process(pid), 0, 0
    while stored < number:
        time.sleep(LOOK_EVERY_S)
        peak = max(peak, process.memory_info().rss)
        stored = stored_records(metrics_url)
    return peak


def stored_records(metrics_url: str) -> int:
    """What the daemon says it has taken in, 0 while it does not answer yet."""
    try:
        page = httpx.get(metrics_url, timeout=10).text
    except httpx.TransportError:
        return 0
    families = {family.name: family for family in text_string_to_metric_families(page)}
    records = families.get("riverkeep_consumed_records")
    return int(sum(sample.value for sample in records.samples)) if records else 0


def main() -> int:
    """Measure and report; returns the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records in the topic (1,000,000)")
    parser.add_argument(
        "--broker", choices=["apache", "embedded"], default="apache" if apache_is_there() else "embedded"
    )
    parser.add_argument("--loop", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        loop, bootstrap, topic, number = options.loop
        print(json.dumps(LOOPS[loop](bootstrap, topic, int(number))))
        return 0
    with running(options.broker) as broker:
        print(f"{options.broker} broker; linger {LINGER_MS} ms, batches of {BATCH_BYTES:,} bytes; filling the topic …")
        topic = fill(broker, options.records)
        rates = rates_of(broker, topic, min(options.records, RATE_RECORDS))
        bars = [
            ratio_bar(rates),
            resident_bar(broker, topic, options.records),
            daemon_bar(broker, topic, options.records),
        ]
    details = {
        "broker": options.broker,
        "linger_ms": LINGER_MS,
        "batch_bytes": BATCH_BYTES,
        "records": options.records,
        "record_bytes": RECORD_BYTES,
        "records_per_s": rates,
    }
    return report("Ingestion", bars, options.json, details)


if __name__ == "__main__":
    sys.exit(main())
