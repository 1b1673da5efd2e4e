"""Whose disk is nearly full is seen in the metrics, each disk once."""

import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry

from daemon.assembly.disk_space import DiskSpaces, disks_of
from daemon.settings.tree import Settings
from tests.disks import small_disk

MIB = 2**20


def settings_in(home: Path) -> Settings:
    """Settings whose state is below a folder."""
    return Settings.model_validate({"state_dir": str(home / "state"), "model": {"path": "model"}})


def test_one_disk_is_shown_once(tmp_path: Path) -> None:
    """Under the name of the state directory, with what the system says; before that is there, nothing."""
    settings = settings_in(tmp_path)
    settings.checkpoints_dir.mkdir(parents=True)
    registry = CollectorRegistry()
    registry.register(DiskSpaces(settings))
    assert [disk.directory for disk in disks_of(settings)] == ["state"]
    size = registry.get_sample_value("riverkeep_disk_size_bytes", {"directory": "state"})
    assert size == shutil.disk_usage(settings.state_dir).total
    shutil.rmtree(settings.state_dir)
    assert registry.get_sample_value("riverkeep_disk_size_bytes", {"directory": "state"}) is None


def test_a_disk_of_its_own_is_shown_beside(tmp_path: Path) -> None:
    """As where Kubernetes mounts the rounds from a volume that Jobs mount too; what is written there is seen."""
    settings = settings_in(tmp_path)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with small_disk(settings.rounds_dir, 4) as rounds:
        before = {disk.directory: disk for disk in disks_of(settings)}
        assert before.keys() == {"state", "rounds"}
        assert (before["rounds"].free_bytes, before["rounds"].total_bytes) == (4 * MIB, 4 * MIB)
        (rounds / "candidate").write_bytes(b"w" * MIB)
        assert {disk.directory: disk.free_bytes for disk in disks_of(settings)}["rounds"] == 3 * MIB
