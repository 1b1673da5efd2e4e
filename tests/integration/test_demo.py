"""The demo as a newcomer runs it, with two of its four eras; all of them take five minutes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from memory.settings import MemorySettings
from memory.store import Store

HALF = """
import sys
from pathlib import Path
from daemon.demo import story, text
sys.exit(story.run(home=Path(sys.argv[1]), stream=text.eras(story.ERA_CHARACTERS)[:2]))
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
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "120", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    for promise in ("3 rounds", "2 swaps", "requests, 0 failed", "1 poisoned batch held back"):
        assert re.search(f"✓ .*{promise}", done.stdout), done.stdout[-3_000:]
    kept, twin = (
        float(re.findall(FORGETTING.format(name), done.stdout)[-1]) for name in ("kept by Riverkeep", "naive twin")
    )
    assert kept < twin
    assert "<svg" in (tmp_path / "demo.svg").read_text()
    with Store.open(tmp_path / "state" / "riverkeep.db", MemorySettings(), read_only=True) as store:
        assert [each.state.value for each in store.rounds()[::-1]] == ["accepted", "accepted", "waiting"]
        assert store.serving() == 2
