"""The disk fills up while a whole service takes text in: it says so, waits, and goes on by itself, each record once."""

import json
import os
import random
import resource
import shutil
from pathlib import Path

import pytest

from tests.brokers import Broker, make_topic, send
from tests.daemon_harness import Daemon, Home, daemon, make_home
from tests.disks import small_disk
from tests.faults.test_kill_anywhere import kept_offsets
from tests.models import make_causal

pytestmark = pytest.mark.slow

RECORDS = 6_000
ROOM_BYTES = 2**19
"""What is left to write when the records come, far less than they take."""


def records(first: int, count: int) -> list[bytes]:
    """Some 900 bytes each."""
    chosen = random.Random(first)
    return [
        json.dumps({"text": f"{number} " + " ".join(f"{chosen.getrandbits(40):010x}" for _ in range(80))}).encode()
        for number in range(first, first + count)
    ]


def test_a_full_file_system_pauses_the_river_and_loses_nothing(tmp_path: Path, embedded_broker: Broker) -> None:
    """The service stays, not ready, with the reason; once there is room it reads on, and nothing comes twice."""
    with small_disk(tmp_path / "home" / "state", megabytes=64) as disk:
        home, topic = reading_home(tmp_path, embedded_broker)
        with daemon(home) as started:
            take_in_some(started, home, topic, embedded_broker)
            filler = disk / "filler"
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - ROOM_BYTES)
            assert "Free space on that disk" in refused(started, home, topic, embedded_broker)
            filler.unlink()
            assert_everything_is_kept_once(started, home, topic)


def test_a_limit_on_files_pauses_the_river_and_loses_nothing(tmp_path: Path, embedded_broker: Broker) -> None:
    """The same where the operating system refuses to let the store's files grow."""
    home, topic = reading_home(tmp_path, embedded_broker)
    with daemon(home) as started:
        take_in_some(started, home, topic, embedded_broker)
        largest = max(file.stat().st_size for file in home.settings.state_dir.glob("riverkeep.db*"))
        _, most = resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, most))
        assert "Raise the limit" in refused(started, home, topic, embedded_broker)
        resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, (most, most))
        assert_everything_is_kept_once(started, home, topic)


def reading_home(tmp_path: Path, broker: Broker) -> tuple[Home, str]:
    """A daemon's home in which it reads a topic of the test's own."""
    topic = make_topic(broker)
    return make_home(tmp_path / "home", model=make_causal(tmp_path / "model"), broker=broker, topic=topic), topic


def take_in_some(started: Daemon, home: Home, topic: str, broker: Broker) -> None:
    """A hundred records, while there is room."""
    send(broker, topic, *records(0, 100))
    started.until(lambda _: len(kept_offsets(home.settings.database, topic)) == 100, what="the first records")


def refused(started: Daemon, home: Home, topic: str, broker: Broker) -> str:
    """Send more than there is room for; returns what readiness says once the service has seen it."""
    send(broker, topic, *records(100, RECORDS - 100))
    started.until(lambda control: not control.readiness()["ready"], what="the full disk to be seen")
    with started.control as control:
        (broken,) = [part for part in control.readiness()["parts"].values() if not part["ok"]]
        assert control.health()["healthy"]
        status = control.status()
        # What is there can be read: nothing but reading from Kafka waits.
        assert not status["memory_trouble"]
        assert status["memory"]["fresh_samples"] > 0
    assert len(kept_offsets(home.settings.database, topic)) < RECORDS
    started.until(lambda _: len(started.events("part_broken")) > 1, what="a second attempt")
    assert all("riverkeep.db" in event["detail"] for event in started.events("part_broken"))
    assert not started.events("memory_unusable")
    return str(broken["detail"])


def assert_everything_is_kept_once(started: Daemon, home: Home, topic: str) -> None:
    """And the service is ready again, without a person or a restart."""
    started.until(lambda _: len(kept_offsets(home.settings.database, topic)) >= RECORDS, what="every record")
    assert sorted(kept_offsets(home.settings.database, topic)) == [(0, offset) for offset in range(RECORDS)]
    started.until(lambda control: control.readiness()["ready"], what="readiness")
    assert started.stop() == 0
    with home.store() as store:
        store.file.database.check()
        assert not store.quarantine.gaps()
