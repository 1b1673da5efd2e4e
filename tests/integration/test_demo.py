"""The demo as a newcomer runs it, with two of its eras; all of them take three minutes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.naive_twin import read_naive_twin
from memory.samples.records import Role
from memory.settings import MemorySettings
from memory.store import Store
from tests.daemon_harness import kept_texts

HALF = """
import sys
from pathlib import Path
from daemon.demo import story, text
sys.exit(story.run(home=Path(sys.argv[1]), stream=text.eras(story.ERA_CHARACTERS)[1:3]))
"""
FORGETTING = r"{} +[│|] +(-?\d+\.\d+) "


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_eras_are_learned_and_the_poison_is_not(tmp_path: Path) -> None:
    """Rounds, live swaps under requests that all succeed, poison held back, and less forgotten than by the twin."""
    done = subprocess.run(
        [sys.executable, "-c", HALF, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    for promise in ("3 rounds", "2 swaps", "requests, 0 failed", "1 poisoned batch held back"):
        assert re.search(f"✓ .*{promise}", done.stdout), done.stdout[-3_000:]
    check_the_ending(done.stdout, tmp_path)
    kept, twin = (
        float(re.findall(FORGETTING.format(name), done.stdout)[-1]) for name in ("kept by Riverkeep", "naive twin")
    )
    assert kept < twin
    noted = read_naive_twin(tmp_path / "state")
    assert list(noted) == [1, 2]
    assert noted[2] == pytest.approx(twin, abs=0.001)
    assert "The files stay; nothing answers any more." in done.stdout
    assert "<svg" in (tmp_path / "demo.svg").read_text()
    with Store.open(tmp_path / "state" / "riverkeep.db", MemorySettings(), read_only=True) as store:
        assert [each.state.value for each in store.rounds.listed()[::-1]] == ["accepted", "accepted", "waiting"]
        assert store.generations.serving() == 2
        assert Role.FRESH not in kept_texts(store), "text of an era came after its round had begun"


def check_the_ending(shown: str, home: Path) -> None:
    """Both matrices whole, each round's why, the question answered before and after, and where everything is."""
    for title in ("Kept by Riverkeep: R", "Naive twin"):
        _, _, table = shown.partition(title)
        rows = re.findall(r"^[│|] (base|\d) +((?:[│|] +\d\.\d{3} +){3})", table.partition("└")[0], re.MULTILINE)
        assert [row for row, _ in rows] == ["base", "1", "2"], title
    rounds = re.findall(r"^[│|] (\d) +[│|] (\w+) +[│|] (\S.*) +[│|]$", shown, re.MULTILINE)
    assert [(number, state) for number, state, _ in rounds] == [("1", "accepted"), ("2", "accepted"), ("3", "waiting")]
    assert "the bound" in rounds[2][2]
    answers = dict(re.findall(r"^generation (\d+): (\S.*)$", shown, re.MULTILINE))
    assert answers.keys() == {"0", "2"}
    assert answers["0"] != answers["2"]
    places = dict(re.findall(r"^[│|] ([a-z, ]+?) +[│|] (\S.*?) +[│|]$", shown, re.MULTILINE))
    for what, name in (
        ("settings", "riverkeep.toml"),
        ("memory, generations, rounds", "state"),
        ("log", "riverkeep.log"),
        ("the token that it asks for", "state/admin.token"),
    ):
        assert Path(places[what]) == home / name
        assert Path(places[what]).exists()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/completions", places["answers"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", places["metrics"])
    assert places["page"] == places["metrics"].removesuffix("metrics")
    assert f"`riverkeep -c {home / 'riverkeep.toml'} run` serves page and answers again" in shown
    assert places["status"] == f"riverkeep -c {home / 'riverkeep.toml'} status"
