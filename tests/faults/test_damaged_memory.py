"""A database that cannot be used: what serves goes on, the daemon says so, and goes on by itself when it is mended."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from daemon.errors import DaemonError
from tests.brokers import Broker, make_topic, running, send
from tests.daemon_harness import Daemon, Home, daemon, end_what_is_left, fill, make_home, sentences
from tests.harness import post, wait_until
from tests.models import make_causal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return make_causal(tmp_path_factory.mktemp("model"))


@pytest.fixture
def home(tmp_path: Path, model: Path) -> Iterator[Home]:
    """A daemon's home with text in its store, which has run once: something serves."""
    made = make_home(tmp_path, model=model)
    fill(made)
    with daemon(made) as started:
        started.until(lambda control: control.readiness()["ready"], what="readiness")
        assert started.stop() == 0
    made.write(enabled="true")
    yield made
    end_what_is_left(made)


def answers(started: Daemon) -> str:
    """Wait until serving completes a prompt; returns the generation that did."""
    address = f"http://127.0.0.1:{started.home.serving_port}/v1/completions"

    def ask() -> str | None:
        assert started.process.poll() is None, started.log.read_text()[-4000:]
        try:
            answer = post(address, json={"prompt": "river", "max_tokens": 1}, timeout=10)
        except httpx.HTTPError:
            return None
        return answer.headers["x-riverkeep-generation"] if answer.status_code == 200 else None

    return str(wait_until(ask, timeout_s=90, what="an answer"))


def is_degraded(started: Daemon) -> str:
    """Wait until the daemon says that its memory cannot be used; returns what it says."""
    started.until(lambda control: not control.readiness()["parts"]["memory"]["ok"], what="the daemon to say so")
    with started.control as control:
        trouble = control.status()["memory_trouble"]
        assert control.health()["healthy"]
        with pytest.raises(DaemonError, match=r"riverkeep\.db"):
            control.request_round()
    waits = 'riverkeep_part_state{part="rounds",state="waiting"} 1.0'
    shown = wait_until(lambda: (found := started.metrics()) and waits in found and found, what="rounds to wait")
    assert "riverkeep_memory_usable 0.0" in shown
    assert 'riverkeep_collector_failed{collector="MemoryMetrics"} 1.0' in shown
    assert 'riverkeep_part_state{part="memory",state="broken"} 1.0' in shown
    assert "process_resident_memory_bytes" in shown
    assert "riverkeep_memory_samples{" not in shown
    return str(trouble)


def is_whole(started: Daemon) -> None:
    """Wait until the daemon goes on by itself: parts run, rounds are begun."""
    started.until(lambda control: not control.status()["memory_trouble"], what="the memory to be taken up")
    started.until(lambda control: control.readiness()["ready"], what="readiness")
    started.until(lambda control: control.memory()["kept"], what="what is kept")
    assert "riverkeep_memory_usable 1.0" in started.metrics()


def overwrite_all_pages(path: Path) -> None:
    """Nothing that was a database is left."""
    path.write_bytes(b"\xa5" * path.stat().st_size)


def overwrite_the_middle(path: Path) -> None:
    """Pages of tables, not the header."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (path.stat().st_size - 8192))


def truncate(path: Path) -> None:
    """Half of it."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    """A file of no bytes, which a first start would take for a new one."""
    with path.open("r+b") as file:
        file.truncate(0)


def be_another(path: Path) -> None:
    """Another program's database lies there."""
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs(x)")
    other.close()


def be_text(path: Path) -> None:
    """No database at all."""
    path.write_text("this is a remark, not a database\n" * 1000)


def be_a_folder(path: Path) -> None:
    """Not even a file."""
    path.unlink()
    path.mkdir()


def be_gone(path: Path) -> None:
    """An unmounted disk, or a hand that slipped."""
    path.unlink()


DAMAGE = [overwrite_all_pages, overwrite_the_middle, truncate, empty, be_another, be_text, be_a_folder, be_gone]


def copy_of(home: Home) -> Path:
    """A backup of the database, with what its log holds, made while nothing runs."""
    backup = home.path / "backup.db"
    with sqlite3.connect(home.settings.database) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    return backup


def restore(home: Home, backup: Path) -> None:
    """Put the copy in the place of what is damaged, as the error says."""
    path = home.settings.database
    shutil.rmtree(path, ignore_errors=True)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    shutil.copy(backup, path.with_name("copy"))
    path.with_name("copy").rename(path)


def test_damage_while_it_runs_ends_neither_daemon_nor_serving(home: Home) -> None:
    """One kind after another: answers go on, each is named, and each is over when a copy is put in its place."""
    backup = copy_of(home)
    with daemon(home) as started:
        answers(started)
        for damage in DAMAGE:
            path = home.settings.database
            damage(path)
            assert str(path) in is_degraded(started), damage.__name__
            assert answers(started) == "0"
            restore(home, backup)
            is_whole(started)
        assert answers(started) == "0"
        assert started.stop() == 0


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_found_at_the_start_is_borne_where_something_serves(home: Home, damage: Callable[[Path], None]) -> None:
    """It starts, answers, says what is wrong and how to mend it, makes no new database, and goes on with a copy."""
    backup = copy_of(home)
    damage(home.settings.database)
    if damage is not be_text:
        # One of them stands for all that serving has nothing to do with it: to load a model takes long.
        home.write(enabled="false")
    with daemon(home) as started:
        assert damage is not be_text or answers(started) == "0"
        assert str(home.settings.database) in is_degraded(started)
        restore(home, backup)
        is_whole(started)
        assert started.stop() == 0


def test_a_database_locked_for_ever_by_another_program_stops_nothing_else(home: Home) -> None:
    """It is said that another process holds it; metrics and status answer meanwhile, and all goes on afterwards."""
    with daemon(home) as started:
        answers(started)
        foreign = sqlite3.connect(home.settings.database, isolation_level=None)
        # The one lock that another can take while the daemon has the file open: whoever writes waits for it.
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(DaemonError, match="Another process"), started.control as control:
            control.pause_rounds("the file is looked at")
        assert answers(started) == "0"
        foreign.close()
        is_whole(started)
        assert started.stop() == 0


def test_where_nothing_serves_yet_a_database_that_is_none_ends_the_start(tmp_path: Path, model: Path) -> None:
    """There is nothing to keep up, and a mistake in the settings is to be seen at once."""
    home = make_home(tmp_path, model=model)
    home.settings.state_dir.mkdir(exist_ok=True)
    be_text(home.settings.database)
    with daemon(home) as started:
        assert started.process.wait(60) == 1
    assert "is damaged" in started.log.read_text()


def test_nothing_is_lost_or_committed_while_the_memory_is_damaged(tmp_path: Path, model: Path) -> None:
    """Records that come meanwhile are kept once the database is mended, those after the copy's offsets too."""
    with running("embedded") as broker:
        make_topic(broker, name="river")
        home = make_home(tmp_path, model=model, broker=broker)
        with daemon(home) as started:
            _send(broker, 0, 20)
            started.until(lambda control: control.status()["memory"]["fresh_samples"] >= 10, what="the first text")
            assert started.stop() == 0
        backup = copy_of(home)
        with daemon(home) as started:
            _send(broker, 20, 40)
            started.until(lambda control: _kept(control) == 40, what="the text after the copy")
            overwrite_all_pages(home.settings.database)
            started.until(lambda control: control.status()["memory_trouble"])
            _send(broker, 40, 60)
            restore(home, backup)
            started.until(lambda control: _kept(control) == 60, what="all of the text")
            assert started.stop() == 0


def _kept(control: object) -> int:
    return sum(entry["samples"] for entry in control.memory()["kept"])  # type: ignore[attr-defined]


def _send(broker: Broker, first: int, last: int) -> None:
    texts = sentences(60, seed=9)[first:last]
    records = [json.dumps({"text": one, "key": f"key {first + at}"}).encode() for at, one in enumerate(texts)]
    send(broker, "river", *records)
