"""An older copy of the database is put back, or a new one begun: nothing newer is lost, no number used twice."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli.main import cli
from daemon.doctor.machine import examine
from memory.ledger.states import RoundState
from tests.daemon_harness import Daemon, Home, daemon, fake_learner, fill, make_home
from tests.models import make_causal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return make_causal(tmp_path_factory.mktemp("model"))


@pytest.fixture
def home(tmp_path: Path, model: Path) -> Home:
    """Three accepted rounds, of which the copy beside the database knows one."""
    made = make_home(tmp_path, model=model)
    fill(made, before=120, fresh=200)
    accept_a_round(made, 1, 1)
    shutil.copy(made.settings.database, made.path / "copy.db")
    for number in (2, 3):
        fill(made, before=0, fresh=120, seed=number * 10)
        accept_a_round(made, number, number)
    return made


def accept_a_round(home: Home, number: int, generation: int) -> None:
    """Run a daemon until a round of that number is accepted, with that generation."""
    with daemon(home, learner=fake_learner("good")) as started:
        ends_accepted(started, number, generation)
        assert started.stop() == 0
    fold_log_in(home)


def ends_accepted(started: Daemon, number: int, generation: int) -> None:
    """Ask for a round and wait for its end."""
    started.until(lambda control: control.readiness()["ready"], what="readiness")
    started.until(lambda control: control.request_round(), what="a round to be begun")
    ended = started.until(
        lambda control: (found := control.round(number))["ended_at"] and found, what=f"the end of round {number}"
    )
    assert (ended["state"], ended["generation"]) == (RoundState.ACCEPTED.value, generation), ended["detail"]


def fold_log_in(home: Home) -> None:
    """Let the file be all of the database, to be copied."""
    with sqlite3.connect(home.settings.database) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def on_disk(home: Home) -> list[int]:
    """The generations on disk."""
    return sorted(int(path.name) for path in (home.settings.checkpoints_dir / "generations").iterdir())


def put_back(home: Home) -> None:
    """The copy in the place of the database."""
    for name in ("", "-wal", "-shm"):
        Path(f"{home.settings.database}{name}").unlink(missing_ok=True)
    shutil.copy(home.path / "copy.db", home.settings.database)


def test_after_an_older_copy_what_serves_serves_on_and_the_next_round_is_not_lost(home: Home) -> None:
    """Doctor names what the copy does not know; the line of what served is taken up; numbers go on above it."""
    assert on_disk(home) == [0, 1, 2, 3]
    put_back(home)
    (finding,) = [one for one in examine(home.settings, load_model=False) if one.name == "generations"]
    assert not finding.ok
    assert "(2, 3)" in finding.detail
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["serving"]["generation"] == 3, what="what served to serve")
        with started.control as control:
            known = {one["number"]: one for one in control.generations()["generations"]}
            assert (known[3]["parent"], known[2]["parent"], known[3]["round"]) == (2, 1, 3)
            assert control.status()["unknown_generations"] == []
        assert started.events("generations_taken_up")[0]["generations"] == [2, 3]
        fill(home, before=0, fresh=120, seed=40)
        ends_accepted(started, 4, 4)
        assert on_disk(home) == [0, 1, 2, 3, 4]
        assert started.stop() == 0


def test_what_led_nowhere_stays_and_is_told_of(home: Home) -> None:
    """A generation that the copy does not know and that does not serve is never removed without a word."""
    generations = home.settings.checkpoints_dir / "generations"
    shutil.rmtree(generations / "000003")
    (home.settings.checkpoints_dir / "serving.json").unlink()
    put_back(home)
    home.write(enabled="false")
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["unknown_generations"] == [2], what="what is unknown")
        fill(home, before=0, fresh=120, seed=50)
        ends_accepted(started, 4, 3)
        assert on_disk(home) == [0, 1, 2, 3]
        assert started.stop() == 0


def test_a_memory_begun_anew_keeps_what_serves(home: Home) -> None:
    """The command puts an empty database where the lost one was, and refuses where one is."""
    said = CliRunner().invoke(cli, ["--config", str(home.config), "memory", "begin-anew"])
    assert said.exit_code != 0
    for name in ("", "-wal", "-shm"):
        Path(f"{home.settings.database}{name}").unlink(missing_ok=True)
    with daemon(home, learner=fake_learner("good")) as started:
        trouble = started.until(lambda control: control.status()["memory_trouble"], what="the loss to be told")
        assert "riverkeep memory begin-anew" in trouble
        CliRunner().invoke(cli, ["--config", str(home.config), "memory", "begin-anew"], catch_exceptions=False)
        started.until(lambda control: control.readiness()["ready"], what="readiness")
        with started.control as control:
            assert control.status()["serving"]["generation"] == 3
        fill(home, before=120, fresh=200, seed=60)
        ends_accepted(started, 4, 4)
        assert started.stop() == 0
