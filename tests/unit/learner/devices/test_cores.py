"""Cores: what a container may use of them counts."""

from pathlib import Path

import pytest

from learner.devices.cores import usable_cores


@pytest.mark.parametrize("limit", ["100000 100000\n", "50000 100000\n"])
def test_a_limit_of_a_core_is_one_thread(tmp_path: Path, limit: str) -> None:
    """Half a core too: there is no half thread."""
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path) == 1


def test_the_older_control_groups_count_too(tmp_path: Path) -> None:
    """Quota and period are two files there."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == 1


@pytest.mark.parametrize("content", [None, "max 100000\n", "-1 100000\n", "nonsense\n"])
def test_without_a_limit_all_cores_count(tmp_path: Path, content: str | None) -> None:
    """A file that is absent, says max, or cannot be understood limits nothing."""
    if content is not None:
        (tmp_path / "cpu.max").write_text(content)
    assert usable_cores(tmp_path) == usable_cores(tmp_path / "absent") >= 1
