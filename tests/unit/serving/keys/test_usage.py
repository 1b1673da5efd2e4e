"""A day's tokens on disk."""

import stat
import threading
from datetime import date
from pathlib import Path

import pytest

from serving.keys.usage import KeyUsage

TODAY, TOMORROW = date(2026, 3, 1), date(2026, 3, 2)


def test_what_was_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    """For its owner alone; of another day nothing is."""
    path = tmp_path / "usage.json"
    assert KeyUsage(path).read(TODAY) == {}
    assert KeyUsage(path).add(TODAY, {"alice": 10}) == {"alice": 10}
    assert KeyUsage(path).add(TODAY, {"alice": 5, "bob": 1}) == {"alice": 15, "bob": 1}
    assert KeyUsage(path).read(TODAY) == {"alice": 15, "bob": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyUsage(path).add(TOMORROW, {"bob": 2}) == {"bob": 2}
    assert KeyUsage(path).read(TODAY) == {}


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[]", b'{"day": "2026-03-01", "tokens": {"a": "x"}}'])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """It keeps nobody from being answered."""
    path = tmp_path / "usage.json"
    path.write_bytes(content)
    assert KeyUsage(path).add(TODAY, {"alice": 1}) == {"alice": 1}


def test_several_processes_count_together(tmp_path: Path) -> None:
    """None writes over what another has counted."""
    path = tmp_path / "usage.json"

    def count() -> None:
        for _ in range(20):
            KeyUsage(path).add(TODAY, {"alice": 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert KeyUsage(path).read(TODAY) == {"alice": 80}
