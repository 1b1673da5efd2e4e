"""A backup that is made while everything runs, by the very commands of docs/operations.md, and what is made of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon_harness import Daemon, Home, daemon, fake_learner, fill, make_home
from tests.models import make_causal

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
STATE, BACKUPS = "/var/lib/riverkeep", "/var/backups/riverkeep"


def commands(heading: str) -> str:
    """The block of commands of a part of the page."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return str(block)


def run(home: Home, *scripts: str) -> str:
    """Run blocks in one shell, with this home's places for the page's; returns what they print."""
    text = "\n".join(("set -e", *scripts))
    text = text.replace(STATE, str(home.settings.state_dir)).replace(BACKUPS, str(home.path / "backups"))
    # The service runs as whoever runs this.
    text = text.replace("riverkeep:riverkeep", f"{os.getuid()}:{os.getgid()}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", text], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def accepts(started: Daemon, number: int) -> None:
    """Ask for a round and wait until it is accepted."""
    started.until(lambda control: control.readiness()["ready"], what="readiness")
    started.until(lambda control: control.request_round(), what="a round to be begun")
    ended = started.until(lambda control: (found := control.round(number))["ended_at"] and found, what="its end")
    assert ended["state"] == "accepted", ended["detail"]


@pytest.mark.slow
def test_what_was_backed_up_while_it_ran_serves_again(tmp_path: Path) -> None:
    """The state directory is lost after another round: the copy's generation serves, and rounds go on from it."""
    home = make_home(tmp_path, model=make_causal(tmp_path / "model"))
    fill(home, before=120, fresh=200)
    with daemon(home, learner=fake_learner("good")) as started:
        accepts(started, 1)
        backup = run(home, commands("Backup"), 'echo "$backup"').strip()
        with started.control as control:
            kept = control.memory()["kept"]
        assert started.stop() == 0
    fill(home, before=0, fresh=120, seed=20)
    with daemon(home, learner=fake_learner("good")) as started:
        accepts(started, 2)
        assert started.stop() == 0
    assert not [path.name for path in Path(backup).iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))]
    home.settings.state_dir.rename(tmp_path / "lost")
    run(home, f"backup={backup}", commands("Restore"))
    assert home.settings.state_dir.stat().st_mode & 0o077 == 0
    assert home.riverkeep("doctor", "--skip-model", "--json").returncode in (0, 1)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.readiness()["ready"], what="readiness")
        with started.control as control:
            assert control.status()["serving"]["generation"] == 1
            assert [each["number"] for each in control.rounds()] == [1]
            assert control.memory()["kept"] == kept
        fill(home, before=0, fresh=120, seed=30)
        accepts(started, 2)
        assert started.stop() == 0
