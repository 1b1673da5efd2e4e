"""Every kind of bad record between good ones, from a real broker into the real store."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
from prometheus_client import CollectorRegistry

from daemon.admin.client import RemoteControl
from memory.settings import MemorySettings
from memory.store import Store
from streams.decoding.needs import RecordNeeds
from streams.document import Batch, GapReason, Reason
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics
from streams.settings import KIB, MIB, StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import Broker, make_topic, send
from tests.daemon_harness import Daemon, Home, daemon, make_home
from tests.harness import wait_until
from tests.models import make_causal
from tests.streams_harness import settings
from tests.unit.memory.helpers import text

LONGEST = 256 * KIB
LABELS = frozenset({"news"})
REST = b', "label": "news"}'

BAD: list[tuple[bytes | None, Reason]] = [
    (None, Reason.TOMBSTONE),
    (b'{"text": "caf\xe9 and more"' + REST, Reason.NOT_UTF8),
    (b"\xff\xfe\x00\x01", Reason.NOT_UTF8),
    (b'{"text": "a\\u0000b"' + REST, Reason.NUL_BYTE),
    (b'{"text": "a\x00b"' + REST, Reason.NUL_BYTE),
    (b'{"text": "half \\ud83d of it"' + REST, Reason.LONE_SURROGATE),
    (b'{"text": "half \xed\xa0\x80 of it"' + REST, Reason.LONE_SURROGATE),
    (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + REST, Reason.TOO_DEEP),
    (b"[" * 100_000, Reason.TOO_DEEP),
    (b'{"text": "a number", "n": ' + b"9" * 10_000 + REST, Reason.BAD_NUMBER),
    (b'{"text": "a number", "n": NaN' + REST, Reason.BAD_NUMBER),
    (b'{"text": "a number", "n": -Infinity' + REST, Reason.BAD_NUMBER),
    (b'{"body": "no text"' + REST, Reason.MISSING_FIELD),
    (b'{"text": null' + REST, Reason.MISSING_FIELD),
    (b'{"text": "no label at all"}', Reason.MISSING_FIELD),
    (b'{"text": 5' + REST, Reason.WRONG_TYPE),
    (b'{"text": {"nested": "text"}' + REST, Reason.WRONG_TYPE),
    (b'{"text": "whose is it", "user": ["a", "b"]' + REST, Reason.WRONG_TYPE),
    (b'{"text": "when was it", "at": "yesterday"' + REST, Reason.BAD_TIME),
    (b'{"text": "of what kind", "label": "sport"}', Reason.UNKNOWN_LABEL),
    (b'["text"]', Reason.NOT_AN_OBJECT),
    (b'{"text": "cut o', Reason.NOT_JSON),
    (b"", Reason.NOT_JSON),
    (b'{"text": ""' + REST, Reason.EMPTY_TEXT),
    (b'{"text": " \\n\\t "' + REST, Reason.EMPTY_TEXT),
    (b'{"text": "short"' + REST, Reason.TOO_SHORT),
    (b'{"text": "' + b"spam " * 500 + b'"' + REST, Reason.REPETITIVE),
    (b'{"text": "' + b"x" * LONGEST + b'"' + REST, Reason.TOO_LARGE),
]


def good(number: int) -> bytes:
    """A record of which nothing is wrong."""
    return orjson.dumps({"text": text(number), "user": f"user-{number}", "label": "news", "at": 1_700_000_000 + number})


def take(options: StreamsSettings, store: Store, metrics: StreamsMetrics, until: int) -> Batch:
    """Move batches into the store until it has read so far; returns the last, which the group is not told of."""
    found: list[Batch] = []
    with KafkaSource(options, store, metrics, needs=RecordNeeds(LABELS)) as source:

        def moved() -> bool:
            batch = source.poll(0.2)
            if batch is None:
                return False
            for before in found[-1:]:
                source.acknowledge(before)
            store.append(batch)
            found.append(batch)
            return max(batch.next_offsets.values()) >= until

        wait_until(moved, timeout_s=60, what=f"the records up to {until}")
    return found[-1]


def test_every_kind_of_bad_record_is_counted_and_no_good_one_is_lost(broker: Broker, tmp_path: Path) -> None:
    """Each offset lands exactly once, through a restart and a redelivery; each good text is kept as it was sent."""
    topic, registry = make_topic(broker), CollectorRegistry()
    sent = [good(0), *(record for n, (bad, _) in enumerate(BAD, 1) for record in (bad, good(n)))]
    send(broker, topic, *sent)
    named = TopicSettings(name=topic, key_field="user", label_field="label", time_field="at")
    filters = {"min_characters": 8}
    options = settings(broker, topics=(named,), batch_records=10, max_record_bytes=LONGEST, filters=filters)
    with Store.open(tmp_path / "riverkeep.db", MemorySettings()) as store:
        metrics = StreamsMetrics(registry)
        take(options, store, metrics, until=len(sent) // 2)
        last = take(options, store, metrics, until=len(sent))
        again = store.append(last)
        assert again.redelivered == len(last.documents) + len(last.dead_letters)
        check(store, sent)
    for reason, number in Counter(reason for _, reason in BAD).items():
        labels = {"topic": topic, "reason": str(reason)}
        assert registry.get_sample_value("riverkeep_dead_letters_total", labels) == number


def check(store: Store, sent: list[bytes | None]) -> None:
    """What lies in the store is what was sent, each record once, under its reason."""
    with store.file.database.read() as tx:
        samples = tx.execute("SELECT offset, text FROM samples ORDER BY offset").fetchall()
    assert samples == [(offset, text(offset // 2)) for offset in range(0, len(sent), 2)]
    letters = [(letter.offset, letter.reason) for letter in store.quarantine.dead_letters()]
    stored = [(n * 2 + 1, reason) for n, (_, reason) in enumerate(BAD) if reason is not Reason.TOMBSTONE]
    assert letters == stored
    tallies = store.counts().tallies
    told = {name.removeprefix("dead_letters:"): n for name, n in tallies.items() if name.startswith("dead_letters:")}
    assert told == Counter(str(reason) for _, reason in BAD)
    assert (tallies["dead_letters"], store.counts().quarantine_rows) == (len(BAD), len(stored))
    assert store.quarantine.gaps() == []


BOMB = 256 * MIB
LARGE = 50 * MIB
BEGINNING = 64 * KIB
HUGE = {"max_request_size": BOMB + MIB, "batch_size": BOMB + MIB, "request_timeout_ms": 60_000}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_bomb_and_a_huge_record_cost_the_daemon_neither_text_nor_memory(broker: Broker, tmp_path: Path) -> None:
    """Good records beside them land once, through a restart; each stands in the quarantine; memory stays bounded."""
    topic = make_topic(broker, max_message_bytes=str(64 * MIB)) if broker.name == "apache" else make_topic(broker)
    home = make_home(tmp_path, model=make_causal(tmp_path / "model"), broker=broker, topic=topic)
    home.config.write_text(home.config.read_text().replace("[streams]\n", f"[streams]\nmax_batch_bytes = {8 * MIB}\n"))
    send(broker, topic, good(0))
    with daemon(home) as started:
        started.until(lambda control: read_to(control, 1), what="a good record")
        before = most_resident(started)
        send(broker, topic, bytes(BOMB), compression_type="zstd", **HUGE)
        send(broker, topic, good(2))
        started.until(lambda control: read_to(control, 3), what="the record after the bomb")
        after_bomb = most_resident(started)
        assert after_bomb - before < BOMB / 4
        send(broker, topic, b'{"text": "' + b"x" * LARGE + b'"}', **HUGE)
        send(broker, topic, good(4))
        started.until(lambda control: read_to(control, 5), what="the record after the huge one")
        # The client holds what it received and what it cuts out of that.
        assert most_resident(started) - after_bomb < 5 * LARGE
        assert started.stop() == 0
    with daemon(home) as started:
        send(broker, topic, good(5))
        started.until(lambda control: read_to(control, 6), what="a good record after a restart")
        assert started.stop() == 0
    check_large(home)


def read_to(control: RemoteControl, records: int) -> bool:
    """Whether so many records are in the memory, one way or the other."""
    memory = control.memory()
    kept = sum(int(one["samples"]) for one in memory["kept"])
    return kept + int(memory["quarantine"]["dead_letters"]) == records


def most_resident(started: Daemon) -> int:
    """The most memory, in bytes, that the daemon ever had."""
    status = Path(f"/proc/{started.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * KIB


def check_large(home: Home) -> None:
    """Good texts once, at their offsets; of the others the reason, the length and no more than the beginning."""
    with home.store() as store:
        with store.file.database.read() as tx:
            kept = tx.execute("SELECT offset, text FROM samples ORDER BY offset").fetchall()
        letters = [(one.offset, one.reason, one.value_bytes, len(one.value)) for one in store.quarantine.dead_letters()]
        gaps = [(each.gap.first, each.gap.last, each.gap.reason) for each in store.quarantine.gaps()]
        tallies = store.counts().tallies
    assert kept == [(offset, text(offset)) for offset in (0, 2, 4, 5)]
    bomb, large = letters
    assert bomb[:2] == (1, Reason.UNDECODABLE_BATCH)
    assert large == (3, Reason.TOO_LARGE, LARGE + len('{"text": ""}'), BEGINNING)
    assert gaps == [(1, 1, GapReason.UNDECODABLE_BATCH)]
    assert (tallies["dead_letters"], tallies.get("duplicates", 0)) == (2, 0)
